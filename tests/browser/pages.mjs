// The pages of the night, of requests and of the daemon in Chromium. Arguments: the address of the gateway, the folder for
// screenshots. A line `do WORD` on stdout asks the test, which plays the daemon, for something (alarm, unsafe); it answers
// with a line on stdin when that is done.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function daemon(word) {
  console.log(`do ${word}`);
  await answers.next();
}

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
page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
page.on("request", (request) => {
  if (!request.url().startsWith(address) && !/^(data|blob):/.test(request.url())) errors.push(`asks elsewhere: ${request.url()}`);
});
const shown = (text, id) => page.waitForFunction(([t, i]) => document.getElementById(i).textContent.includes(t), [text, id], { timeout: 15000 });

async function decent(name) {
  for (const theme of ["dark", "night"]) {
    await page.evaluate((wanted) => { if (document.documentElement.dataset.theme !== wanted) document.getElementById("theme").click(); }, theme);
    await page.evaluate(axeSource);
    const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
    check(`axe finds nothing on ${name}, ${theme}`, violations.length === 0, violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`).join("\n"));
  }
  await page.screenshot({ path: `${folder}/${name}-red.png`, fullPage: true });
  await page.click("#theme");
  await page.setViewportSize({ width: 360, height: 740 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(`nothing sticks out of ${name} at 360 pixels`, overflow <= 0, String(overflow));
  await page.screenshot({ path: `${folder}/${name}-phone.png`, fullPage: true });
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
}

async function theNight() {
  await page.goto(`${address}/night`);
  await page.waitForSelector('#link[data-link="live"]');
  await shown("tonight", "night-title");
  await page.waitForSelector("#gantt .block");
  check("the Gantt has the first plan, the last and what was executed", (await page.locator("#gantt .block").count()) === 5);
  check("unsafe spans are drawn", (await page.locator("#gantt .spell").count()) >= 1 && (await page.locator("#gantt .now").count()) === 1);
  check("a reason from outside is text", (await page.textContent("#spells")).includes("rain <b>now</b>") && (await page.locator("#spells b").count()) === 0);
  await page.waitForSelector("#sky .altitude");
  check("every placed target has its curve, and the Moon", (await page.locator("#sky .altitude").count()) === 2 && (await page.locator("#sky .moon-path").count()) === 1);
  await page.selectOption("#chosen", "r1-2");
  check("one curve can stand out", (await page.locator('#sky .altitude[data-chosen="true"]').count()) === 1);
  check("the weather has its limit", (await page.getAttribute("#weather svg[aria-label^='wind']", "aria-label")).includes("21.0, unsafe above"));
  check("what has no place says why", (await page.textContent("#unplaced")).includes("LMC (ada) never rises: never above 25 deg tonight"));
  check("the report is text", (await page.textContent("#report")).includes("<b>well</b>"));
  const spells = await page.locator("#spells li").count();
  await daemon("unsafe");
  await page.waitForFunction((before) => document.querySelectorAll("#spells li").length > before, spells, { timeout: 15000 });
  check("what happens is drawn at once", (await page.textContent("#spells")).includes("clouds"));
  await page.click("#nights button:has-text('2026-03-13')");
  await shown("Night of 2026-03-13", "night-title");
  check("a past night is shown by its date", (await page.textContent("#bars")).includes("Nothing was planned") && page.url().endsWith("#2026-03-13"));
  await page.click("#tonight");
  await shown("tonight", "night-title");
  const links = await page.$$eval("nav.pages a", (all) => all.map((a) => a.getAttribute("href")));
  check("the navigation leads to pages that exist", links.includes("/requests") && links.includes("/system"), links.join(" "));
  for (const link of links) check(`${link} is there`, (await (await context.request.get(`${address}${link}`)).status()) === 200);
  await page.waitForSelector("#gantt .block");
  await decent("night");
}

const field = (path) => page.locator(`[data-field="requests.0.${path}"]`);

async function theRequests() {
  await page.goto(`${address}/requests`);
  await shown("Coma <i>galaxies</i>", "requests");
  check("a title from outside is text", (await page.locator("#requests i").count()) === 0);
  await shown("10.0 h", "quotas");
  await page.click("#quotas button");
  await shown("reserved", "postings");
  await page.waitForFunction(() => document.querySelector('[data-field="requests.0.sequences.0.albums.0.plans.0.filter"]')?.options.length > 1);
  await page.fill('[name="user"]', "ada");
  await page.click("#preview");
  await shown("a target has a name", "faults");
  check("a fault is named at its field", (await field("sequences.0.target.ra_deg").getAttribute("aria-invalid")) === "true");
  check("nothing can be submitted that was not previewed", await page.locator("#submit").isDisabled());
  await field("sequences.0.target.name").fill("M 51");
  await page.waitForFunction(() => document.querySelector('[data-field="requests.0.sequences.0.target.ra_deg"]').value === "202.47", null, { timeout: 15000 });
  check("a name that was asked for before brings its place along", (await field("sequences.0.target.dec_deg").inputValue()) === "47.2" && (await page.locator("#known-0 option").count()) >= 1);
  await field("sequences.0.target.name").fill("M 101");
  await field("sequences.0.target.ra_deg").fill("14:03:12.6");
  await field("sequences.0.target.dec_deg").fill("+54 20 57");
  await field("sequences.0.albums.0.plans.0.exposure_s").fill("100000");
  await page.click('button[aria-label="Add a channel to sequence 1"]');
  check("another channel has filters of its own", (await field("sequences.0.albums.1.plans.0.filter").inputValue()) !== (await field("sequences.0.albums.0.plans.0.filter").inputValue()));
  await page.click("#preview");
  await shown("exposure_s 100000 is outside", "faults");
  const album = (await field("sequences.0.albums.0.channel").inputValue());
  check("a fault that the daemon finds is named at its field", (await field("sequences.0.albums.0.plans.0.exposure_s").getAttribute("aria-invalid")) === "true", album);
  await field("sequences.0.albums.0.plans.0.exposure_s").fill("120");
  await page.click("#preview");
  await page.waitForFunction(() => !document.getElementById("said").textContent.includes("Asking"), null, { timeout: 60000 });
  check("a sound request is previewed", (await page.locator("#previewed .altitude").count()) === 1, `${await page.textContent("#faults")} ${await page.textContent("#said")}`);
  check("the preview shows the time it costs", (await page.textContent("#cost")).includes("ada has 9.0 h of 10.0 h free"), await page.textContent("#cost"));
  check("the preview shows when it can be observed", (await page.locator("#previewed .good-span").count()) >= 1 && (await page.locator("#previewed .bar-of").count()) >= 1);
  await page.fill("#template-name", "spiral");
  await page.click("#save-template");
  await decent("requests");
  check("a preview survives what is not the form", await page.locator("#submit").isEnabled());
  await page.click("#submit");
  await shown("Submitted", "said");
  await page.reload();
  await page.waitForFunction(() => document.querySelector('[data-field="requests.0.sequences.0.albums.0.plans.0.filter"]')?.options.length > 1);
  await page.selectOption("#templates", "spiral");
  await page.click("#load-template");
  check("a template comes back after a reload", (await field("sequences.0.target.name").inputValue()) === "M 101" && (await field("sequences.0.target.ra_deg").inputValue()) === "14:03:12.6");
  const download = page.waitForEvent("download");
  await page.click("#export");
  const written = JSON.parse(readFileSync(await (await download).path(), "utf8"));
  check("the form is exported as the command line takes it", written.requests[0].sequences[0].target.ra_deg === 210.8025, JSON.stringify(written.requests[0].sequences[0].target));
  const yaml = "requests:\n- id: y1\n  user: ada\n  sequences:\n  - target: {name: Imported, ra_deg: 150.5, dec_deg: 20}\n    priority: 3\n    constraints: {max_airmass: 1.8}\n    albums:\n    - channel: vis\n      plans: [{filter: g, exposure_s: 30, count: 2}]\n";
  await page.setInputFiles("#import", { name: "night.yaml", mimeType: "text/yaml", buffer: Buffer.from(yaml) });
  await page.waitForSelector("#previewed .altitude");
  check("YAML is read into the form", (await field("sequences.0.target.name").inputValue()) === "Imported" && (await page.textContent("#sequences")).includes("max airmass"));
  // Once more by the form, so that what it does not show is seen to survive it.
  await field("title").fill("From a file");
  await page.click("#preview");
  await page.waitForFunction(() => !document.getElementById("submit").disabled);
  await page.click("#submit");
  await shown("Submitted", "said");
  await page.click("#requests button");
  await shown("never above 25 deg tonight", "one-body");
  check("every sequence says where it stands", (await page.textContent("#one-body")).includes("NGC 4889") && (await page.textContent("#one-body")).includes("planned 2026-03-14 22:30:00 to 23:00"));
  await page.click('button[aria-label="Cancel r1-2"]');
  await page.click('button[aria-label="Cancel r1-2"]');
  await shown("r1-2: cancelled", "said");
}

const frameOf = (exposure) => page.locator(`#frames [data-exposure="${exposure}"]`);

async function theTargets() {
  await page.goto(`${address}/targets`);
  await shown("NGC 4889", "targets");
  check("the target observed last comes first", (await page.locator("#targets tr").count()) === 2 && (await page.textContent("#targets tr:first-child")).includes("g, r"));
  await page.fill("#text", "m51");
  await page.waitForFunction(() => document.querySelectorAll("#targets tr").length === 1 && document.getElementById("targets").textContent.includes("M 51"));
  check("a target is found by a part of its name, however it is spelled", true);
  await page.fill("#text", "");
  await shown("NGC 4889", "targets");
  await page.focus("#targets tr:first-child button");
  await page.keyboard.press("Enter");
  await shown("NGC 4889", "one-title");
  await page.waitForSelector('#frames [data-exposure="x1"]');
  check("a target has its place and who asked for it", (await page.textContent("#place")).includes("195.03000") && (await page.textContent("#sequences")).includes("Coma <i>galaxies</i> (r1-1, ada): executed"));
  check("it leads to the request", (await page.getAttribute("#sequences a", "href")) === "/requests#r1");
  check("every frame is there, what waits says so", (await page.locator("#frames figure").count()) === 4 && (await frameOf("x4").textContent()).includes("not reduced"));
  check("quality is told", (await frameOf("x3").textContent()).includes("FWHM 3.50 px, zero point 21.00, limit 18.9"));
  // Previews are fetched when they come into view.
  await frameOf("x3").scrollIntoViewIfNeeded();
  await page.waitForFunction(() => document.querySelector('#frames [data-exposure="x3"] img').naturalWidth > 0);
  await page.waitForSelector("#curve .mark title", { state: "attached" });
  check("the light curve has a mark a frame, and a shape a filter", (await page.locator("#curve .mark title").count()) === 3 && (await page.locator("#curve text.band-name").count()) === 2);
  await page.click("#values-of summary");
  const values = await page.locator("#points tr").allTextContents();
  check("a table says the same", values.length === 3 && /20:02:30r1(3\.9[789]|4\.0[0-3])\d* ± 0\.0/.test(values[0]), values.join(" | "));
  await daemon("frame");
  await frameOf("x5").waitFor({ timeout: 15000 });
  await page.waitForFunction(() => document.querySelectorAll("#points tr").length === 4, null, { timeout: 15000 });
  check("a frame that is taken now appears by itself, in the curve too", true);
  await page.selectOption("#filter", "g");
  await page.waitForFunction(() => document.querySelectorAll("#frames figure").length === 1);
  await page.selectOption("#filter", "");
  await page.waitForFunction(() => document.querySelectorAll("#frames figure").length === 5);
  await decent("targets");

  await page.click('button[aria-label="View x3"]');
  await shown("160 by 160 pixels", "viewer-said");
  const tone = () => page.evaluate(() => { const c = document.getElementById("pixels"); return [...c.getContext("2d").getImageData(79, c.height - 80, 1, 1).data]; });
  check("a frame is seen large", (await tone())[0] > 200, String(await tone()));
  await page.selectOption("#source", "calibrated");
  await page.waitForFunction(() => document.getElementById("stretch").value === "asinh");
  check("the pixels of the FITS file are drawn, the star where it is", (await tone())[0] > 200, String(await tone()));
  const box = await page.locator("#pixels").boundingBox();
  await page.mouse.move(box.x + (79.5 / 160) * box.width, box.y + (80.5 / 160) * box.height);
  const value = await page.textContent("#value");
  check("a pixel tells its place and value as the file has it", /^x 80, y 80: \d{3}/.test(value) && Number(value.split(": ")[1]) > 700, value);
  const before = await page.evaluate(() => document.getElementById("pixels").toDataURL());
  await page.focus("#black");
  for (let press = 0; press < 20; press += 1) await page.keyboard.press("ArrowRight");
  check("the black point is moved by keyboard", (await page.evaluate(() => document.getElementById("pixels").toDataURL())) !== before);
  await page.click("#zoom-in");
  await page.click("#zoom-in");
  check("it is zoomed", (await page.locator("#pixels").boundingBox()).width === 320, await page.textContent("#zoomed"));
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => window.axe.run(document.getElementById("viewer"), { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  check("axe finds nothing on the viewer", violations.length === 0, violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`).join("\n"));
  await page.screenshot({ path: `${folder}/targets-viewer.png` });
  await page.keyboard.press("Escape");
  check("Escape closes it", await page.locator("#viewer").isHidden());

  await page.selectOption("#pipeline", "summary");
  await page.click("#run button");
  await shown("Choose frames first", "answer");
  await page.click("#choose-all");
  check("what is chosen and lacks a file is said", (await page.textContent("#count")) === "4 files; 1 of the chosen frames have no such file.", await page.textContent("#count"));
  await page.uncheck('input[aria-label="Choose x4"]');
  await page.uncheck('input[aria-label="Choose x1"]');
  await page.waitForSelector("#flags:not([hidden]) input");
  await page.click("#run button");
  await page.waitForURL(/\/pipelines\?run=/);
  await page.waitForFunction(() => document.getElementById("one-state")?.textContent === "done", null, { timeout: 30000 });
  check("a run on the chosen frames begins, and its view is where one goes on", (await page.textContent("#one-title")).startsWith("sum_"), await page.textContent("#one-status"));
  await page.goto(`${address}/targets#NGC%204889`);
  await page.waitForSelector("#groups a");
  check("the target has its run", (await page.textContent("#groups")).includes("sum_"));
  await page.waitForFunction(() => document.querySelector("#groups details")?.textContent.includes("files"), null, { timeout: 15000 });
  check("the product group leads to its files", (await context.request.get(`${address}${await page.getAttribute("#groups details a", "href")}`)).status() === 200);
}

async function theDaemon() {
  await page.goto(`${address}/system`);
  await shown("night.sqlite", "health");
  await shown("LX200", "devices");
  await shown("disk full", "log");
  await daemon("alarm");
  await shown("it rains <b>in</b>", "log");
  check("the log follows, as text", (await page.locator("#log b").count()) === 0);
  await page.selectOption("#severity", "critical");
  await page.waitForFunction(() => document.querySelectorAll("#log li").length === 1);
  await page.selectOption("#severity", "");
  await page.fill("#text", "HUMIDITY");
  await page.waitForFunction(() => document.querySelectorAll("#log li").length === 1 && document.getElementById("log").textContent.includes("<dome>"));
  check("the log is filtered by severity and by text", true);
  await page.waitForFunction(() => document.querySelectorAll("#journal li").length > 50);
  await page.fill("#from", "1");
  await page.click("#go");
  await page.waitForFunction(() => document.querySelector("#journal summary")?.textContent.includes("started"));
  check("the journal is read from its beginning", true);
  check("the configuration is in force", (await page.textContent("#configuration")).includes("Observatoire de Haute-Provence"));
  await decent("system");
}

try {
  await theNight();
  await theRequests();
  await theTargets();
  await theDaemon();
  check("no script failed", errors.length === 0, errors.join("\n"));
  console.log(`passed ${checks}`);
} finally {
  await browser.close();
}
// The line to the daemon's hand would keep this process waiting for more.
process.exit(0);
