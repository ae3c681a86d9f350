// An evening at the observatory as its people have it, in Chromium, against a simulated night that goes on meanwhile: first
// start, login, a request that is planned and observed, an alert, an override and its alarm, the roof, the review of data,
// an upload that breaks. Arguments: see page.mjs; in the environment the code of the first administrator (FIRST_CODE) and
// a file to upload (UPLOAD).

import { address, browser, check, folder, isDecent, open, passed } from "./page.mjs";

const PHRASE = "seven sisters over Chiran";
const REQUEST = "M81-tonight";
// The upload is cut on purpose; a preview may be asked for before it is there.
const { context, page, errors } = await open((text) => text.includes("ERR_FAILED"));
const foreign = [];
page.on("request", (request) => {
  if (!request.url().startsWith(address) && !/^(data|blob):/.test(request.url())) foreign.push(request.url());
});

const begun = Date.now();
let shot = 0;
async function picture(name) {
  shot += 1;
  await page.screenshot({ path: `${folder}/journey-${String(shot).padStart(2, "0")}-${name}.png`, fullPage: true });
  console.log(`# ${((Date.now() - begun) / 1000).toFixed(1)} s: ${name}`);
}
const shown = (text, id, timeout = 30000) => page.waitForFunction(([t, i]) => document.getElementById(i)?.textContent.includes(t), [text, id], { timeout });
const go = async (path) => {
  await page.goto(`${address}${path}`);
  await page.waitForSelector('#link[data-link="live"]', { timeout: 15000 });
};
const status = async () => (await context.request.get(`${address}/api/v1/status`)).json();

// Types into what has the focus and goes on to the next field; nothing is clicked.
async function typed(...texts) {
  for (const text of texts) {
    await page.keyboard.type(text);
    await page.keyboard.press("Tab");
  }
}

async function firstStart() {
  await page.goto(`${address}/account`);
  await page.waitForSelector("#first:not([hidden])");
  const fields = { account: "root", name: "Vera Root", email: "root@irap.example", institute: "IRAP", password: PHRASE, code: process.env.FIRST_CODE };
  for (const [name, value] of Object.entries(fields)) await page.fill(`form[data-form="first"] [name="${name}"]`, value);
  await picture("first-start");
  await page.click('form[data-form="first"] button');
  await page.waitForSelector("#login:not([hidden])");
  await page.focus('form[data-form="login"] [name="login"]');
  await typed("root");
  await page.keyboard.type(PHRASE);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#me:not([hidden])");
  check("one logs in by keyboard alone", (await page.textContent("#who")).includes("root (administrator)"));
  await picture("logged-in");
}

// How fast the night really goes: seconds of it in one of ours.
async function pace() {
  const first = await status();
  const from = Date.now();
  await page.waitForTimeout(1000);
  const second = await status();
  return ((Date.parse(second.now) - Date.parse(first.now)) / 1000) / ((Date.now() - from) / 1000);
}

const utc = (instant) => new Date(instant).toISOString().slice(0, 19);
const field = (path) => page.locator(`[data-field="requests.0.${path}"]`);

async function submit() {
  const factor = await pace();
  console.log(`# the night goes ${factor.toFixed(0)} times its pace`);
  await go("/requests");
  await page.waitForFunction(() => document.querySelector('[data-field="requests.0.sequences.0.albums.0.plans.0.filter"]')?.options.length > 1);
  await field("id").fill(REQUEST);
  await field("title").fill("A spiral in Ursa Major");
  await field("user").fill("ada");
  await field("sequences.0.target.name").fill("M 81");
  await field("sequences.0.target.ra_deg").fill("09:55:33.2");
  await field("sequences.0.target.dec_deg").fill("+69 03 55");
  await field("sequences.0.priority").fill("10");
  await field("sequences.0.albums.0.plans.0.exposure_s").fill("30");
  await field("sequences.0.albums.0.plans.0.count").fill("3");
  // Some of our seconds from now, so that the plan can be seen before it is carried out.
  const now = Date.parse((await status()).now);
  const dark = Date.parse(`${new Date(now).toISOString().slice(0, 10)}T19:10:00Z`);
  const from = Math.max(now + 8_000 * factor, dark);
  await field("sequences.0.window").fill(utc(from));
  await field("sequences.0.window.1").fill(utc(from + 4 * 3600e3));
  await page.click("#preview");
  await page.waitForFunction(() => !document.getElementById("submit").disabled || document.querySelector("#faults li"), null, { timeout: 60000 });
  check("the request is sound", await page.locator("#submit").isEnabled(), await page.textContent("#faults"));
  await picture("previewed");
  // Everything that the page ever said of the request, whatever comes after it.
  await page.evaluate(() => {
    window.said = [];
    new MutationObserver(() => window.said.push(document.getElementById("one-body").textContent)).observe(document.getElementById("one-body"), { childList: true, subtree: true, characterData: true });
  });
  await page.click("#submit");
  await shown(`Submitted: ${REQUEST}`, "said");
  await page.click('#requests button:has-text("A spiral in Ursa Major")');
  await page.waitForFunction(() => window.said.some((text) => text.includes(": planned") && /planned \d{4}-/.test(text)), null, { timeout: 60000 });
  check("it is planned, with its place in the night", true, await page.textContent("#one-body"));
  await picture("planned");
}

async function observed() {
  await page.waitForFunction(() => /: executed/.test(document.getElementById("one-body").textContent), null, { timeout: 90000 });
  check("it was observed, with its frames on disk", (await page.textContent("#one-body")).includes("on disk 3 in"), await page.textContent("#one-body"));
  await picture("observed");
  await isDecent(page, "journey-requests");
}

async function alert() {
  await go("/alerts");
  await page.waitForSelector("#events .events-row", { timeout: 90000 });
  await page.waitForFunction(() => /followed|slew/.test(document.getElementById("one-body").textContent), null, { timeout: 30000 });
  check("an alert has arrived and was decided", (await page.textContent("#events")).length > 20, (await page.textContent("#events")).slice(0, 160));
  await picture("alert");
  await isDecent(page, "journey-alerts");
}

async function devices() {
  await go("/devices");
  await page.waitForSelector("#devices .tile");
  const names = await page.$$eval("#devices [data-device]", (all) => all.map((one) => one.dataset.device));
  check("every device is there", ["plc", "mount", "camera_vis", "wheel_nir", "focuser", "mast"].every((name) => names.includes(name)), names.join(" "));
  await page.click('#devices [data-device="camera_vis"]');
  await page.waitForSelector("#speak:not([hidden])");
  await page.focus('#speak [name="words"]');
  await page.keyboard.type("STATUS");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#answer:not([hidden])");
  check("a device answers", (await page.textContent("#answer")).includes("temperature_c"));
  await page.waitForSelector("#telemetry svg .curve", { state: "attached" });
  check("its numbers are drawn", (await page.locator("#telemetry article").count()) >= 2);
  check("what it was told is told", (await page.textContent("#past")).includes("command: expose"));
  await page.waitForSelector("#readings svg .curve", { state: "attached" });
  // By keyboard alone: input, minutes, reason.
  await page.focus('#override [name="input"]');
  await page.keyboard.type("gust");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Control+A");
  await typed("200");
  await page.keyboard.type("the vane is iced");
  await page.keyboard.press("Enter");
  await shown("overridden for 200 minutes: accepted", "said");
  await shown("the vane is iced", "overrides");
  check("an override has its end", /until \d\d:\d\d UTC/.test(await page.textContent("#overrides")));
  const alarm = page.locator('#alarms li:has-text("gust") [data-alarm]').first();
  await alarm.waitFor({ timeout: 15000 });
  await alarm.focus();
  await page.keyboard.press("Enter");
  await shown("Acknowledged: accepted", "said");
  await page.waitForFunction(() => /gust[^]*seen by root/.test(document.getElementById("alarms").textContent), null, { timeout: 15000 });
  check("an alarm is acknowledged in one's own name", true);
  await picture("devices");
  await isDecent(page, "journey-devices");
}

async function roof() {
  await go("/");
  await page.waitForFunction(() => /open/i.test(document.getElementById("devices").textContent), null, { timeout: 60000 });
  await picture("now");
  await page.focus('[data-command="close_now"]');
  await page.keyboard.press("Enter");
  await page.waitForSelector("#confirm[open]");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await shown("Close now: accepted", "said");
  await page.waitForFunction(() => /^closed/.test(document.querySelector("#devices .tile .state").textContent) && document.getElementById("verdict").textContent === "latched", null, { timeout: 30000 });
  check("the roof is measured closed and stays so", (await page.textContent("#reasons")).includes("closed by an operator"));
  await picture("closed");
  await isDecent(page, "journey-now");
}

// While the site is latched nobody else uses the instruments.
async function power() {
  await go("/devices");
  await page.click('#devices [data-device="power"]');
  const row = (line) => page.locator(`#fields dt:text-is("${line}") + dd`);
  const told = (line, text) => row(line).filter({ hasText: text }).waitFor({ timeout: 15000 });
  check("what is only measured has no button", (await row("supply volts").locator("button").count()) === 0);
  await page.focus('[aria-label="Switch off: focuser"]');
  await page.keyboard.press("Enter");
  await page.waitForSelector('[aria-label="Switch on: focuser"]', { timeout: 15000 });
  await page.waitForFunction(() => /does not answer/.test(document.querySelector('[data-device="focuser"]').closest(".tile").textContent), null, { timeout: 15000 });
  await page.click('[aria-label="Switch on: focuser"]');
  await page.waitForFunction(() => !/does not answer/.test(document.querySelector('[data-device="focuser"]').closest(".tile").textContent), null, { timeout: 30000 });
  check("a device without its current is down, and is back with it", true);
  await page.selectOption('#speak [name="verb"]', "set");
  await page.fill('#speak [name="words"]', 'LINE "dew heater" 120');
  await page.keyboard.press("Enter");
  await page.waitForSelector("#answer:not([hidden])");
  await page.selectOption('#speak [name="verb"]', "do");
  await page.fill('#speak [name="words"]', "START");
  await page.keyboard.press("Enter");
  await told("dew heater", "120");
  await picture("power");
  await isDecent(page, "journey-power");
}

async function review() {
  await page.goto(`${address}/data`);
  const waiting = page.locator('#units tr:has(td.here) [data-unit]').first();
  await waiting.waitFor({ timeout: 60000 });
  await page.waitForFunction(async () => {
    const told = await (await fetch("/api/v1/data")).json();
    return told.units.some((unit) => unit.state === "ReadyForReview");
  }, null, { timeout: 60000, polling: 500 });
  const told = await (await context.request.get(`${address}/api/v1/data`)).json();
  const { uid } = told.units.find((unit) => unit.state === "ReadyForReview");
  await page.click(`[data-unit="${uid}"]`);
  await page.waitForSelector('#review:not([hidden]) [data-verdict="pass"]');
  check("who is logged in is the reviewer", (await page.inputValue("#reviewer")) === "root");
  await page.fill("#comment", "round stars, flat background");
  await picture("before-review");
  await page.click('[data-verdict="pass"]');
  await shown(uid, "said");
  await page.waitForFunction((unit) => document.querySelector(`#one-title`).textContent.startsWith(`${unit}: Deliver`), uid, { timeout: 60000 });
  check("what was reviewed goes on its way", true, await page.textContent("#one-title"));
  await picture("reviewed");
  await isDecent(page, "journey-data");
}

async function upload() {
  await go("/packages");
  let pieces = 0;
  await page.route("**/api/v1/uploads/*", async (route) => {
    if (route.request().method() !== "PATCH") return route.continue();
    pieces += 1;
    return pieces === 2 ? route.abort() : route.continue();
  });
  await page.setInputFiles("#file", process.env.UPLOAD);
  await page.selectOption("#purpose", "input");
  await page.click("#send");
  await page.waitForFunction(() => document.getElementById("said").textContent.length > 0 && !document.getElementById("send").disabled);
  await picture("broken-upload");
  await page.click("#send");
  await shown("is here", "said");
  check("a broken upload goes on where it stopped", pieces === 4, `${pieces} pieces`);
  await picture("upload");
  await isDecent(page, "journey-packages");
}

// The pages that no deed of the evening led to.
async function elsewhere() {
  for (const [path, full] of [["night", "#gantt .block"], ["pipelines", "#main"], ["people", "#audit tr"], ["system", "#log li"], ["account", "#me:not([hidden])"]]) {
    await page.goto(`${address}/${path}`);
    await page.waitForSelector(full, { timeout: 15000 });
    await isDecent(page, `journey-${path}`);
  }
}

async function visitor() {
  const other = await browser.newContext({ viewport: { width: 360, height: 740 } });
  const phone = await other.newPage();
  await phone.goto(`${address}/devices`);
  await phone.waitForSelector("#devices .tile");
  await phone.click('#devices [data-device="mount"]');
  check("a visitor sees the devices and no form", (await phone.isHidden("#speak")) && (await phone.isHidden("#override")) && (await phone.locator("#alarms button").count()) === 0);
  check("nothing is wider than a phone", await phone.evaluate(() => document.documentElement.scrollWidth <= 360));
  await phone.screenshot({ path: `${folder}/journey-visitor-phone.png`, fullPage: true });
  await other.close();
}

try {
  await firstStart();
  await submit();
  await observed();
  await alert();
  await roof();
  await devices();
  await power();
  await visitor();
  await review();
  await upload();
  await elsewhere();
  check("nothing was asked of another host", foreign.length === 0, foreign.join(" "));
  check("the console has no error", errors.length === 0, errors.join("\n"));
  console.log(`# ${((Date.now() - begun) / 1000).toFixed(1)} s in all`);
  passed();
} catch (error) {
  await page.screenshot({ path: `${folder}/journey-failed.png`, fullPage: true }).catch(() => {});
  console.log(String(error.stack ?? error));
  console.log(`said: ${await page.textContent("#said").catch(() => "")}; console: ${errors.join("; ")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
