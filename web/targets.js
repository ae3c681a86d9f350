// The page of targets and their data: what was observed, one target with its sequences, light curve and frames, and a
// pipeline run on the frames that are chosen.

import { lightCurve } from "./curves.js";
import { byId, fixed, h, productUrl, setText, show } from "./elements.js";
import { chosenFlags, flagBoxes, hasEnded, made, productList, runPage, runPath, subjectOf } from "./runs.js";
import { ask, calmly, follow, say, stamp, words } from "./shell.js";
import { mountViewer, view } from "./viewer.js";

// Facts that change what a target shows, and those of runs.
const MOVES = ["exposure_ended", "product_made", "frame_reduced", "frame_solved", "sequence_moved", "request_submitted"];
const PAGE = 50;

let session = { permissions: [] };
let listed = [];
let next = null;
// The name that is opened, as the address has it; then what is known of it.
let opened = decodeURIComponent(location.hash.slice(1)) || null;
let target = null;
let frames = [];
let nextFrames = null;
let chosen = new Set();
let pipelines = null;
let measured = null;

const may = (permission) => session.permissions.includes(permission);
const pathOf = (name) => `/api/v1/observed/${encodeURIComponent(name)}`;
const degrees = (value) => (value === null || value === undefined ? "–" : value.toFixed(5));

// ---- the list

function row(one) {
  const open = h("button", { type: "button", class: "linkish" }, one.name);
  open.addEventListener("click", () => choose(one.name));
  return h("tr", { "aria-current": target?.name === one.name ? "true" : null }, h("th", { scope: "row" }, open), h("td", {}, `${degrees(one.ra_deg)} ${degrees(one.dec_deg)}`),
    h("td", {}, String(one.frames)), h("td", {}, one.filters.join(", ")), h("td", {}, stamp(one.first_at)), h("td", {}, stamp(one.last_at)));
}

function drawList() {
  byId("older").hidden = next === null;
  show(byId("targets"), [listed, target?.name], () => (listed.length === 0
    ? h("tr", {}, h("td", { colspan: 6 }, byId("text").value.trim() ? "No target of that name has data." : "No target has data yet.")) : listed.map(row)));
}

async function list(more) {
  const query = new URLSearchParams({ limit: String(PAGE) });
  const text = byId("text").value.trim();
  if (text) query.set("text", text);
  if (more && next !== null) query.set("before", next);
  const answer = await ask(`/api/v1/observed?${query}`);
  listed = more ? [...listed, ...answer.targets] : answer.targets;
  next = answer.next_before ?? null;
  drawList();
}

// ---- one target

function choose(name) {
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  begin(name);
  openTarget().then(() => byId("one-title").focus());
}

function begin(name) {
  [opened, target, frames, nextFrames, chosen, measured] = [name, null, [], null, new Set(), null];
  byId("place-form").reset();
  show(byId("filter"), null, () => h("option", { value: "" }, "all"));
  for (const id of ["curve", "bands", "points"]) show(byId(id), null, () => []);
  setText(byId("curve-said"), "");
  setText(byId("answer"), "");
  byId("values-of").hidden = true;
}

function drawTarget() {
  byId("one").hidden = false;
  setText(byId("one-title"), target.name);
  const filters = target.filters.length ? ` in ${target.filters.join(", ")}` : "";
  setText(byId("place"), `RA ${degrees(target.ra_deg)}° Dec ${degrees(target.dec_deg)}°. ${target.frames === 0 ? "No frame yet." : `${target.frames} frames${filters}, ${stamp(target.first_at)} to ${stamp(target.last_at)} UTC.`}`);
  show(byId("sequences"), target.sequences, () => target.sequences.map((one) => h("li", {},
    h("a", { href: `/requests#${encodeURIComponent(one.request)}` }, one.title || one.request), ` (${one.sequence}, ${one.user}): ${words(one.state)}${one.why ? `, ${one.why}` : ""}, ${stamp(one.moved_at)}`,
    one.event ? h("span", {}, "; follows ", h("a", { href: `/alerts#${encodeURIComponent(one.event)}` }, one.event)) : null)));
  const form = byId("place-form").elements;
  form.ra_deg.placeholder = degrees(target.ra_deg);
  form.dec_deg.placeholder = degrees(target.dec_deg);
  const select = byId("filter");
  const before = select.value;
  show(select, target.filters, () => [h("option", { value: "" }, "all"), ...target.filters.map((name) => h("option", { value: name }, name))]);
  select.value = target.filters.includes(before) ? before : "";
}

function figure(frame) {
  const name = `${target.name}, ${frame.channel} ${frame.filter}, ${fixed(frame.exposure_s, 1)} s, ${stamp(frame.started_at)} UTC`;
  const picture = frame.files.preview ? h("img", { src: productUrl(frame.files.preview), alt: `Preview of ${name}`, loading: "lazy" }) : h("div", { class: "no-image" }, frame.reduced_at ? "no preview" : "not reduced");
  const box = h("input", { type: "checkbox", "aria-label": `Choose ${frame.exposure}`, checked: chosen.has(frame.exposure) ? "" : null });
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(frame.exposure); else chosen.delete(frame.exposure);
    count();
  });
  const open = h("button", { type: "button", class: "small", "aria-label": `View ${frame.exposure}` }, "View");
  open.addEventListener("click", () => view(frame, name));
  const quality = frame.reduced_at === null ? "not reduced"
    : `${frame.sources} sources, FWHM ${fixed(frame.fwhm_px, 2)} px${frame.zero_point === null ? "" : `, zero point ${fixed(frame.zero_point, 2)}`}${frame.limiting_mag === null ? "" : `, limit ${fixed(frame.limiting_mag, 1)}`}`;
  const files = ["calibrated", "raw", "catalogue"].filter((kind) => frame.files[kind]);
  return h("figure", { class: "frame", "data-exposure": frame.exposure }, picture, h("figcaption", {}, h("strong", {}, `${frame.filter} ${fixed(frame.exposure_s, 1)} s`), ` ${stamp(frame.started_at)}, ${frame.channel}`, h("br"), quality,
    frame.degradations.length ? `; without ${frame.degradations.join(", ")}` : null,
    h("span", { class: "buttons" }, h("label", { class: "tick" }, box, "choose"), Object.keys(frame.files).length ? open : null,
      files.map((kind) => h("a", { href: productUrl(frame.files[kind]) }, kind)))));
}

function drawFrames() {
  byId("older-frames").hidden = nextFrames === null;
  setText(byId("frames-title"), `Frames: ${frames.length}${nextFrames === null ? "" : " newest"}`);
  const focus = byId("frames").contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  show(byId("frames"), [target.name, frames], () => (frames.length === 0 ? h("p", { class: "legend" }, "No frame yet.") : frames.map(figure)));
  // A frame that comes takes nobody's place away.
  if (focus && !byId("frames").contains(document.activeElement)) byId("frames").querySelector(`[aria-label="${CSS.escape(focus)}"]`)?.focus();
  count();
}

// Reads frames: the page after the last one, or again as many as are shown.
async function readFrames(more) {
  const name = opened;
  const query = new URLSearchParams({ limit: String(more ? PAGE : Math.min(1000, Math.max(PAGE, frames.length))) });
  if (byId("filter").value) query.set("filter", byId("filter").value);
  if (more && nextFrames !== null) query.set("before", nextFrames);
  const answer = await ask(`${pathOf(name)}/frames?${query}`);
  if (name !== opened) return;
  frames = more ? [...frames, ...answer.frames] : answer.frames;
  nextFrames = answer.next_before ?? null;
  drawFrames();
}

async function openTarget() {
  if (opened === null) return;
  const name = opened;
  try {
    const told = await ask(pathOf(name));
    if (name !== opened) return;
    target = told;
    drawTarget();
    drawList();
    await readFrames(false);
    await Promise.all([curve(false), runs()]);
  } catch (cause) {
    if (name !== opened) return;
    byId("one").hidden = target === null;
    say(cause.message, "bad");
  }
}

// ---- the light curve

const brightness = (point) => (typeof point.mag !== "number" ? "–" : point.kind === "detected" ? `${point.mag.toFixed(3)} ± ${point.error.toFixed(3)}` : `> ${point.mag.toFixed(3)}`);

function drawCurve(told) {
  const where = `${target.name} at ${degrees(told.ra_deg)} ${degrees(told.dec_deg)}`;
  setText(byId("curve-said"), `${told.calibrated} of the newest ${told.frames} frames are calibrated${told.older ? "; older ones were not looked at" : ""}. Measured at RA ${degrees(told.ra_deg)}° Dec ${degrees(told.dec_deg)}°.`);
  show(byId("curve"), [where, told.points], () => lightCurve(told.points, where));
  show(byId("bands"), told.bands, () => h("ul", { class: "plain" }, Object.entries(told.bands).map(([filter, band]) => h("li", {}, h("strong", {}, filter),
    `: ${band.detected} of ${band.points} detected, mean ${fixed(band.mean_mag, 3)}, scatter ${fixed(band.scatter_mag, 3)} (${fixed(band.expected_scatter_mag, 3)} expected): ${band.varies === null ? "too few points to say whether it varies" : band.varies ? "it varies" : "it does not vary"}`))));
  byId("values-of").hidden = false;
  show(byId("points"), told.points, () => told.points.map((point) => h("tr", {}, h("td", {}, stamp(point.at)), h("td", {}, point.filter), h("td", {}, brightness(point)),
    h("td", {}, fixed(point.airmass, 2)), h("td", {}, fixed(point.zero_point, 2)), h("td", {}, point.cause ?? ""))));
}

// Measures when somebody says so, and by itself when the frames that it is made of are others.
async function curve(wished) {
  const name = opened;
  const form = byId("place-form").elements;
  const some = frames.filter((frame) => frame.files.calibrated).map((frame) => frame.exposure);
  const query = new URLSearchParams({ limit: form.limit.value });
  for (const key of ["ra_deg", "dec_deg"]) if (form[key].value.trim()) query.set(key, form[key].value.trim());
  const key = JSON.stringify([name, some, String(query)]);
  if (!wished && (some.length === 0 || key === measured)) {
    if (some.length === 0) setText(byId("curve-said"), "No frame is calibrated yet.");
    return;
  }
  measured = key;
  setText(byId("curve-said"), "Measuring…");
  try {
    const told = await ask(`${pathOf(name)}/light-curve?${query}`);
    if (measured === key) drawCurve(told);
  } catch (cause) {
    if (measured !== key) return;
    setText(byId("curve-said"), cause.message);
    for (const id of ["curve", "bands", "points"]) show(byId(id), cause.message, () => []);
    byId("values-of").hidden = true;
  }
}

// ---- a pipeline on what is chosen

const inputs = () => frames.filter((frame) => chosen.has(frame.exposure)).map((frame) => frame.files[byId("kind").value]);

function count() {
  const all = inputs();
  const lacking = all.filter((path) => !path).length;
  setText(byId("count"), all.length === 0 ? "No frame is chosen." : `${all.length - lacking} files${lacking ? `; ${lacking} of the chosen frames have no such file` : ""}.`);
}

function drawFlags() {
  const pipeline = pipelines?.find((one) => one.name === byId("pipeline").value);
  byId("flags").hidden = Object.keys(pipeline?.flags ?? {}).length === 0;
  show(byId("flag-list"), [pipeline?.name, pipeline?.flags], () => flagBoxes(pipeline));
}

async function readPipelines() {
  // A daemon may run none.
  pipelines = await ask("/api/v1/pipelines").then((told) => told.pipelines, () => null);
  byId("run-card").hidden = pipelines === null || !may("run_pipelines");
  show(byId("pipeline"), pipelines?.map((one) => one.name), () => (pipelines ?? []).map((one) => h("option", { value: one.name }, one.title || one.name)));
  drawFlags();
}

async function runs() {
  if (pipelines === null) return;
  const { name } = target;
  const { runs: all } = await ask(`/api/v1/runs?limit=20&target=${encodeURIComponent(subjectOf(name))}`);
  const whole = await Promise.all(all.map((run) => (run.product_group ? ask(runPath(run.id)) : { run, products: [] })));
  if (target?.name !== name) return;
  byId("groups-card").hidden = whole.length === 0;
  show(byId("groups"), whole.map((one) => [one.run, one.products]), () => h("ul", { class: "plain" }, whole.map((one) => {
    const files = made(one);
    return h("li", {}, h("a", { href: runPage(one.run.id) }, one.run.id), ` ${one.run.pipeline}, ${stamp(one.run.created)}: ${one.run.state}, ${one.run.cause || one.run.status}`,
      files.length ? h("details", {}, h("summary", {}, `Product group ${one.run.product_group}: ${files.length} files`), productList(files)) : null);
  })));
  if (all.some((run) => !hasEnded(run))) runsSoon();
}

async function run(event) {
  event.preventDefault();
  const paths = inputs().filter(Boolean);
  if (paths.length === 0) {
    setText(byId("answer"), "Choose frames first.");
    return;
  }
  try {
    const wish = { pipeline: byId("pipeline").value, target: subjectOf(target.name), inputs: paths, flags: chosenFlags(byId("flag-list")) };
    const begun = await ask("/api/v1/runs", wish);
    location.assign(runPage(begun.run));
  } catch (cause) {
    setText(byId("answer"), cause.message);
  }
}

// ---- all of it

async function refresh() {
  if (!may("read_own_data") && !may("read_all_data")) {
    say("Log in to see targets and their data.", "");
    return;
  }
  try {
    if (next === null || listed.length <= PAGE) await list(false);
  } catch (cause) {
    say(cause.message, "bad");
  }
  await openTarget();
}

async function start() {
  session = await ask("/api/v1/session").catch(() => session);
  await readPipelines();
  await refresh();
}

const soon = calmly(refresh, 1500);
const runsSoon = calmly(() => runs().catch((cause) => say(cause.message, "bad")), 2000);
const told = (work) => work.catch((cause) => say(cause.message, "bad"));
byId("text").addEventListener("input", calmly(() => told(list(false)), 300));
byId("older").addEventListener("click", () => told(list(true)));
byId("older-frames").addEventListener("click", () => told(readFrames(true)));
byId("filter").addEventListener("change", () => { frames = []; told(readFrames(false)); });
const tick = (wanted) => {
  for (const box of document.querySelectorAll('#frames input[type="checkbox"]')) if (box.checked !== wanted) box.click();
};
byId("choose-all").addEventListener("click", () => tick(true));
byId("choose-none").addEventListener("click", () => { chosen.clear(); tick(false); count(); });
byId("kind").addEventListener("change", count);
byId("pipeline").addEventListener("change", drawFlags);
byId("run").addEventListener("submit", run);
byId("place-form").addEventListener("submit", (event) => { event.preventDefault(); if (target) curve(true); });
window.addEventListener("hashchange", () => {
  const name = decodeURIComponent(location.hash.slice(1));
  if (!name || name === opened) return;
  begin(name);
  refresh();
});
mountViewer();
follow({
  onState: (state) => setText(byId("clock"), state.now.slice(11, 19)),
  onJournal: (entry) => {
    if (MOVES.includes(entry.fact)) soon();
    if (entry.fact === "run_moved" && target !== null) runsSoon();
  },
  onLive: start,
});
