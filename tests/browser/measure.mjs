// Measures the pages in Chromium and prints JSON; nothing is judged here (see benches/pages/run). Arguments: the address of a
// gateway where who is at the machine may command, a folder, and for how many seconds the page Now is left open.

import { gzipSync } from "node:zlib";
import { address, browser, open } from "./page.mjs";

const soak = Number(process.argv[4] ?? 60);
const REPEATS = 5;
const COMMANDS = 40;
const quantile = (values, share) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))];
const median = (values) => quantile(values, 0.5);

const say = (text) => console.error(`${(performance.now() / 1000).toFixed(1)} s  ${text}`);

// Every file of the dashboard once, and what each page loads before it is live.
async function weights(pages) {
  const sizes = new Map();
  const rows = {};
  for (const path of pages) {
    say(path);
    const { context, page } = await open(() => true);
    const bodies = [];
    page.on("response", (response) => {
      const { pathname } = new URL(response.url());
      if (pathname.startsWith("/assets/") || pathname === path) bodies.push(response.body().then((body) => [pathname, gzipSync(body).length, body.length]).catch(() => null));
    });
    const lives = [];
    for (let repeat = 0; repeat < REPEATS; repeat += 1) {
      const begun = performance.now();
      await page.goto(`${address}${path}`);
      const live = await page.waitForSelector('#link[data-link="live"]', { timeout: 10000 }).catch(() => null);
      // A page without a link of its own (the account's) is never live.
      if (!live) break;
      lives.push(performance.now() - begun);
    }
    const own = new Map();
    for (const one of (await Promise.all(bodies)).filter(Boolean)) own.set(one[0], one);
    for (const [name, gz, raw] of own.values()) sizes.set(name, [gz, raw]);
    const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null);
    rows[path] = {
      gzip_bytes: [...own.values()].reduce((sum, [, gz]) => sum + gz, 0),
      first_paint_ms: paint === null ? null : Math.round(paint),
      live_ms: lives.length ? Math.round(median(lives)) : null,
    };
    await context.close();
  }
  const total = [...sizes.values()].reduce(([gz, raw], [g, r]) => [gz + g, raw + r], [0, 0]);
  return { pages: rows, gzip_bytes_in_all: total[0], bytes_in_all: total[1] };
}

// From the moment a command is sent to its fact in the journal of the page.
async function latencies() {
  say("commands");
  const { context, page } = await open(() => true);
  await page.goto(address);
  await page.waitForSelector('#link[data-link="live"]');
  const waits = [];
  for (let number = 0; number < COMMANDS; number += 1) {
    const command = number % 2 ? "resume" : "pause";
    const wait = await page.evaluate(async (name) => {
      const list = document.getElementById("journal");
      const begun = performance.now();
      const seen = new Promise((resolve) => {
        const watcher = new MutationObserver((changes) => {
          const told = changes.flatMap((change) => [...change.addedNodes]).some((node) => node.textContent.includes("operator command") && node.textContent.toLowerCase().includes(`command ${name}`));
          if (!told) return;
          watcher.disconnect();
          requestAnimationFrame(() => resolve(performance.now() - begun));
        });
        watcher.observe(list, { childList: true });
        setTimeout(() => { watcher.disconnect(); resolve(null); }, 5000);
      });
      await fetch("/api/v1/commands", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ command: name }) });
      return seen;
    }, command);
    if (wait !== null) waits.push(wait);
  }
  await context.close();
  const shown = (share) => (waits.length ? Math.round(quantile(waits, share)) : null);
  return { commands: COMMANDS, seen: waits.length, p50_ms: shown(0.5), p95_ms: shown(0.95) };
}

async function memory() {
  say("soak");
  const { context, page } = await open(() => true);
  const session = await context.newCDPSession(page);
  const used = async () => {
    await session.send("HeapProfiler.collectGarbage");
    return (await session.send("Runtime.getHeapUsage")).usedSize;
  };
  await page.goto(address);
  await page.waitForSelector('#link[data-link="live"]');
  await page.waitForTimeout(5000);
  const first = await used();
  await page.waitForTimeout(soak * 1000);
  const last = await used();
  await context.close();
  return { soak_s: soak, first_mb: first / 1e6, growth_mb: Math.round((last - first) / 1e4) / 100 };
}

try {
  const { pages } = await (await fetch(`${address}/api/v1/pages`)).json();
  const result = { ...(await weights(pages)), event_to_screen: await latencies(), heap: await memory() };
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
}
