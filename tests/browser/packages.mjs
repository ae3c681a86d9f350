// The page of the packages in Chromium. Arguments: the address of the gateway, the folder for screenshots.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const act = async (word) => {
  console.log(`do ${word}`);
  await answers.next();
};

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
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
const page = await context.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (message) => {
  if (message.type() === "error" && !message.text().includes("422") && !message.text().includes("ERR_FAILED")) errors.push(message.text());
});
const shown = (text, id) => page.waitForFunction(([t, i]) => document.getElementById(i).textContent.includes(t), [text, id], { timeout: 30000 });

try {
  await act("folder");
  const files = readFileSync(`${folder}/packages-folder`, "utf8");
  await page.goto(`${address}/packages`);
  await page.waitForSelector('#link[data-link="live"]');
  await page.setInputFiles("#file", `${files}/waiting.tar.gz`);
  await page.click("#send");
  await shown("READY", "packages");
  check("an uploaded package is installed", (await page.locator("#packages").textContent()).includes("Waiting"));
  // The second piece is cut; the same file goes on where it stopped.
  let pieces = 0;
  await page.route("**/api/v1/uploads/*", async (route) => {
    if (route.request().method() !== "PATCH") return route.continue();
    pieces += 1;
    return pieces === 2 ? route.abort() : route.continue();
  });
  await page.setInputFiles("#file", `${files}/image.fits`);
  await page.selectOption("#purpose", "input");
  await page.click("#send");
  await page.waitForFunction(() => document.getElementById("said").textContent.length > 0 && !document.getElementById("send").disabled && !document.getElementById("said").textContent.includes("waiting"));
  await page.click("#send");
  await shown("image.fits is here", "said");
  check("a cut upload goes on where it stopped", pieces === 4, `${pieces} pieces`);
  await page.click('button[aria-label="Run Waiting"]');
  await page.waitForSelector("#field-threshold");
  check("the form is the package's", (await page.inputValue("#field-threshold")) === "5" && (await page.locator("#field-mode option").count()) === 3);
  await page.check("#inputs input");
  await page.waitForFunction(() => [...document.querySelectorAll("#field-image option")].some((o) => o.textContent === "image.fits"));
  await page.selectOption("#field-image", '"image.fits"');
  check("the browser itself refuses what is out of range", await page.evaluate(() => {
    const field = document.getElementById("field-threshold");
    field.value = "99";
    return !field.checkValidity();
  }));
  await page.evaluate(() => { document.getElementById("form").noValidate = true; });
  await page.click("#start");
  await shown("above the maximum", "form-said");
  check("the daemon says what is wrong with the configuration", true);
  await page.fill("#field-threshold", "7");
  await page.fill("#name", "from the page");
  await page.click("#start");
  await shown("begun", "log");
  await shown("measure", "runs");
  check("log and progress are followed live", true);
  await page.click('button[aria-label="Pause from the page"]');
  await shown("PAUSE", "runs");
  await page.click('button[aria-label="Resume from the page"]');
  await shown("RUNNING", "runs");
  await act("go");
  await shown("went on", "log");
  await shown("result.json", "outputs");
  check("the run is done and its outputs are offered", (await page.locator("#one-state").textContent()).includes("DONE"));
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  check("axe finds nothing", violations.length === 0, violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")}`).join("\n"));
  await page.screenshot({ path: `${folder}/packages.png`, fullPage: true });
  await page.setViewportSize({ width: 360, height: 800 });
  check("nothing is wider than a phone", await page.evaluate(() => document.documentElement.scrollWidth <= 360));
  check("no error in the console", errors.length === 0, errors.join("\n"));
  console.log(`passed ${checks}`);
} finally {
  await browser.close();
}
process.exit(0);
