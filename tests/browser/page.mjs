// What the scripts of the pages share: the browser, a page that is watched for errors, counted checks, accessibility.
// Arguments of every script: the address of the gateway, the folder for screenshots.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const [address, folder] = process.argv.slice(2);
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let checks = 0;
export function check(what, holds, detail = "") {
  if (!holds) throw new Error(`NOT TRUE: ${what} ${detail}`);
  checks += 1;
  console.log(`ok ${checks} ${what} ${detail}`);
}

export function passed() {
  console.log(`passed ${checks}`);
}

export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

// A page with the errors that it shows; `expected` says which words on the console are none.
export async function open(expected = () => false) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !expected(message.text())) errors.push(message.text());
  });
  return { context, page, errors };
}

export async function isAccessible(page, what) {
  // The policy of the page forbids scripts from elsewhere; axe comes in by the debugger, which is not the page.
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  const found = violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
  check(`axe finds nothing on the ${what}`, found.length === 0, found.join("\n"));
}

// Accessible in the dark and in the red of the night, and no wider than a phone; with pictures of all of it.
export async function isDecent(page, name) {
  const theme = (wanted) => page.evaluate((one) => { if (document.documentElement.dataset.theme !== one) document.getElementById("theme").click(); }, wanted);
  for (const mode of ["night", "dark"]) {
    await theme(mode);
    await isAccessible(page, `page ${name}, ${mode}`);
  }
  await page.setViewportSize({ width: 360, height: 740 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(`nothing sticks out of ${name} at 360 pixels`, overflow <= 0, String(overflow));
  await page.screenshot({ path: `${folder}/${name}-phone.png`, fullPage: true });
  await page.setViewportSize({ width: 1280, height: 900 });
}
