// A simulated night in Chromium: the page of a running `alidade simulate --serve`. Arguments: its address, the folder for
// screenshots. It is watched until a sequence is observed and its frames are shown, reduced.

import { address, browser, check, folder, open, passed } from "./page.mjs";

// A preview that is not there yet is no fault of the page.
const { page, errors } = await open(() => true);
try {
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
  passed();
} finally {
  await browser.close();
}
