// The page of the pipelines: what can be run, the runs, and one of them with its tasks and its log as it grows.

import { read, send } from "./asking.js";
import { byId, h, s, setText, show } from "./elements.js";
import { chosenFlags, flagBoxes, hasEnded, made, productList, runPath } from "./runs.js";

const EVERY_MS = 2000;
// Another page names a run in the query; what is chosen here stands behind the #.
let chosen = decodeURIComponent(location.hash.slice(1)) || new URLSearchParams(location.search).get("run");
let source = null;
let known = [];

const post = (path, body) => send("POST", path, body);

function choose(id) {
  chosen = id;
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  follow();
  refresh();
}

function line(row) {
  const place = row.node === "" ? "" : `${row.node}: `;
  const level = row.level === "info" ? "" : `${row.level} `;
  return `${row.at.slice(11, 23)} ${level}${place}${row.text}\n`;
}

// The browser comes back by itself after a cut, and says which line it has seen last.
function follow() {
  source?.close();
  byId("log").replaceChildren();
  if (chosen === null) return;
  source = new EventSource(`${runPath(chosen)}/log/stream?from=0`);
  source.addEventListener("line", (event) => {
    const log = byId("log");
    log.append(line(JSON.parse(event.data)));
    if (byId("follow").checked) log.scrollTop = log.scrollHeight;
  });
  source.addEventListener("run", (event) => state(JSON.parse(event.data)));
  source.addEventListener("end", (event) => {
    state(JSON.parse(event.data));
    source.close();
    refresh();
  });
}

function state(run) {
  setText(byId("one-state"), run.state);
  setText(byId("one-status"), run.cause ? `${run.status}: ${run.cause}` : run.status);
  byId("cancel").hidden = hasEnded(run);
}

const place = (attempt) => (attempt.iteration === null ? attempt.node : `${attempt.node}.${attempt.iteration}`);

// The newest attempt of each node decides how it is drawn; the word stands beside the colour.
function standing(attempts) {
  const last = new Map();
  for (const a of attempts) last.set(a.node, a);
  return (node) => {
    const a = last.get(node);
    if (a === undefined) return ["waiting", "pending"];
    if (a.state === "Running") return ["running", "running"];
    if (a.state === "Pending") return [a.reason || "pending", "pending"];
    return a.status === "ERROR" ? ["error", "error"] : [a.status.toLowerCase(), "ok"];
  };
}

function picture(topology, attempts) {
  const rank = topology.names.map(() => 0);
  for (let turn = 0; turn < topology.names.length; turn += 1) {
    topology.children.forEach((list, n) => list.forEach((c) => { rank[c] = Math.max(rank[c], rank[n] + 1); }));
  }
  const rows = new Map();
  const spot = topology.names.map((_, n) => {
    const row = rows.get(rank[n]) ?? 0;
    rows.set(rank[n], row + 1);
    return { x: 80 + rank[n] * 170, y: 34 + row * 58 };
  });
  const width = Math.max(...spot.map((p) => p.x)) + 80;
  const height = Math.max(...spot.map((p) => p.y)) + 44;
  const how = standing(attempts);
  const edges = topology.children.flatMap((list, n) => list.map((c) => s("path", { class: "edge-of", d: `M${spot[n].x + 64},${spot[n].y} C${spot[n].x + 96},${spot[n].y} ${spot[c].x - 96},${spot[c].y} ${spot[c].x - 64},${spot[c].y}` })));
  const loops = topology.loops.map((l) => s("path", { class: "loop-of", d: `M${spot[l.end].x},${spot[l.end].y + 20} C${spot[l.end].x},${height} ${spot[l.start].x},${height} ${spot[l.start].x},${spot[l.start].y + 20}` }, s("title", {}, `loop ${l.name}`)));
  const tasks = topology.names.flatMap((name, n) => {
    const [word, kind] = how(name);
    return [s("rect", { class: "task-of", "data-state": kind, x: spot[n].x - 64, y: spot[n].y - 20, width: 128, height: 40, rx: 6 }),
      s("text", { class: "task-name", x: spot[n].x, y: spot[n].y - 2 }, name.length > 18 ? `${name.slice(0, 17)}…` : name),
      s("text", { class: "task-mark", x: spot[n].x, y: spot[n].y + 13 }, word.length > 20 ? `${word.slice(0, 19)}…` : word)];
  });
  return s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${topology.names.length} tasks` }, edges, loops, tasks);
}

function attemptsTable(attempts) {
  return h("table", {}, h("thead", {}, h("tr", {}, ["Task", "State", "Status", "Seconds", "Reason"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, attempts.map((a) => h("tr", {}, h("th", { scope: "row" }, place(a)), h("td", {}, a.state), h("td", {}, a.status),
      h("td", {}, a.started && a.ended ? ((Date.parse(a.ended) - Date.parse(a.started)) / 1000).toFixed(2) : "–"), h("td", {}, a.reason)))));
}

async function one() {
  byId("one").hidden = chosen === null;
  if (chosen === null) return;
  const whole = await read(runPath(chosen));
  setText(byId("one-title"), whole.run.owner ? `${whole.run.id}, of ${whole.run.owner}` : whole.run.id);
  state(whole.run);
  show(byId("graph"), [whole.topology, whole.attempts], () => (whole.topology ? picture(whole.topology, whole.attempts) : []));
  show(byId("attempts"), whole.attempts, () => attemptsTable(whole.attempts));
  const files = made(whole);
  show(byId("products"), files, () => (files.length === 0 ? [] : [h("h3", {}, `Products (${whole.run.product_group ?? "group when done"})`), productList(files)]));
}

function flags() {
  const pipeline = known.find((p) => p.name === byId("pipeline").value);
  byId("flags").hidden = Object.keys(pipeline?.flags ?? {}).length === 0;
  show(byId("flag-list"), [pipeline?.name, pipeline?.flags], () => flagBoxes(pipeline));
}

async function refresh() {
  const link = byId("link");
  try {
    const [{ runs }, { pipelines }] = await Promise.all([read("/api/v1/runs?limit=50"), read("/api/v1/pipelines")]);
    known = pipelines;
    show(byId("pipeline"), pipelines.map((p) => p.name), () => pipelines.map((p) => h("option", { value: p.name }, p.title || p.name)));
    flags();
    show(byId("runs"), [runs, chosen], () => (runs.length === 0 ? h("tr", {}, h("td", { colspan: 5 }, "No run yet.")) : runs.map((run) => {
      const name = h("button", { type: "button", class: "linkish" }, run.id);
      name.addEventListener("click", () => choose(run.id));
      return h("tr", { class: "events-row", "aria-current": chosen === run.id ? "true" : null }, h("td", {}, run.created.slice(0, 19).replace("T", " ")),
        h("th", { scope: "row" }, name), h("td", {}, run.state), h("td", {}, run.status), h("td", {}, run.cause));
    })));
    await one();
    link.dataset.link = "live";
    setText(link, "live");
  } catch (cause) {
    link.dataset.link = "lost";
    setText(link, cause.message);
  }
}

byId("pipeline").addEventListener("change", flags);
byId("cancel").addEventListener("click", () => post(`${runPath(chosen)}/cancel`, {}).catch((cause) => setText(byId("answer"), cause.message)));
byId("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wish = { pipeline: byId("pipeline").value, target: byId("target").value.trim() || null, inputs: byId("inputs").value.split("\n").map((l) => l.trim()).filter((l) => l !== ""),
    flags: chosenFlags(byId("flag-list")) };
  try {
    const { run } = await post("/api/v1/runs", wish);
    setText(byId("answer"), `${run} begins`);
    choose(run);
  } catch (cause) {
    setText(byId("answer"), cause.message);
  }
});
follow();
refresh();
setInterval(refresh, EVERY_MS);
