// The page of the daemon itself: its health, its devices, its log and journal, the configuration in force.

import { ageText, byId, h, setText, show } from "./elements.js";
import { ask, calmly, follow, say, stamp, words } from "./shell.js";

const PAGE = 100;
// The log keeps no more lines on the page: it is left open for nights.
const MOST_LINES = 2000;
const LOGGED = ["alarm", "degraded", "invariant_broken", "operator_command", "gap"];

let state = null;
let older = null;
let newestShown = 0;
let loading = false;
let generation = 0;

const filter = () => {
  const query = new URLSearchParams({ limit: String(PAGE) });
  for (const name of ["severity", "source", "text"]) if (byId(name).value.trim()) query.set(name, byId(name).value.trim());
  return query;
};

function line(entry) {
  return h("li", { "data-seq": entry.seq }, h("time", { datetime: entry.at }, stamp(entry.at)), h("strong", { class: entry.severity }, entry.severity), ` ${entry.source}: ${entry.message}`);
}

// The newest lines that pass the filter, from the beginning.
async function log() {
  generation += 1;
  const mine = generation;
  try {
    const { lines, next_before: next } = await ask(`/api/v1/log?${filter()}`);
    if (mine !== generation) return;
    older = next ?? null;
    newestShown = lines[0]?.seq ?? 0;
    byId("log").replaceChildren(...(lines.length ? lines.map(line) : [h("li", { "data-none": "" }, "Nothing was logged that passes.")]));
    byId("log-older").hidden = older === null;
  } catch (cause) {
    byId("log").replaceChildren(h("li", {}, cause.message));
  }
}

async function logOlder() {
  if (older === null || loading) return;
  loading = true;
  const mine = generation;
  try {
    const query = filter();
    query.set("before", older);
    const { lines, next_before: next } = await ask(`/api/v1/log?${query}`);
    if (mine === generation) {
      byId("log").append(...lines.map(line));
      older = byId("log").children.length < MOST_LINES ? next ?? null : null;
      byId("log-older").hidden = older === null;
    }
  } catch (cause) {
    say(cause.message, "bad");
  }
  loading = false;
}

// What has been logged since; more than a page means that the view begins anew.
async function logNewer() {
  if (!byId("follow").checked) return;
  const mine = generation;
  try {
    const { lines } = await ask(`/api/v1/log?${filter()}`);
    if (mine !== generation) return;
    const fresh = lines.filter((entry) => entry.seq > newestShown);
    if (fresh.length === 0) return;
    if (fresh.length === PAGE) {
      await log();
      return;
    }
    newestShown = fresh[0].seq;
    byId("log").querySelector("[data-none]")?.remove();
    byId("log").prepend(...fresh.map(line));
    while (byId("log").children.length > MOST_LINES) byId("log").lastChild.remove();
  } catch (cause) {
    say(cause.message, "bad");
  }
}

async function journal(from) {
  const first = Math.max(1, Math.floor(from) || 1);
  byId("from").value = String(first);
  try {
    const { entries } = await ask(`/api/v1/journal?after=${first - 1}&limit=${PAGE}`);
    byId("journal").replaceChildren(...(entries.length ? entries.map((entry) => {
      const { seq, at, fact, ...rest } = entry;
      return h("li", {}, h("details", {}, h("summary", {}, `${seq} `, h("time", { datetime: at }, stamp(at)), ` ${words(fact)}`), h("pre", {}, JSON.stringify(rest, null, 2))));
    }) : [h("li", {}, `Nothing from number ${first} on.`)]));
  } catch (cause) {
    byId("journal").replaceChildren(h("li", {}, cause.message));
  }
}

const shownFrom = () => Number(byId("from").value) || 1;
const newest = () => journal((state?.journal_seq ?? 1) - PAGE + 1);

function facts(node, pairs) {
  show(byId(node), pairs, () => pairs.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
}

async function health(place) {
  try {
    const told = await ask("/api/v1/system");
    const mode = told.mode.kind === "simulated" ? `simulated, ${told.mode.pace} times its pace` : "live";
    facts("health", [["Version", told.version], ["Site", `${told.site}, ${told.unit}`], ["Mode", mode], ["Started", stamp(told.started_at)], ["This start", told.boot_id],
      ["Last word", `${ageText(told.snapshot_age_s)} ago`], ["Journal", `${told.journal_seq} entries`], ["Database", place ?? (told.records ? "told to operators" : "none that can be asked")], ["Accounts", told.accounts ? "yes" : "none: who is at the machine may command"]]);
    facts("counters", Object.entries(told.counters).map(([name, count]) => [words(name), String(count)]));
    const rows = Object.entries(told.devices);
    show(byId("devices"), rows, () => (rows.length === 0 ? h("tr", {}, h("td", { colspan: 6 }, "No device has answered since the start, or nothing is kept.")) : rows.map(([name, device]) => {
      const link = device.up === undefined ? ["unknown", "unknown"] : device.up ? ["ok", "up"] : ["unsafe", `down: ${device.cause}`];
      return h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: link[0] }, link[1]), h("td", {}, stamp(device.since)), h("td", {}, device.model ?? "–"), h("td", {}, device.version ?? "–"), h("td", {}, device.garbage ? `${device.garbage}, last ${device.last_garbage}` : "never"));
    })));
  } catch (cause) {
    say(cause.message, "bad");
  }
}

// A branch of the configuration: plain values as a list, sections as what can be opened.
function branch(value) {
  const pairs = Object.entries(value);
  const plain = pairs.filter(([, one]) => one === null || typeof one !== "object" || (Array.isArray(one) && one.every((part) => part === null || typeof part !== "object")));
  const deep = pairs.filter((pair) => !plain.includes(pair));
  const text = (one) => (one === null ? "not set" : Array.isArray(one) ? one.join(", ") || "none" : String(one));
  return [plain.length ? h("dl", {}, plain.flatMap(([name, one]) => [h("dt", {}, name), h("dd", {}, text(one))])) : null,
    ...deep.map(([name, one]) => h("details", { class: "tree" }, h("summary", {}, name), branch(one)))];
}

async function configuration() {
  try {
    const told = await ask("/api/v1/configuration");
    byId("configuration-card").hidden = false;
    byId("configuration").replaceChildren(...branch(told.configuration).filter((node) => node !== null));
    return told.database;
  } catch (cause) {
    byId("configuration-card").hidden = true;
    return cause.status === 404 ? null : undefined;
  }
}

async function begin() {
  const { permissions } = await ask("/api/v1/session").catch(() => ({ permissions: [] }));
  await health(permissions.includes("operate") ? await configuration() : undefined);
  await log();
}

for (const id of ["severity", "source"]) byId(id).addEventListener("change", log);
byId("text").addEventListener("input", calmly(log, 400));
byId("follow").addEventListener("change", logNewer);
byId("log-older").addEventListener("click", logOlder);
byId("log").addEventListener("scroll", () => {
  const node = byId("log");
  if (node.scrollTop + node.clientHeight > node.scrollHeight - 80) logOlder();
});
byId("go").addEventListener("click", () => journal(shownFrom()));
byId("earlier").addEventListener("click", () => journal(shownFrom() - PAGE));
byId("later").addEventListener("click", () => journal(shownFrom() + PAGE));
byId("newest").addEventListener("click", newest);

const soon = calmly(logNewer, 500);
let boot = null;
follow({
  onState: (next) => {
    const first = state === null;
    state = next;
    setText(byId("clock"), next.now.slice(11, 19));
    if (first) newest();
    // Another start of the daemon is another version perhaps.
    if (boot !== null && boot !== next.boot_id) begin();
    boot = next.boot_id;
  },
  onJournal: (entry) => { if (LOGGED.includes(entry.fact)) soon(); },
  onLive: begin,
});
