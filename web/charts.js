// Time charts: the night as a Gantt chart, and weather strips.

import { hhmm, s } from "./elements.js";

const WIDTH = 1000;
const LEFT = 70;
const HOUR = 3600e3;

function axis(from, to, height, left = LEFT) {
  const x = (time) => left + ((time - from) / (to - from)) * (WIDTH - left - 10);
  const hours = [];
  const step = to - from > 10 * HOUR ? 2 * HOUR : HOUR;
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
    hours.push(s("line", { class: "grid", x1: x(time), x2: x(time), y1: 0, y2: height }),
      s("text", { class: "soft", x: x(time), y: height + 14, "text-anchor": "middle" }, `${new Date(time).toISOString().slice(11, 13)}h`));
  }
  return [x, hours];
}

function block(x, row, start, end, y, title) {
  const left = x(start);
  const width = Math.max(2, x(end) - left);
  const letters = Math.floor((width - 6) / 6.5);
  const label = letters >= 3 ? row.target.slice(0, letters) : null;
  return s("g", {}, s("title", {}, title),
    s("rect", { class: "block", "data-state": row.state, "data-alert": row.from_alert, x: left, y, width, height: 26, rx: 3 }),
    label ? s("text", { class: "in-block", x: left + 4, y: y + 17 }, label) : null);
}

export function gantt(state) {
  const time = (iso) => (iso ? Date.parse(iso) : null);
  const now = time(state.now);
  const { sunset, sunrise, dusk, dawn } = state.night;
  const known = [sunset, sunrise].map(time).filter((value) => value !== null);
  for (const row of state.schedule) {
    known.push(...[row.start, row.end, row.executed_start, row.executed_end].map(time).filter((value) => value !== null));
  }
  if (known.length === 0) known.push(now - 2 * HOUR, now + 10 * HOUR);
  const from = Math.min(...known, now) - HOUR / 2;
  const to = Math.max(...known, now) + HOUR / 2;
  const [x, hours] = axis(from, to, 84);
  const bands = [[from, time(dusk)], [time(dawn), to]].filter(([a, b]) => a !== null && b !== null && b > a)
    .map(([a, b]) => s("rect", { class: "twilight", x: x(a), width: x(b) - x(a), y: 0, height: 84 }));
  const planned = state.schedule.filter((row) => row.start && row.end)
    .map((row) => block(x, row, time(row.start), time(row.end), 8, `${row.target} (${row.user}), planned ${hhmm(row.start)} to ${hhmm(row.end)}: ${row.state}`));
  const executed = state.schedule.filter((row) => row.executed_start)
    .map((row) => block(x, row, time(row.executed_start), time(row.executed_end) ?? now, 50, `${row.target} (${row.user}), executed ${hhmm(row.executed_start)} to ${hhmm(row.executed_end)}: ${row.state}`));
  const done = state.schedule.filter((row) => row.state === "executed").length;
  return s("svg", { viewBox: `0 0 ${WIDTH} 104`, role: "img", "aria-label": `${state.schedule.length} sequences tonight, ${done} executed; the table below says the same` },
    bands, hours, s("text", { class: "soft", x: 0, y: 26 }, "planned"), s("text", { class: "soft", x: 0, y: 68 }, "executed"),
    planned, executed, s("line", { class: "now", x1: x(now), x2: x(now), y1: 0, y2: 88 }));
}

// Why a sequence has no place: a row a cause, its excluded stretches as bars.
export function exclusions(stretches, night) {
  const time = (iso) => Date.parse(iso);
  const edges = stretches.flatMap((stretch) => [time(stretch.start), time(stretch.end)]);
  const known = [night.sunset, night.sunrise].filter((iso) => iso).map(time).concat(edges);
  const causes = [...new Set(stretches.map((stretch) => stretch.cause))];
  const height = 22 * causes.length;
  const [x, hours] = axis(Math.min(...known), Math.max(...known), height, LEFT + 60);
  const words = (cause) => cause.replaceAll("_", " ");
  const bar = (row) => (stretch) => {
    const [from, to] = [x(time(stretch.start)), x(time(stretch.end))];
    const numbers = stretch.worst == null || stretch.limit == null ? "" : ` (${stretch.worst.toFixed(1)}, limit ${stretch.limit.toFixed(1)})`;
    return s("g", {}, s("title", {}, `${words(stretch.cause)} ${hhmm(stretch.start)} to ${hhmm(stretch.end)}${numbers}`),
      s("rect", { class: "excluded", x: from, width: Math.max(2, to - from), y: 22 * row + 4, height: 14 }));
  };
  const rows = causes.map((cause, row) => s("g", {}, s("text", { class: "soft", x: 0, y: 22 * row + 16 }, words(cause)),
    stretches.filter((stretch) => stretch.cause === cause).map(bar(row))));
  const label = stretches.map((stretch) => `${words(stretch.cause)} from ${hhmm(stretch.start)} to ${hhmm(stretch.end)}`).join("; ");
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height + 20}`, role: "img", "aria-label": label }, hours, rows);
}

// One quantity: the curve with its holes, and the limit.
export function strip(points, limit, label) {
  const width = 300;
  const height = 64;
  const values = points.map((point) => point.value).filter((value) => value !== null);
  if (values.length === 0) return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label}: no history` });
  let low = Math.min(...values);
  let high = Math.max(...values);
  const room = Math.max(high - low, Math.abs(high) * 0.05, 0.5) * 0.15;
  const near = limit !== null && limit !== undefined && limit > low - 6 * (room + high - low) && limit < high + 6 * (room + high - low);
  if (near) [low, high] = [Math.min(low, limit), Math.max(high, limit)];
  low -= room;
  high += room;
  const first = Date.parse(points[0].at);
  const span = Math.max(1, Date.parse(points.at(-1).at) - first);
  const y = (value) => height - ((value - low) / (high - low)) * height;
  let path = "";
  let pen = "M";
  for (const point of points) {
    if (point.value === null) {
      pen = "M";
      continue;
    }
    path += `${pen}${(((Date.parse(point.at) - first) / span) * width).toFixed(1)} ${y(point.value).toFixed(1)}`;
    pen = "L";
  }
  const range = `${label}: ${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)} since ${hhmm(points[0].at)}`;
  return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": range }, s("title", {}, range),
    s("rect", { class: "dome", x: 0, y: 0, width, height }),
    near ? s("line", { class: "limit", x1: 0, x2: width, y1: y(limit), y2: y(limit) }) : null,
    s("path", { class: "curve", d: path }));
}
