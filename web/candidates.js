// What the frames of an alert show: candidates with their pictures, and the light curve of the best of them.

import { fixed, h, productUrl } from "./elements.js";

// Reports do not change once they are written: each is asked for once.
const known = new Map();

// Beside every calibrated frame of an alert there is a report.
async function reportOf(frame) {
  const path = `${frame.path.split("/")[0]}/alerts/${frame.exposure}.json`;
  if (!known.has(path)) {
    const response = await fetch(productUrl(path)).catch(() => null);
    known.set(path, response?.ok ? await response.json() : null);
  }
  return known.get(path);
}

// The reports of the first frame that has one and of the last.
export async function reports(record) {
  const frames = record.frames.filter((frame) => frame.path);
  const found = [];
  for (const frame of frames.slice(0, 3)) {
    const report = await reportOf(frame);
    if (report) { found.push(report); break; }
  }
  for (const frame of frames.slice(-3).reverse()) {
    const report = await reportOf(frame);
    if (report) { if (report.exposure !== found[0]?.exposure) found.push(report); break; }
  }
  return found;
}

const place = (c) => `RA ${fixed(c.ra, 5)}° Dec ${fixed(c.dec, 5)}° ± ${fixed(c.ra_dec_error_arcsec, 1)}″`;

function candidate(c, number, report) {
  const picture = report.cutouts[number];
  const name = `Candidate ${number + 1}${c.known ? `, ${c.known}` : ""}`;
  const change = c.change_mag === null ? "" : `, ${c.change_mag > 0 ? "fainter" : "brighter"} by ${fixed(Math.abs(c.change_mag), 2)} since the first visit`;
  return h("figure", { class: "frame" },
    picture ? h("img", { src: productUrl(picture), alt: `Cut-out of ${name.toLowerCase()}`, loading: "lazy" }) : h("div", { class: "no-image" }, "no cut-out"),
    h("figcaption", {}, h("strong", {}, name), h("br"), `${c.kind.replaceAll("_", " ")}, ${report.filter} ${fixed(c.mag, 2)} ± ${fixed(c.mag_error, 2)}${change}`, h("br"),
      place(c), c.flags.length ? h("br") : null, c.flags.join(", ").replaceAll("_", " ")));
}

function one(report) {
  const limit = report.limiting_mag === null ? "" : `, limit ${fixed(report.limiting_mag, 1)}`;
  const count = report.candidates.length;
  return h("section", {},
    h("h3", {}, `${(report.obs_date ?? "").slice(0, 19).replace("T", " ")} UTC, ${report.filter}, ${report.exposure_s} s: ${count === 0 ? "no candidate" : count === 1 ? "one candidate" : `${count} candidates`}`),
    report.not_searched ? h("p", { class: "legend" }, `Not searched: ${report.not_searched}.`) : h("p", { class: "legend" }, `Searched: ${report.searched}; against ${report.catalogue.name}, complete to ${fixed(report.catalogue.depth_mag, 1)}${limit}.`),
    h("div", { class: "frames" }, report.candidates.slice(0, report.cutouts.length).map((c, n) => candidate(c, n, report))),
    report.light_curve ? h("figure", {}, h("img", { src: productUrl(report.light_curve), alt: "Light curve of the best candidate" })) : null);
}

export function candidates(found) {
  return found.length === 0 ? h("p", { class: "legend" }, "No frame has been searched yet.") : found.map(one);
}
