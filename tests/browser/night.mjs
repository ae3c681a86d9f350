// A simulated night in Chromium: the page of a running `alidade simulate --serve`. Arguments: its address, the folder for
// screenshots. It is watched until a sequence is observed and its frames are shown, reduced.

import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
let checks = 0;
function check(what, holds, detail = "") {
  if (!holds) throw new Error(`NOT TRUE: ${what} ${detail}`);
  checks += 1;
  console.log(`ok ${checks} ${what} ${detail}`);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(address);
  await page.waitForSelector('#link[data-link="live"]', { timeout: 30000 });
  await page.waitForFunction(() => document.getElementById("doing").textContent.startsWith("observing "), undefined, { timeout: 150000 });
  const doing = await page.textContent("#doing");
  check("a sequence of a user is observed", /^observing .+ \((ada|basile|chiara|dara)\)/.test(doing), doing);
  // Shown on the page, fetched from the daemon, and a picture.
  await page.waitForFunction(() => {
    const image = document.querySelector("img[alt^='Preview of']");
    image?.scrollIntoView();
    return image?.complete && image.naturalWidth > 100;
  }, undefined, { timeout: 60000 });
  check("a reduced frame is shown", true, await page.getAttribute("img[alt^='Preview of']", "alt"));
  const text = await page.textContent("body");
  check("the enclosure is measured open", /open/.test(text));
  check("the simulation says that it is one", /simulated/i.test(text));
  check("no error on the page", errors.length === 0, errors.join("; "));
  await page.screenshot({ path: `${folder}/night.png`, fullPage: true });
  console.log(`passed ${checks} checks`);
} finally {
  await browser.close();
}
