// First start, login, sign-up, letting in, tokens and logout in Chromium. Arguments: the address of the gateway, the folder
// for screenshots; the code of the first administrator comes by the environment.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PHRASE = "seven sisters over Chiran";

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
const errors = [];
async function open(path) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) errors.push(message.text());
  });
  await page.goto(`${address}${path}`);
  return page;
}
const said = (page, text) => page.waitForFunction((t) => document.getElementById("said").textContent.includes(t), text, { timeout: 15000 });
async function fill(page, form, values) {
  for (const [name, value] of Object.entries(values)) await page.fill(`form[data-form="${form}"] [name="${name}"]`, value);
}
const send = (page, form) => page.click(`form[data-form="${form}"] button`);
const person = (id) => ({ account: id, name: `${id} Example`, email: `${id}@irap.example`, institute: "IRAP", password: PHRASE });

try {
  const root = await open("/account");
  await root.waitForSelector("#first:not([hidden])");
  check("before the first administrator nobody can log in", await root.locator("#login").isHidden());
  await fill(root, "first", { ...person("root"), code: "AAAAA-BBBBB-CCCCC-DDDDD" });
  await send(root, "first");
  await said(root, "code is unknown");
  await fill(root, "first", { ...person("root"), code: process.env.FIRST_CODE });
  await send(root, "first");
  await root.waitForSelector("#login:not([hidden])");
  await fill(root, "login", { login: "root", password: "not the password" });
  await send(root, "login");
  await said(root, "the account or the password is wrong");
  check("a wrong password is not kept in the form", (await root.inputValue('form[data-form="login"] [name="password"]')) === "");
  await fill(root, "login", { login: "root", password: PHRASE });
  await root.press('form[data-form="login"] [name="password"]', "Enter");
  await root.waitForSelector("#me:not([hidden])");
  check("the session's secret is out of reach of scripts", (await root.evaluate(() => document.cookie)) === "");

  const ada = await open("/account");
  await ada.waitForSelector("#signup:not([hidden])");
  await fill(ada, "signup", { ...person("ada"), password: "1234567890" });
  await send(ada, "signup");
  await said(ada, "among the first that anybody tries");
  await fill(ada, "signup", { ...person("ada"), name: "Ada <b>Lovelace</b>" });
  await send(ada, "signup");
  await said(ada, "An administrator looks at it");
  await fill(ada, "login", { login: "ada", password: PHRASE });
  await send(ada, "login");
  await said(ada, "waits for an administrator");

  await root.goto(`${address}/people`);
  await root.waitForSelector("#waiting button");
  check("a name from outside is text, never markup", (await root.locator("#waiting b").count()) === 0);
  await root.click('button[aria-label="Let in ada"]');
  await said(root, "ada is let in");
  await root.selectOption('select[aria-label="Role of ada"]', "expert");
  await said(root, "ada is expert now");
  check("the chain of the audit is whole", (await root.locator("#chain").textContent()).includes("chain whole"));
  check("what was done is told", (await root.locator("#audit").textContent()).includes("validate"));

  await fill(ada, "login", { login: "ada@irap.example", password: PHRASE });
  await send(ada, "login");
  await ada.waitForSelector("#me:not([hidden])");
  check("who may not manage people gets no link there", (await ada.locator('nav a[href="/people"]').count()) === 0);
  check("who may does", (await root.locator('nav a[href="/people"]').count()) === 1);
  await fill(ada, "token", { name: "robot" });
  await ada.check('#scopes input[value="submit"]');
  await send(ada, "token");
  await ada.waitForSelector("#new-token:not([hidden])");
  check("a token is shown once", (await ada.locator("#new-token-text").textContent()).startsWith("ali_"));
  await ada.click('button[aria-label="Revoke robot"]');
  await said(ada, "robot is revoked");
  for (const page of [ada, root]) {
    await page.evaluate(axeSource);
    const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
    check("axe finds nothing", violations.length === 0, violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")}`).join("\n"));
    await page.setViewportSize({ width: 360, height: 740 });
    check("nothing overflows at 360 pixels", await page.evaluate(() => document.documentElement.scrollWidth <= 360));
  }
  await ada.screenshot({ path: `${folder}/account.png`, fullPage: true });
  await root.screenshot({ path: `${folder}/people.png`, fullPage: true });

  await root.click('button[aria-label="Disable ada"]');
  await said(root, "ada is disabled");
  await ada.reload();
  await ada.waitForSelector("#login:not([hidden])");
  check("who is disabled is logged out at once", (await ada.locator("#who").textContent()).includes("not logged in"));
  await ada.goto(`${address}/account#code=ABCDE-FGHJK-LMNPQ-RSTUV`);
  await ada.reload();
  check("no script failed", errors.length === 0, errors.join("\n"));
  console.log(`passed ${checks}`);
} finally {
  await browser.close();
}
