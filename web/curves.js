// Pictures of nights as SVG: pure functions from what the daemon told. Nothing is computed here but where to draw.

import { hhmm, s } from "./elements.js";

const WIDTH = 1000;
const LEFT = 70;
const HOUR = 3600e3;
const time = (iso) => (iso ? Date.parse(iso) : null);

// A scale of time, its hours, and a clamp to its ends.
function scale(from, to, height) {
  const x = (at) => LEFT + ((Math.min(Math.max(at, from), to) - from) / (to - from)) * (WIDTH - LEFT - 10);
  const hours = [];
  const step = to - from > 10 * HOUR ? 2 * HOUR : HOUR;
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    hours.push(s("line", { class: "grid", x1: x(at), x2: x(at), y1: 0, y2: height }),
      s("text", { class: "soft", x: x(at), y: height + 14, "text-anchor": "middle" }, `${new Date(at).toISOString().slice(11, 13)}h`));
  }
  return [x, hours];
}

const crossing = (below, which) => (below?.state === "between" ? time(below[which]) : null);

// From half an hour before sunset to half an hour after sunrise, and all that happened.
export function extent(night) {
  const known = [crossing(night.phases.sun_down, "dusk"), crossing(night.phases.sun_down, "dawn")].filter((at) => at !== null);
  for (const bar of [...night.planned, ...night.executed]) known.push(time(bar.start), time(bar.end) ?? time(bar.start));
  if (known.length === 0) return [time(night.bounds.start), time(night.bounds.end)];
  return [Math.min(...known) - HOUR / 2, Math.max(...known) + HOUR / 2];
}

function twilight(night, x, from, to, height) {
  const dark = night.phases.astronomical;
  const [dusk, dawn] = [crossing(dark, "dusk"), crossing(dark, "dawn")];
  if (dark.state === "never") return [s("rect", { class: "twilight", x: x(from), width: x(to) - x(from), y: 0, height })];
  return [[from, dusk], [dawn, to]].filter(([a, b]) => a !== null && b !== null && b > a)
    .map(([a, b]) => s("rect", { class: "twilight", x: x(a), width: x(b) - x(a), y: 0, height }));
}

function unsafe(spells, x, from, to, height, now) {
  return spells.filter((spell) => time(spell.from) < to && (time(spell.until) ?? now) > from).map((spell) => {
    const [a, b] = [x(time(spell.from)), x(time(spell.until) ?? Math.min(now, to))];
    return s("g", {}, s("title", {}, `not safe ${hhmm(spell.from)} to ${spell.until ? hhmm(spell.until) : "now"}: ${spell.reasons.join(", ")}`),
      s("rect", { class: "spell", x: a, width: Math.max(2, b - a), y: 0, height }));
  });
}

const LANES = [["first", "first plan"], ["planned", "planned"], ["executed", "executed"]];

// The night as it was planned first, as it was planned last, and as it went.
export function nightGantt(night, now) {
  const [from, to] = extent(night);
  const height = 42 * LANES.length;
  const [x, hours] = scale(from, to, height);
  const bars = LANES.flatMap(([name, label], lane) => night[name].map((bar) => {
    const face = night.sequences[bar.sequence];
    const [a, b] = [x(time(bar.start)), x(time(bar.end) ?? Math.min(now, to))];
    const width = Math.max(2, b - a);
    const letters = Math.floor((width - 6) / 6.5);
    const target = face?.target ?? bar.sequence;
    const state = name === "executed" ? bar.outcome ?? "executing" : "planned";
    return s("g", {}, s("title", {}, `${target}${face ? ` (${face.user})` : ""}, ${label} ${hhmm(bar.start)} to ${bar.end ? hhmm(bar.end) : "now"}${bar.outcome ? `: ${bar.outcome}` : ""}${face?.from_alert ? ", for an alert" : ""}`),
      s("rect", { class: "block", "data-state": state, "data-alert": face?.from_alert ?? false, "data-lane": name, x: a, y: 42 * lane + 8, width, height: 26, rx: 3 }),
      letters >= 3 ? s("text", { class: "in-block", x: a + 4, y: 42 * lane + 25 }, target.slice(0, letters)) : null);
  }));
  const label = `Night of ${night.night}: ${night.planned.length} sequences planned, ${night.executed.length} executed, ${night.unsafe.length} unsafe spells; the table below says the same`;
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height + 20}`, role: "img", "aria-label": label },
    twilight(night, x, from, to, height), unsafe(night.unsafe, x, from, to, height, now), hours,
    LANES.map(([, name], lane) => s("text", { class: "soft", x: 0, y: 42 * lane + 25 }, name)), bars,
    now > from && now < to ? s("line", { class: "now", x1: x(now), x2: x(now), y1: 0, y2: height + 4 }) : null);
}

const HIGH = 260;
const up = (alt) => HIGH - (Math.min(Math.max(alt, 0), 90) / 90) * HIGH;

// A curve above the horizon; below it there is nothing to see.
function path(times, alts, x) {
  let d = "";
  let pen = "M";
  times.forEach((at, index) => {
    if (alts[index] < 0) {
      pen = "M";
      return;
    }
    d += `${pen}${x(at).toFixed(1)} ${up(alts[index]).toFixed(1)}`;
    pen = "L";
  });
  return d;
}

function altitudeAxis() {
  return [0, 30, 60, 90].map((alt) => s("g", {}, s("line", { class: "grid", x1: LEFT, x2: WIDTH - 10, y1: up(alt), y2: up(alt) }),
    s("text", { class: "soft", x: LEFT - 6, y: Math.max(10, up(alt) + 4), "text-anchor": "end" }, `${alt}°`)));
}

const highest = (alts) => alts.reduce((best, alt, index) => (alt > alts[best] ? index : best), 0);

// Altitudes of the night's targets and of the Moon. `chosen` is the sequence that stands out.
export function altitudes(sky, night, now, chosen) {
  const times = sky.times.map(time);
  const [from, to] = [times[0], times.at(-1)];
  const [x, hours] = scale(from, to, HIGH);
  const drawn = sky.targets.map((target) => {
    const top = highest(target.alt_deg);
    const stands = chosen === target.sequence;
    const few = sky.targets.length <= 12 || stands;
    return s("g", {}, s("title", {}, `${target.target}: highest ${target.alt_deg[top].toFixed(0)}° at ${hhmm(sky.times[top])}`),
      s("path", { class: "altitude", "data-alert": target.from_alert, "data-chosen": stands, d: path(times, target.alt_deg, x) }),
      few && target.alt_deg[top] > 0 ? s("text", { class: stands ? null : "soft", x: x(times[top]), y: Math.max(10, up(target.alt_deg[top]) - 4), "text-anchor": "middle" }, target.target) : null);
  });
  const done = night.executed.filter((bar) => !chosen || bar.sequence === chosen).map((bar) => s("rect", { class: "exposed", x: x(time(bar.start)), width: Math.max(2, x(time(bar.end) ?? Math.min(now, to)) - x(time(bar.start))), y: HIGH - 6, height: 6 }));
  const lit = Math.round(sky.moon_illumination * 100);
  const moonTop = highest(sky.moon_alt_deg);
  const limit = sky.horizon_limit_deg;
  const label = `Altitudes of ${sky.targets.length} targets on the night of ${sky.night}; the Moon, ${lit} % lit, is highest at ${sky.moon_alt_deg[moonTop].toFixed(0)} degrees`;
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HIGH + 20}`, role: "img", "aria-label": label },
    twilight(night, x, from, to, HIGH), unsafe(night.unsafe, x, from, to, HIGH, now), altitudeAxis(), hours,
    s("line", { class: "limit", x1: LEFT, x2: WIDTH - 10, y1: up(limit), y2: up(limit) }),
    s("g", {}, s("title", {}, `Moon, ${lit} % lit`), s("path", { class: "moon-path", d: path(times, sky.moon_alt_deg, x) }),
      sky.moon_alt_deg[moonTop] > 0 ? s("text", { class: "soft", x: x(times[moonTop]), y: Math.max(10, up(sky.moon_alt_deg[moonTop]) - 4) }, `Moon ${lit} %`) : null),
    drawn, done, now > from && now < to ? s("line", { class: "now", x1: x(now), x2: x(now), y1: 0, y2: HIGH }) : null);
}

// One quantity of the weather through a stretch of time, with its limit and the unsafe spans.
export function weatherStrip(name, told, from, to, spells, now) {
  const height = 90;
  const [x, hours] = scale(from, to, height);
  const values = told.samples.map((sample) => sample.value).filter((value) => value !== null);
  const limit = told.bound?.limit ?? null;
  if (values.length === 0) return s("svg", { viewBox: `0 0 ${WIDTH} ${height + 20}`, role: "img", "aria-label": `${name}: nothing was measured` }, hours);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const span = Math.max(high - low, Math.abs(high) * 0.05, 0.5);
  const near = limit !== null && limit > low - 6 * span && limit < high + 6 * span;
  if (near) [low, high] = [Math.min(low, limit), Math.max(high, limit)];
  low -= span * 0.15;
  high += span * 0.15;
  const y = (value) => height - ((value - low) / (high - low)) * height;
  let d = "";
  let pen = "M";
  let last = null;
  for (const sample of told.samples) {
    const at = time(sample.at);
    // Where nothing was measured for a quarter of an hour there is no line.
    if (sample.value === null || (last !== null && at - last > HOUR / 4)) pen = "M";
    last = at;
    if (sample.value === null) continue;
    d += `${pen}${x(at).toFixed(1)} ${y(sample.value).toFixed(1)}`;
    pen = "L";
  }
  const label = `${name}: ${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)}${limit === null ? "" : `, unsafe ${told.bound.above ? "above" : "below"} ${limit}`}`;
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height + 20}`, role: "img", "aria-label": label }, s("title", {}, label),
    unsafe(spells, x, from, to, height, now), hours,
    s("text", { class: "soft", x: LEFT - 6, y: 12, "text-anchor": "end" }, high.toFixed(1)), s("text", { class: "soft", x: LEFT - 6, y: height, "text-anchor": "end" }, low.toFixed(1)),
    near ? s("line", { class: "limit", x1: LEFT, x2: WIDTH - 10, y1: y(limit), y2: y(limit) }) : null,
    s("path", { class: "curve", d }));
}

// When a target of a draft can be seen tonight: its altitude, what is asked, the Moon, and the good stretches.
export function visibility(told) {
  const { curve, tonight } = told;
  const times = curve.times.map(time);
  const [x, hours] = scale(times[0], times.at(-1), HIGH);
  const good = tonight.good.map((span) => s("g", {}, s("title", {}, `observable ${hhmm(span.start)} to ${hhmm(span.end)}`),
    s("rect", { class: "good-span", x: x(time(span.start)), width: Math.max(2, x(time(span.end)) - x(time(span.start))), y: 0, height: HIGH })));
  const when = tonight.good.map((span) => `${hhmm(span.start)} to ${hhmm(span.end)}`).join(", ") || "not at all";
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HIGH + 20}`, role: "img", "aria-label": `${told.target} on the night of ${tonight.night}: observable ${when}, highest ${tonight.highest_deg.toFixed(0)} degrees` },
    good, altitudeAxis(), hours, s("line", { class: "limit", x1: LEFT, x2: WIDTH - 10, y1: up(curve.floor_deg), y2: up(curve.floor_deg) }),
    s("path", { class: "moon-path", d: path(times, curve.moon_alt_deg, x) }), s("path", { class: "altitude", "data-chosen": "true", d: path(times, curve.alt_deg, x) }));
}

// The nights to come: how long each allows it, and how bright the Moon is.
export function seasonBars(nights) {
  const height = 70;
  const most = Math.max(1, ...nights.map((night) => night.good_s));
  const wide = (WIDTH - LEFT) / Math.max(1, nights.length);
  const usable = nights.filter((night) => night.fits).length;
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height + 20}`, role: "img", "aria-label": `${usable} of the next ${nights.length} nights can hold it` },
    nights.map((night, index) => s("g", {}, s("title", {}, `${night.night}: ${(night.good_s / 3600).toFixed(1)} h, Moon ${Math.round(night.moon_illumination * 100)} % lit${night.fits ? "" : ", too short"}`),
      s("rect", { class: night.fits ? "bar-of" : "bar-short", x: LEFT + index * wide + 1, width: Math.max(1, wide - 2), y: height - (night.good_s / most) * height, height: Math.max(1, (night.good_s / most) * height) }),
      index % 7 === 0 ? s("text", { class: "soft", x: LEFT + index * wide, y: height + 14 }, night.night.slice(5)) : null)),
    s("text", { class: "soft", x: LEFT - 6, y: 12, "text-anchor": "end" }, `${(most / 3600).toFixed(1)} h`));
}

const STEPS = [60e3, 300e3, 900e3, HOUR, 3 * HOUR, 6 * HOUR, 24 * HOUR, 48 * HOUR, 168 * HOUR, 720 * HOUR, 2160 * HOUR, 8760 * HOUR];
// A shape for each filter: colour never carries a meaning alone.
const SHAPES = [
  (x, y) => `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z`,
  (x, y) => `M${x - 4} ${y - 4}h8v8h-8Z`,
  (x, y) => `M${x} ${y - 5}l5 9h-10Z`,
  (x, y) => `M${x} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z`,
  (x, y) => `M${x - 5} ${y - 4}h10l-5 9Z`,
];

// Magnitudes over time, bright above, with their errors; what was not seen is an arrow down from its limit. A shape a filter.
export function lightCurve(points, name) {
  const seen = points.filter((point) => typeof point.mag === "number").map((point) => ({ ...point, when: time(point.at), error: point.error ?? 0 }));
  if (seen.length === 0) return s("svg", { viewBox: `0 0 ${WIDTH} 40`, role: "img", "aria-label": `${name}: nothing measured` });
  const bands = [...new Set(seen.map((point) => point.filter))].sort();
  const [first, last] = [Math.min(...seen.map((point) => point.when)), Math.max(...seen.map((point) => point.when))];
  const room = Math.max((last - first) * 0.04, 60e3);
  const [from, to] = [first - room, last + room];
  const [bright, faint] = [Math.min(...seen.map((point) => point.mag - point.error)), Math.max(...seen.map((point) => point.mag + point.error))];
  const margin = Math.max((faint - bright) * 0.1, 0.05);
  const [top, bottom] = [bright - margin, faint + margin];
  const x = (at) => LEFT + ((at - from) / (to - from)) * (WIDTH - LEFT - 10);
  const y = (mag) => 24 + ((mag - top) / (bottom - top)) * (HIGH - 24);
  const step = STEPS.find((one) => (to - from) / one <= 9) ?? STEPS.at(-1);
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    const iso = new Date(at).toISOString();
    ticks.push(s("line", { class: "grid", x1: x(at), x2: x(at), y1: 24, y2: HIGH }),
      s("text", { class: "soft", x: x(at), y: HIGH + 14, "text-anchor": "middle" }, step < 24 * HOUR ? `${to - from > 24 * HOUR ? `${iso.slice(5, 10)} ` : ""}${iso.slice(11, 16)}` : iso.slice(0, 10)));
  }
  const every = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((one) => (bottom - top) / one <= 7) ?? 10;
  for (let mag = Math.ceil(top / every) * every; mag <= bottom; mag += every) {
    ticks.push(s("line", { class: "grid", x1: LEFT, x2: WIDTH - 10, y1: y(mag), y2: y(mag) }),
      s("text", { class: "soft", x: LEFT - 6, y: y(mag) + 4, "text-anchor": "end" }, mag.toFixed(every < 0.1 ? 2 : 1)));
  }
  const marks = seen.map((point) => {
    const band = bands.indexOf(point.filter);
    const [px, py] = [x(point.when), y(point.mag)];
    const limit = point.kind !== "detected";
    const words = `${point.filter} ${limit ? "fainter than " : ""}${point.mag.toFixed(3)}${limit ? "" : ` ± ${point.error.toFixed(3)}`}, ${point.at.slice(0, 19).replace("T", " ")}`;
    return s("g", { class: "mark", "data-band": band % 5, "data-limit": limit }, s("title", {}, words),
      limit ? s("path", { d: `M${px - 5} ${py}h10M${px} ${py}v12l-4 -4m4 4l4 -4` }) : s("path", { d: `M${px} ${y(point.mag - point.error)}V${y(point.mag + point.error)}` }),
      limit ? null : s("path", { d: SHAPES[band % 5](px, py) }));
  });
  const legend = bands.map((band, index) => s("g", { class: "mark", "data-band": index % 5 }, s("path", { d: SHAPES[index % 5](LEFT + 10 + index * 110, 9) }),
    s("text", { class: "band-name", x: LEFT + 22 + index * 110, y: 13 }, band)));
  const detected = seen.filter((point) => point.kind === "detected").length;
  const label = `${name}: ${detected} detections and ${seen.length - detected} limits in ${bands.join(", ")}, magnitude ${bright.toFixed(2)} to ${faint.toFixed(2)}; the table below says the same`;
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HIGH + 20}`, role: "img", "aria-label": label }, ticks, marks, legend);
}
