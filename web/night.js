// The page of a night: as it was planned, as it went, its sky, its weather, what got no place and why; and past nights.

import { altitudes, extent, nightGantt, weatherStrip } from "./curves.js";
import { exclusions } from "./charts.js";
import { byId, h, hhmm, setText, show, targetLink } from "./elements.js";
import { ask, calmly, follow, say, stamp, words } from "./shell.js";

const DAY_MS = 86400e3;
const REFRESH_MS = 15000;
// Facts that change the picture.
const MOVES = ["schedule_made", "sequence_moved", "safety_changed", "night_reported", "night_began"];

let state = null;
let chosenNight = /^#\d{4}-\d{2}-\d{2}$/.test(location.hash) ? location.hash.slice(1) : null;
let night = null;
let sky = null;
let weather = null;
let oldest = null;
let asked = 0;

const tonight = () => (state === null ? null : state.night.night || state.now.slice(0, 10));
const wanted = () => chosenNight ?? tonight();
const nowMs = () => Date.parse(state?.now ?? night.now);

function draw() {
  if (night === null) return;
  const now = nowMs();
  // The now-line need not move more often than a pixel of a phone.
  const minute = Math.floor(now / 60000);
  setText(byId("night-title"), `Night of ${night.night}${night.night === tonight() ? ", tonight" : ""}`);
  const { sun_down: down, astronomical } = night.phases;
  const between = (below) => (below.state === "between" ? `${hhmm(below.dusk)} to ${hhmm(below.dawn)}` : words(below.state));
  const lit = Math.round(night.phases.moon_illumination * 100);
  setText(byId("summary"), `Sun down ${between(down)}, dark ${between(astronomical)}, Moon ${lit} % lit. ${night.planned.length} planned, ${night.executed.length} executed, ${night.unplaced.length} without a place.${night.record?.state ? ` ${words(night.record.state)}${night.record.cause ? `: ${night.record.cause}` : ""}.` : ""}`);
  show(byId("gantt"), [night, minute], () => nightGantt(night, now));
  table();
  setText(byId("spells-title"), `Not safe: ${night.unsafe.length}`);
  show(byId("spells"), night.unsafe, () => (night.unsafe.length === 0 ? h("li", {}, "Safe throughout, or not known otherwise.") : night.unsafe.map((spell) =>
    h("li", {}, `${hhmm(spell.from)} to ${spell.until ? hhmm(spell.until) : "now"}: ${spell.reasons.join(", ") || "no reason told"}`))));
  unplaced();
  setText(byId("report"), night.report ?? "No report yet: it is written when the night is over.");
  show(byId("schedules"), night.schedules, () => [...night.schedules].reverse().map((made) =>
    h("tr", {}, h("td", {}, stamp(made.made_at)), h("td", {}, `${made.cause}${made.first ? " (first)" : ""}`), h("td", {}, String(made.placed)), h("td", {}, String(made.unplaced)))));
  setText(byId("schedules-title"), `Schedules of this night: ${night.schedules.length}`);
  drawSky(now, minute);
  drawWeather(now, minute);
}

function table() {
  const ids = [...new Set([...night.first, ...night.planned, ...night.executed].map((bar) => bar.sequence))];
  const of = (lane, id) => night[lane].filter((bar) => bar.sequence === id).map((bar) => `${hhmm(bar.start)}–${bar.end ? hhmm(bar.end) : ""}`).join(", ") || "–";
  show(byId("bars"), [night.first, night.planned, night.executed, night.sequences], () => (ids.length === 0 ? h("tr", {}, h("td", { colspan: 6 }, "Nothing was planned.")) : ids.map((id) => {
    const face = night.sequences[id];
    return h("tr", {}, h("th", { scope: "row" }, face ? targetLink(face.target) : id, face?.from_alert ? " (alert)" : ""), h("td", {}, face?.user ?? "–"),
      h("td", {}, of("first", id)), h("td", {}, of("planned", id)), h("td", {}, of("executed", id)), h("td", {}, face ? words(face.state) : "–"));
  })));
}

function unplaced() {
  show(byId("unplaced"), [night.unplaced, night.sequences], () => (night.unplaced.length === 0 ? h("li", {}, "Every sequence has a place, or there is no schedule.") : night.unplaced.map((reason) => {
    const face = night.sequences[reason.sequence];
    const likely = reason.chance ? ` ${Math.round(reason.chance.probability * 100)} % likely within its life, ${reason.chance.usable_nights} of ${reason.chance.nights} nights usable.` : "";
    const sunset = night.phases.sun_down.dusk ?? night.bounds.start;
    const sunrise = night.phases.sun_down.dawn ?? night.bounds.end;
    return h("li", {}, h("strong", {}, face?.target ?? reason.sequence), ` ${face ? `(${face.user}) ` : ""}${words(reason.reason)}: ${reason.sentence}.${likely}`,
      reason.excluded?.length ? h("details", {}, h("summary", {}, "Where the sky excludes it"), h("div", { class: "picture", tabindex: 0, role: "region", "aria-label": `Excluded stretches of ${face?.target ?? reason.sequence}` }, exclusions(reason.excluded, { sunset, sunrise }))) : null);
  })));
}

function drawSky(now, minute) {
  if (sky === null) return;
  const select = byId("chosen");
  show(select, sky.targets.map((target) => [target.sequence, target.target]), () => {
    const before = select.value;
    const options = [h("option", { value: "" }, "all alike"), ...sky.targets.map((target) => h("option", { value: target.sequence, selected: target.sequence === before ? "" : null }, target.target))];
    return options;
  });
  show(byId("sky"), [sky, night.executed, night.unsafe, minute, select.value], () => (sky.targets.length === 0 && sky.times.length === 0
    ? h("p", {}, "Nothing to draw.") : altitudes(sky, night, now, select.value || null)));
}

function drawWeather(now, minute) {
  if (weather === null) return;
  const names = Object.keys(weather.quantities);
  const [from, to] = extent(night);
  show(byId("weather"), [weather, night.unsafe, minute], () => (names.length === 0 ? h("p", { class: "legend" }, "No weather is kept of this night.") : names.map((name) =>
    h("div", {}, h("h3", { class: "legend" }, words(name), weather.quantities[name].bound ? ` (unsafe ${weather.quantities[name].bound.above ? "above" : "below"} ${weather.quantities[name].bound.limit})` : ""),
      h("div", { class: "picture", tabindex: 0, role: "region", "aria-label": `Weather: ${words(name)}` }, weatherStrip(words(name), weather.quantities[name], from, to, night.unsafe, now))))));
}

async function refresh() {
  const date = wanted();
  if (date === null) return;
  asked += 1;
  const mine = asked;
  try {
    const told = await ask(`/api/v1/nights/${date}`);
    const [from, to] = extent(told).map((at) => new Date(at).toISOString());
    const [curves, samples] = await Promise.all([
      ask(`/api/v1/nights/${date}/sky`),
      ask(`/api/v1/weather?from=${encodeURIComponent(from)}&until=${encodeURIComponent(to)}&every_s=300`),
    ]);
    // An answer that comes late must not replace the night that was asked for last.
    if (mine !== asked) return;
    [night, sky, weather] = [told, curves, samples];
    byId("date").value = date;
    say("");
    draw();
  } catch (cause) {
    if (mine === asked) say(`The night of ${date} cannot be shown: ${cause.message}`, "bad");
  }
}

function choose(date) {
  chosenNight = date;
  history.replaceState(null, "", date === null ? location.pathname : `#${date}`);
  refresh();
}

function step(days) {
  const date = wanted();
  if (date !== null) choose(new Date(Date.parse(`${date}T12:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10));
}

async function past(more) {
  try {
    const { nights, next_before: next } = await ask(`/api/v1/nights?limit=30${more && oldest ? `&before=${oldest}` : ""}`);
    oldest = next ?? null;
    byId("older").hidden = oldest === null;
    const rows = nights.map((one) => {
      const go = h("button", { type: "button", class: "linkish" }, one.night);
      go.addEventListener("click", () => choose(one.night));
      return h("li", {}, go, ` ${one.state ? words(one.state) : ""}${one.report ? ", with a report" : ""}`);
    });
    if (!more) byId("nights").replaceChildren(...(rows.length ? rows : [h("li", {}, "None yet.")]));
    else byId("nights").append(...rows);
  } catch (cause) {
    byId("nights").replaceChildren(h("li", {}, cause.message));
  }
}

byId("date").addEventListener("change", () => { if (byId("date").value) choose(byId("date").value); });
byId("before").addEventListener("click", () => step(-1));
byId("after").addEventListener("click", () => step(1));
byId("tonight").addEventListener("click", () => choose(null));
byId("older").addEventListener("click", () => past(true));
byId("chosen").addEventListener("change", draw);

const soon = calmly(refresh, 1000);
follow({
  onState: (next) => {
    const first = state === null;
    state = next;
    setText(byId("clock"), next.now.slice(11, 19));
    if (first && chosenNight === null) refresh();
    draw();
  },
  onJournal: (entry) => {
    if (!MOVES.includes(entry.fact)) return;
    if (wanted() === tonight()) soon();
    if (entry.fact === "night_reported") past(false);
  },
  onLive: () => { refresh(); past(false); },
});
setInterval(() => { if (wanted() === tonight() && !document.documentElement.classList.contains("is-stale")) refresh(); }, REFRESH_MS);
