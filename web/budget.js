// Pictures of an alert: where its time went, where its tiles lie, how long each stage takes. Pure functions to SVG.

import { fixed, s } from "./elements.js";

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const size = Math.abs(seconds);
  if (size < 1) return `${fixed(seconds * 1000, size < 0.01 ? 2 : 0)} ms`;
  if (size < 600) return `${fixed(seconds, size < 10 ? 2 : 0)} s`;
  return size < 7200 ? `${fixed(seconds / 60, 1)} min` : `${fixed(seconds / 3600, 1)} h`;
}

export const words = (stage) => stage.replaceAll("_", " ");

// One bar: each share's width grows with the logarithm of its time, so that milliseconds are seen beside minutes.
export function budgetBar(budget) {
  const width = 1000;
  const weight = (share) => 1 + Math.max(0, Math.log10(Math.max(share.seconds, 1e-5) / 1e-5));
  const whole = budget.reduce((sum, share) => sum + weight(share), 0) || 1;
  let x = 0;
  const drawn = budget.map((share, index) => {
    const left = x;
    const wide = (weight(share) / whole) * width;
    x += wide;
    const text = `${words(share.from)} to ${words(share.to)}: ${duration(share.seconds)}`;
    return s("g", {}, s("title", {}, text), s("rect", { class: "share", "data-kind": index % 3, x: left, y: 0, width: wide, height: 30 }),
      s("text", { class: "in-block", x: left + 4, y: 13 }, wide > 70 ? words(share.to) : ""), s("text", { class: "in-block", x: left + 4, y: 26 }, wide > 40 ? duration(share.seconds) : ""));
  });
  const label = budget.map((share) => `${words(share.to)} after ${duration(share.seconds)}`).join(", ");
  return s("svg", { viewBox: `0 0 ${width} 30`, role: "img", "aria-label": `Latency budget, logarithmic: ${label}` }, drawn);
}

// Tiles in the tangent plane of the middle of the region: north up, east left.
export function tilePicture(coverage) {
  const rad = Math.PI / 180;
  const project = (ra, dec) => {
    const [a, d, d0] = [(ra - coverage.ra_deg) * rad, dec * rad, coverage.dec_deg * rad];
    const cos = Math.sin(d0) * Math.sin(d) + Math.cos(d0) * Math.cos(d) * Math.cos(a);
    const angle = Math.acos(Math.min(1, Math.max(-1, cos)));
    const east = Math.cos(d) * Math.sin(a);
    const north = Math.cos(d0) * Math.sin(d) - Math.sin(d0) * Math.cos(d) * Math.cos(a);
    const length = Math.hypot(east, north) || 1;
    return [(-east / length) * (angle / rad), (-north / length) * (angle / rad)];
  };
  const tiles = coverage.tiles.length ? coverage.tiles : [{ ra_deg: coverage.ra_deg, dec_deg: coverage.dec_deg, probability: coverage.covered ?? 1, when: "now" }];
  const placed = tiles.map((tile) => [tile, project(tile.ra_deg, tile.dec_deg)]);
  const reach = Math.max(coverage.r90_deg ?? 0, ...placed.map(([, [x, y]]) => Math.max(Math.abs(x), Math.abs(y)) + coverage.field_deg / 2)) * 1.1 || 1;
  const scale = 180 / reach;
  const side = Math.max(2, coverage.field_deg * scale);
  const most = Math.max(...tiles.map((tile) => tile.probability), 1e-9);
  const drawn = placed.map(([tile, [x, y]], index) => s("g", {},
    s("title", {}, `${index + 1}: ${fixed(tile.probability * 100, 2)} %, ${words(tile.when)}${tile.from ? ` from ${tile.from.slice(11, 16)} UTC` : ""}`),
    s("rect", { class: "tile-of", "data-when": tile.when, x: 200 + x * scale - side / 2, y: 200 + y * scale - side / 2, width: side, height: side, "fill-opacity": (0.2 + 0.8 * (tile.probability / most)).toFixed(2) }),
    side > 14 ? s("text", { x: 200 + x * scale, y: 204 + y * scale, "text-anchor": "middle" }, index + 1) : null));
  const circle = coverage.r90_deg === null ? null : s("circle", { class: "circle-of", cx: 200, cy: 200, r: coverage.r90_deg * scale });
  const share = coverage.covered === null ? "an unknown share" : `${fixed(coverage.covered * 100, 0)} %`;
  return s("svg", { viewBox: "0 0 400 400", role: "img", "aria-label": `${tiles.length} fields of ${fixed(coverage.field_deg, 2)} degrees hold ${share} of the probability; north up, east left` },
    s("rect", { class: "dome", x: 0, y: 0, width: 400, height: 400 }), drawn, circle,
    s("text", { class: "soft", x: 200, y: 14, "text-anchor": "middle" }, "N"), s("text", { class: "soft", x: 6, y: 204 }, "E"),
    s("text", { class: "soft", x: 394, y: 394, "text-anchor": "end" }, `${fixed(2 * reach, 2)}° wide`));
}

export function histogram(name, one, bounds) {
  const first = one.counts.findIndex((count) => count > 0);
  const last = one.counts.findLastIndex((count) => count > 0);
  const shown = one.counts.slice(first, last + 1);
  const most = Math.max(...shown, 1);
  const wide = 300 / Math.max(shown.length, 1);
  const end = (index) => (index < bounds.length ? duration(bounds[index]) : "more");
  const bars = shown.map((count, index) => s("g", {}, s("title", {}, `up to ${end(first + index)}: ${count}`),
    s("rect", { class: "bar-of", x: index * wide + 1, y: 60 - (count / most) * 56, width: Math.max(1, wide - 2), height: (count / most) * 56 })));
  const mean = one.count ? one.sum_s / one.count : 0;
  return s("svg", { viewBox: "0 0 300 78", role: "img", "aria-label": `${words(name)}: ${one.count} events, mean ${duration(mean)}, longest ${duration(one.max_s)}` },
    s("line", { class: "grid", x1: 0, x2: 300, y1: 60, y2: 60 }), bars,
    s("text", { class: "soft", x: 0, y: 74 }, `≤ ${end(first)}`), s("text", { class: "soft", x: 300, y: 74, "text-anchor": "end" }, `≤ ${end(last)}`));
}
