// The page of the alerts in Chromium. Arguments: the address of the gateway, the folder for screenshots.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

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
  if (message.type() === "error" && !message.text().includes("400")) errors.push(message.text());
});
const shown = (text, id) => page.waitForFunction(([t, i]) => document.getElementById(i).textContent.includes(t), [text, id], { timeout: 15000 });

try {
  await page.goto(`${address}/alerts`);
  await page.waitForSelector('#link[data-link="live"]');
  await shown("GRB <b>260314A</b>", "events");
  check("a name from outside is text, never markup", (await page.locator("#events b").count()) === 0);
  await shown("60 % now, 20 % later tonight", "one-body");
  check("the budget is a picture with words", (await page.locator(".budget svg").getAttribute("aria-label")).includes("slew commanded after 14 ms"));
  check("every tile is drawn", (await page.locator("#tiles .tile-of").count()) === 2);
  check("each stage has its histogram", (await page.locator("#stages article").count()) >= 3);
  const { strategies } = await (await fetch(`${address}/api/v1/strategies`)).json();
  const text = readFileSync(new URL("../../config/strategies/30-grb-arcmin.toml", import.meta.url), "utf8");
  await page.fill("#strategy-text", text.replace("priority = 4", "priority = 40"));
  await page.click("#try");
  await shown("strategy.priority", "said");
  check("a faulty strategy cannot be applied", await page.locator("#apply").isDisabled());
  const picky = text.replace(`version = ${strategies[0].version}`, `version = ${strategies[0].version + 1}`).replace("svom_snr = 6.5", "svom_snr = 60.0");
  await page.fill("#strategy-text", picky);
  await page.fill("#days", "3660");
  await page.click("#try");
  await shown("1 lost", "rehearsal");
  check("after the dry run it can be applied", await page.locator("#apply").isEnabled());
  await page.click("#apply");
  await page.click("#confirm-no");
  check("no means no", (await page.locator("#said").textContent()).includes("nothing has changed"));
  await page.click("#apply");
  await page.click("#confirm-yes");
  await shown("is in force", "said");
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  check("axe finds nothing", violations.length === 0, violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")}`).join("\n"));
  await page.setViewportSize({ width: 360, height: 740 });
  check("nothing overflows at 360 pixels", await page.evaluate(() => document.documentElement.scrollWidth <= 360));
  await page.screenshot({ path: `${folder}/alerts.png`, fullPage: true });
  check("no script failed", errors.length === 0, errors.join("\n"));
  console.log(`passed ${checks}`);
} finally {
  await browser.close();
}
