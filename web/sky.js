// The sky as seen lying on one's back, head to the north: zenith in the middle, horizon at the rim, east on the left.

import { fixed, s } from "./elements.js";

const SIZE = 400;
const CENTRE = SIZE / 2;
const RIM = 172;

export function place(altDeg, azDeg) {
  const radius = ((90 - Math.max(altDeg, 0)) / 90) * RIM;
  const az = (azDeg * Math.PI) / 180;
  return [CENTRE - radius * Math.sin(az), CENTRE - radius * Math.cos(az)];
}

const point = ([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`;

function horizonMask(site) {
  const flat = [[0, site.horizon_limit_deg], [359.9, site.horizon_limit_deg]];
  const corners = site.horizon.length > 1 ? site.horizon : flat;
  const altAt = (az) => {
    const after = corners.findIndex(([corner]) => corner >= az);
    const [a1, h1] = corners[after <= 0 ? corners.length - 1 : after - 1];
    const [a2, h2] = corners[after === -1 ? 0 : after];
    const span = (a2 - a1 + 360) % 360;
    return span === 0 ? h1 : h1 + ((h2 - h1) * ((az - a1 + 360) % 360)) / span;
  };
  const inner = [];
  const rim = [];
  for (let az = 0; az < 360; az += 3) {
    inner.push(point(place(Math.max(altAt(az), site.horizon_limit_deg), az)));
    rim.push(point(place(0, az)));
  }
  return s("path", { class: "mask", d: `M${rim.join("L")}ZM${inner.join("L")}Z` });
}

function grid() {
  const rings = [0, 30, 60].map((alt) => s("circle", { class: alt ? "grid" : "dome", cx: CENTRE, cy: CENTRE, r: ((90 - alt) / 90) * RIM }));
  const names = [["N", 0], ["E", 90], ["S", 180], ["W", 270]].map(([name, az]) => {
    const [x, y] = place(0, az);
    const out = 1 + 15 / RIM;
    return s("text", { x: CENTRE + (x - CENTRE) * out, y: CENTRE + (y - CENTRE) * out + 4, "text-anchor": "middle", class: "soft" }, name);
  });
  return [...rings, ...names];
}

function moonAndSun(state) {
  const drawn = [];
  if (state.moon && state.moon.alt_deg > 0) {
    const [x, y] = place(state.moon.alt_deg, state.moon.az_deg);
    const lit = Math.round(state.moon.illuminated * 100);
    drawn.push(s("g", {}, s("title", {}, `Moon, ${lit} % lit, altitude ${fixed(state.moon.alt_deg, 0)}°`),
      s("circle", { class: "moon-dark", cx: x, cy: y, r: 8 }), s("circle", { class: "moon", cx: x, cy: y, r: 8 * Math.sqrt(state.moon.illuminated) }),
      s("text", { x: x + 11, y: y + 4, class: "soft" }, "Moon")));
  }
  if (state.sun && state.sun.alt_deg > 0) {
    const [x, y] = place(state.sun.alt_deg, state.sun.az_deg);
    drawn.push(s("g", {}, s("title", {}, "Sun"), s("circle", { class: "sun", cx: x, cy: y, r: 9 }), s("text", { x: x + 12, y: y + 4 }, "Sun")));
  }
  return drawn;
}

export function skyPlot(state) {
  const up = state.sky.filter((target) => target.alt_deg > 0);
  const targets = up.map((target) => {
    const [x, y] = place(target.alt_deg, target.az_deg);
    const named = target.from_alert || target.state === "executing";
    return s("g", {}, s("title", {}, `${target.name}: ${target.state}, altitude ${fixed(target.alt_deg, 0)}°`),
      s("circle", { class: "target", "data-state": target.state, "data-alert": target.from_alert, cx: x, cy: y, r: named ? 6 : 4 }),
      named ? s("text", { x: x + 9, y: y - 6 }, target.name) : null);
  });
  const pointing = [];
  const { alt_deg: alt, az_deg: az } = state.mount;
  if (alt !== null && az !== null) {
    const [x, y] = place(alt, az);
    pointing.push(s("path", { class: "pointing", d: `M${x - 14} ${y}h9m10 0h9M${x} ${y - 14}v9m0 10v9` }));
  }
  const where = alt === null ? "unknown" : `altitude ${fixed(alt, 1)}°, azimuth ${fixed(az, 1)}°`;
  return s("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": `Sky with ${up.length} targets above the horizon; the mount points to ${where}` },
    grid(), horizonMask(state.site), moonAndSun(state), targets, pointing);
}
