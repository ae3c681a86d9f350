// The page of the alerts in Chromium. Arguments: see page.mjs.

import { readFileSync } from "node:fs";
import { address, browser, check, folder, isAccessible, open, passed } from "./page.mjs";

// A faulty strategy is answered 400, which the browser writes on its console.
const { page, errors } = await open((text) => text.includes("400"));
const shown = (text, id) => page.waitForFunction(([t, i]) => document.getElementById(i).textContent.includes(t), [text, id], { timeout: 15000 });

try {
  await page.goto(`${address}/alerts`);
  await page.waitForSelector('#link[data-link="live"]');
  await shown("GRB <b>260314A</b>", "events");
  check("a name from outside is text, never markup", (await page.locator("#events b").count()) === 0);
  await shown("60 % now, 20 % later tonight", "one-body");
  check("the budget is a picture with words", (await page.locator(".budget svg").getAttribute("aria-label")).includes("slew commanded after 14 ms"));
  check("what was found is told", (await page.textContent("#candidates")).includes("1 in 2 frames"));
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
  await shown("Dry run done", "said");
  check("after the dry run it can be applied", await page.locator("#apply").isEnabled());
  await page.click("#apply");
  await page.click("#confirm-no");
  check("no means no", (await page.locator("#said").textContent()).includes("nothing has changed"));
  await page.click("#apply");
  await page.click("#confirm-yes");
  await shown("is in force", "said");
  await isAccessible(page, "page of the alerts");
  await page.setViewportSize({ width: 360, height: 740 });
  check("nothing overflows at 360 pixels", await page.evaluate(() => document.documentElement.scrollWidth <= 360));
  await page.screenshot({ path: `${folder}/alerts.png`, fullPage: true });
  check("no script failed", errors.length === 0, errors.join("\n"));
  passed();
} finally {
  await browser.close();
}
