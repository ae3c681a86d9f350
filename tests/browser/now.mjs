// The page "Now" in Chromium, as people use it. Arguments: the address of the gateway, the folder for screenshots.
//
// The test that starts this script plays the daemon. A line `do WORD` on stdout asks it for something (hang, go, stop,
// start, record N); it answers with a line on stdin when that is done.

import { createInterface } from "node:readline";
import { address, browser, check, folder, isAccessible as accessible, open, passed } from "./page.mjs";

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function daemon(word) {
  console.log(`do ${word}`);
  await answers.next();
}

let outage = false;
const { page, errors } = await open(() => outage);
const foreign = [];
page.on("request", (request) => {
  if (!request.url().startsWith(address) && !request.url().startsWith("data:")) foreign.push(request.url());
});

const link = (word) => page.waitForSelector(`#link[data-link="${word}"]`, { timeout: 15000 });

const isAccessible = (what) => accessible(page, what);

try {
  const begun = Date.now();
  await page.goto(address);
  await link("live");
  await page.waitForFunction(() => document.getElementById("doing").textContent.includes("NGC 4889"));
  const live = Date.now() - begun;
  check("the page is live soon", live < 5000, `${live} ms`);
  await page.waitForFunction(() => document.querySelector("#frames img")?.complete);
  const bytes = await page.evaluate(() => ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
    .reduce((sum, entry) => sum + entry.encodedBodySize, 0));
  check("the page is light", bytes < 150_000, `${bytes} bytes, not compressed`);

  const first = await page.textContent("#doing");
  await page.waitForFunction((before) => document.getElementById("doing").textContent !== before, first);
  check("the sentence moves with the night", true);
  check("the title says whether it is safe", (await page.title()).startsWith("safe"));
  const rows = await page.$$eval("#inputs tr", (list) => list.map((row) => row.innerText));
  check("the truth table has every input", rows.length === 4, String(rows.length));
  check("no data is said to be no data", rows.some((row) => row.includes("ups_charge_pct") && row.includes("no data") && row.includes("unknown") && row.includes("link down")));
  check("a hostile name is text", rows.some((row) => row.includes("<img src=x>")) && (await page.$$("#inputs img")).length === 0);
  check("the sky shows targets and pointing", (await page.$$("#sky .target")).length === 4 && (await page.$$("#sky .pointing")).length === 1);
  check("the night shows planned and executed", (await page.$$("#gantt .block")).length === 6);
  check("the strip has its hole", ((await page.getAttribute("#weather .curve", "d")).match(/M/g) ?? []).length >= 1);
  check("the alert shows its latencies", (await page.innerText("#alert")).includes("61 s"));
  check("the unplanned say why", (await page.textContent("#unplanned")).includes("never above 25 deg"));
  check("the unplanned tell their chance", (await page.textContent("#unplanned")).includes("75 % likely"));
  await page.evaluate(() => { for (const details of document.querySelectorAll("#unplanned details")) { details.parentElement.closest("details").open = true; details.open = true; } });
  await page.waitForSelector("#unplanned svg .excluded");
  check("the night of an unplanned one is drawn", (await page.getAttribute("#unplanned svg", "aria-label")).includes("below altitude from"));
  check("the preview is shown", (await page.$eval("#frames img", (image) => image.naturalWidth)) === 1);

  const latencies = [];
  for (let seq = 1001; seq <= 1020; seq += 1) {
    const sent = Date.now();
    await daemon(`record ${seq}`);
    await page.waitForFunction((wanted) => document.querySelector("#journal li")?.textContent.includes(`mark${wanted}`), seq, { polling: 5 });
    latencies.push(Date.now() - sent);
  }
  latencies.sort((a, b) => a - b);
  check("a fact is on the screen at once", latencies[18] < 1000, `p50 ${latencies[9]} ms, p95 ${latencies[18]} ms, debugger included`);

  await isAccessible("dark page");
  await page.screenshot({ path: `${folder}/now-dark.png`, fullPage: true });

  // By keyboard alone: to the button, into the dialog, out by Escape, in again, to Yes.
  const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.dataset?.command || "");
  const tabTo = async (wanted) => {
    for (let step = 0; step < 40 && (await focused()) !== wanted; step += 1) await page.keyboard.press("Tab");
    check(`Tab reaches ${wanted}`, (await focused()) === wanted);
  };
  await tabTo("close_now");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#confirm[open]");
  check("the dialog starts on No", (await focused()) === "confirm-no");
  await page.keyboard.press("Escape");
  check("Escape sends nothing", (await page.textContent("#said")) === "");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#confirm[open]");
  await isAccessible("dialog");
  await tabTo("confirm-yes");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => !/^$|: sent$/.test(document.getElementById("said").textContent)).catch(() => {});
  const said = await page.textContent("#said");
  check("the stop goes out by keyboard alone", said === "Close now: accepted", said);

  // Confirms what a button of a row asks.
  const confirmed = async (button, expected) => {
    await page.click(button);
    await page.waitForSelector("#confirm[open]");
    await page.click("#confirm-yes");
    await page.waitForFunction((text) => document.getElementById("said").textContent === text, expected);
    check(`${expected} by its button`, true);
  };
  check("an alarm says how often", (await page.innerText("#alarms")).includes("ups link down (2 times)"));
  await confirmed("#alarms [data-command=acknowledge_alarm]", "Acknowledge: accepted");
  const overrides = await page.innerText("#overrides");
  check("an override has owner, reason and end", ["gust_m_s", "ada", "the vane is iced", "23:30"].every((word) => overrides.includes(word)), overrides);
  await confirmed("#overrides [data-command=lift_override]", "Re-arm: accepted");

  await page.click("#theme");
  const colours = await page.evaluate(() => ["--ground", "--text", "--good", "--accent", "--soft", "--bar"].map((name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()));
  const red = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  check("night mode is red", colours.every((colour) => { const [r, g, b] = red(colour); return r >= g && r >= b && g <= 0.65 * r; }), colours.join(" "));
  await isAccessible("red page");
  await page.screenshot({ path: `${folder}/now-night.png`, fullPage: true });
  await page.click("#theme");

  for (const width of [360, 768, 2560]) {
    await page.setViewportSize({ width, height: 800 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(`nothing sticks out at ${width} pixels`, overflow <= 0, `${overflow}`);
    if (width === 360) await page.screenshot({ path: `${folder}/now-phone.png`, fullPage: true });
  }
  await page.setViewportSize({ width: 1280, height: 900 });

  await daemon("hang");
  await link("stale");
  check("a hung daemon is shown as stale", (await page.textContent("#stale")).startsWith("STALE"));
  await isAccessible("stale page");
  await page.screenshot({ path: `${folder}/now-stale.png` });
  await daemon("go");
  await link("live");
  check("the page recovers from a hang by itself", await page.isHidden("#stale"));

  outage = true;
  await daemon("stop");
  await link("lost");
  check("a dead daemon is shown as lost", (await page.textContent("#stale")).startsWith("LINK LOST"));
  await daemon("start");
  const back = Date.now();
  await link("live");
  check("the page recovers from a restart by itself", true, `${Date.now() - back} ms`);
  outage = false;
  await daemon("record 2001");
  await page.waitForFunction(() => document.querySelector("#journal li")?.textContent.includes("mark2001"));
  check("facts arrive again", true);

  await page.goto(`${address}/status?still=true`);
  check("the status page can stand still", (await page.locator('meta[http-equiv="refresh"]').count()) === 0 && (await page.getAttribute("main > p:last-child a:last-child", "href")) === "/status");
  await isAccessible("status page");
  await page.setViewportSize({ width: 360, height: 740 });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check("nothing sticks out of the status page at 360 pixels", wider <= 0, String(wider));
  await page.setViewportSize({ width: 1280, height: 900 });

  const bare = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 360, height: 740 } });
  const plain = await bare.newPage();
  await plain.goto(`${address}/status`);
  check("the status page works without JavaScript", (await plain.innerText("main")).includes("NGC 4889"));
  await plain.screenshot({ path: `${folder}/status-phone.png` });
  await plain.click("button[value=close_now]");
  await plain.click("text=Yes: Close now");
  check("its stop button stops", (await plain.innerText("h1")).includes("accepted"));

  check("nothing was asked of another host", foreign.length === 0, foreign.join(" "));
  check("the console has no error", errors.length === 0, errors.join("\n"));
  passed();
} catch (error) {
  await page.screenshot({ path: `${folder}/failed.png`, fullPage: true }).catch(() => {});
  console.log(String(error.stack ?? error));
  process.exitCode = 1;
} finally {
  await browser.close();
  process.exit();
}
