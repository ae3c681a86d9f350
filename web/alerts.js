// The page of the alerts: what came, what was decided and why, where the time went; and the strategies.

import { exchange, read } from "./asking.js";
import { budgetBar, duration, histogram, tilePicture, words } from "./budget.js";
import { candidates, reports } from "./candidates.js";
import { byId, fixed, h, hhmmss, productUrl, setText, show, targetLink } from "./elements.js";

const EVERY_MS = 2000;
let chosen = decodeURIComponent(location.hash.slice(1)) || null;
let rehearsed = null;

function choose(event) {
  chosen = event;
  history.replaceState(null, "", `#${encodeURIComponent(event)}`);
  refresh();
}

function events(list) {
  show(byId("events"), [list, chosen], () => (list.length === 0 ? h("tr", {}, h("td", { colspan: 6 }, "No alert yet.")) : list.map((event) => {
    const name = h("button", { type: "button", class: "linkish" }, `${event.name} (${event.event})`);
    name.addEventListener("click", () => choose(event.event));
    return h("tr", { class: "events-row", "aria-current": chosen === event.event ? "true" : null },
      h("td", {}, event.first_at.slice(0, 19).replace("T", " ")), h("th", { scope: "row" }, name), h("td", {}, event.state),
      h("td", {}, event.decision), h("td", {}, duration(event.slew_commanded_s)), h("td", {}, duration(event.first_light_s)));
  })));
}

function facts(record) {
  const where = record.ra_deg === null ? "unknown" : `RA ${fixed(record.ra_deg, 4)}° Dec ${fixed(record.dec_deg, 4)}°, 90 % within ${record.r90_deg === null ? "unknown" : `${fixed(record.r90_deg, 4)}°`}`;
  const lines = [["Decision", record.decision],
    ["When", record.outlook ? `${words(record.outlook.when)} (${words(record.outlook.reason)}): ${record.outlook.sentence}` : "not asked"],
    ["Position", where], ["Request", record.request ?? "none"], ["Packets", String(record.packets.length)]];
  if (record.coverage) {
    const { coverage } = record;
    lines.push(["Pointings", `${coverage.pattern}, ${Math.max(1, coverage.tiles.length)} of ${fixed(coverage.field_deg, 2)}°, covering ${coverage.covered === null ? "an unknown share" : `${fixed(coverage.covered * 100, 0)} %`}`]);
  }
  for (const [strategy, why] of Object.entries(record.others)) lines.push([`Not by ${strategy}`, words(why)]);
  return h("dl", {}, lines.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
}

function published(record) {
  if (!record.published) return h("p", { class: "legend" }, "No report yet: nothing was observed.");
  const { path, draft, revision, status } = record.published;
  return h("p", {}, `Report ${revision} (${words(status)}): `, h("a", { href: productUrl(path) }, "JSON"), ", ",
    h("a", { href: productUrl(draft) }, "draft of a circular"), " (a draft for people, sent by nobody else)");
}

function toldCandidates(record) {
  const found = record.candidates.map((c) => h("li", {}, `RA ${fixed(c.ra_deg, 5)}° Dec ${fixed(c.dec_deg, 5)}°${c.mag === null ? "" : `, ${c.filter} ${fixed(c.mag, 2)}${c.mag_err === null ? "" : ` ± ${fixed(c.mag_err, 2)}`}`}, ${c.note} (${c.exposure})`));
  const looked = record.searched === 0 ? "not looked for yet" : `${found.length} in ${record.searched} frames`;
  return h("details", { id: "candidates" }, h("summary", {}, `Candidates: ${looked}`), h("ul", { class: "plain" }, found));
}

let shown = null;
let found = [];

// What the frames show arrives after the rest and stays while it is of this event.
function one(record) {
  if (shown !== record.event) [shown, found] = [record.event, []];
  reports(record).then((new_ones) => {
    if (shown === record.event && new_ones.length > 0) {
      found = new_ones;
      drawn(record);
    }
  }, () => {});
  drawn(record);
}

function drawn(record) {
  byId("one").hidden = false;
  setText(byId("one-title"), `${record.name} (${record.event}): ${record.state}`);
  show(byId("one-body"), [record, found], () => [
    h("div", { class: "budget" }, budgetBar(record.budget)),
    h("ol", { class: "stages" }, record.budget.map((share) => h("li", {}, h("strong", {}, duration(share.seconds)), words(share.to)))),
    h("div", { class: "cols" }, h("div", {}, facts(record), published(record)), record.coverage ? h("div", { id: "tiles" }, tilePicture(record.coverage)) : null),
    h("h3", {}, "What the frames show"), candidates(found),
    h("details", {}, h("summary", {}, `History: ${record.history.length}`),
      h("ol", { class: "plain journal", tabindex: 0, "aria-label": "History of the event" }, record.history.map((moment) => h("li", {}, h("time", { datetime: moment.at }, `${moment.at.slice(0, 10)} ${hhmmss(moment.at)}`), ` ${moment.text}`)))),
    h("details", {}, h("summary", {}, `Frames: ${record.frames.length}`), record.frames.length && record.name ? h("p", {}, "All data of ", targetLink(record.name)) : null,
      h("ul", { class: "plain" }, record.frames.map((frame) => h("li", {}, `${frame.exposure}: ${frame.filter}, ${frame.exposure_s} s, ${duration(frame.since_trigger_s)} after the trigger${frame.sources === null ? "" : `, ${frame.sources} sources`}`)))),
    toldCandidates(record),
  ]);
}

function stages(all, bounds) {
  show(byId("stages"), all, () => (Object.keys(all).length === 0 ? h("p", { class: "legend" }, "Nothing measured yet.") : Object.entries(all).map(([name, hist]) => h("article", {},
    h("h3", {}, `${words(name)}: ${hist.count}, mean ${duration(hist.count ? hist.sum_s / hist.count : 0)}`), histogram(name, hist, bounds)))));
}

function strategies({ strategies: all, changes }) {
  const sorted = [...all].sort((a, b) => a.priority - b.priority || a.name.localeCompare(b.name));
  show(byId("strategies"), sorted, () => h("ul", { class: "plain" }, sorted.map((s) => h("li", {}, h("strong", {}, `${s.name} v${s.version}`), `, priority ${s.priority}${s.enabled ? "" : ", off"}: ${s.description}`))));
  show(byId("changes"), changes, () => (changes.length === 0 ? h("li", {}, "None.") : [...changes].reverse().map((c) => h("li", {}, h("time", { datetime: c.at }, `${c.at.slice(0, 19).replace("T", " ")} `), `${c.strategy} v${c.version} by ${c.who}`,
    c.replaced ? h("details", {}, h("summary", {}, "The one before"), h("pre", {}, c.replaced)) : " (new)"))));
}

async function send(method, path, body, more = {}) {
  const token = byId("token").value;
  try {
    return (await exchange(method, path, body, token ? { ...more, Authorization: `Bearer ${token}` } : more)).answer;
  } catch (refused) {
    if (refused.status === 401 || refused.status === 403) byId("token-row").hidden = false;
    throw refused;
  }
}

const strategyPath = (name) => `/api/v1/strategies/${encodeURIComponent(name)}`;

// The state of a strategy that is seen now: a change is of this one and of no other.
async function seen(name) {
  try {
    return { "If-Match": (await exchange("GET", strategyPath(name))).tag };
  } catch (refused) {
    if (refused.status === 404) return { "If-None-Match": "*" };
    throw refused;
  }
}

function fate(one) {
  return one.followed ? `${one.strategy}, priority ${one.priority}, ${one.pointings} pointings, ${duration(one.exposure_s)} open` : `not followed: ${one.why}`;
}

function rehearsal(told) {
  byId("rehearsal").replaceChildren(
    h("p", {}, `${told.strategy} v${told.version}${told.replaces === null ? " (new)" : `, in place of v${told.replaces}`}: of ${told.events} events since ${told.since.slice(0, 10)}, ${told.gained} gained, ${told.lost} lost, ${told.other} otherwise, ${told.same} the same.`),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What would change" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Event", "Change", "Before", "After"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, told.changes.map((c) => h("tr", {}, h("th", { scope: "row" }, c.name || c.event), h("td", { class: c.turn }, c.turn), h("td", {}, fate(c.before)), h("td", {}, fate(c.after))))))));
}

async function tryOut() {
  const text = byId("strategy-text").value;
  rehearsed = null;
  byId("apply").disabled = true;
  setText(byId("said"), "Looking back");
  try {
    const told = await send("POST", "/api/v1/strategies/dry-run", { text, days: Number(byId("days").value) });
    rehearsal(told);
    rehearsed = { text, told, state: await seen(told.strategy) };
    byId("apply").disabled = false;
    setText(byId("said"), "Dry run done: nothing has changed yet.");
  } catch (error) {
    byId("rehearsal").replaceChildren();
    setText(byId("said"), error.message);
  }
}

async function apply() {
  const { text, told, state } = rehearsed;
  const dialog = byId("confirm");
  setText(byId("confirm-text"), `${told.strategy} v${told.version} holds from now on. Of past alerts it would have gained ${told.gained} and lost ${told.lost}.`);
  dialog.returnValue = "no";
  const answered = new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  dialog.showModal();
  byId("confirm-no").focus();
  await answered;
  if (dialog.returnValue !== "yes") return;
  try {
    await send("PUT", strategyPath(told.strategy), { text }, state);
    byId("apply").disabled = true;
    rehearsed = null;
    setText(byId("said"), `${told.strategy} v${told.version} is in force.`);
    await refresh();
  } catch (error) {
    setText(byId("said"), error.message);
  }
}

async function refresh() {
  const link = byId("link");
  try {
    const [list, known] = await Promise.all([read("/api/v1/alerts"), read("/api/v1/strategies")]);
    events(list.alerts);
    stages(list.stages, list.bounds_s);
    strategies(known);
    if (chosen === null && list.alerts.length) chosen = list.alerts[0].event;
    if (chosen !== null && list.alerts.length) one(await read(`/api/v1/alerts/${encodeURIComponent(chosen)}`));
    link.dataset.link = "live";
    setText(link, "live");
  } catch {
    link.dataset.link = "lost";
    setText(link, "lost");
  }
}

byId("try").addEventListener("click", tryOut);
byId("apply").addEventListener("click", apply);
// What was confirmed must be what was seen.
byId("strategy-text").addEventListener("input", () => { byId("apply").disabled = true; rehearsed = null; });
byId("strategy-file").addEventListener("change", async () => {
  const [file] = byId("strategy-file").files;
  if (file) byId("strategy-text").value = await file.text();
  byId("apply").disabled = true;
  rehearsed = null;
});
refresh();
setInterval(refresh, EVERY_MS);
