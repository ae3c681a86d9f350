// What the pages that begin runs and show what came of them share: flags of a pipeline, and the products of a run.

import { h, productUrl } from "./elements.js";

export const runPath = (id) => `/api/v1/runs/${encodeURIComponent(id)}`;
export const runPage = (id) => `/pipelines?run=${encodeURIComponent(id)}`;
// A target as runs name it: they take letters, digits and . _ + - alone.
export const subjectOf = (name) => name.replace(/\s+/g, "").replace(/[^A-Za-z0-9._+-]/g, "_");
export const hasEnded = (run) => ["done", "failed", "canceled"].includes(run.state);

// A box for each flag of a pipeline, as it stands if nobody says otherwise.
export function flagBoxes(pipeline) {
  return Object.entries(pipeline?.flags ?? {}).map(([name, flag]) =>
    h("label", {}, h("input", { type: "checkbox", name, checked: flag.default ? "" : null }), ` ${flag.long_name ?? name}`));
}

export const chosenFlags = (node) => Object.fromEntries([...node.querySelectorAll("input")].map((box) => [box.name, box.checked]));

// The files of a run's product group; what was not kept is left out.
export const made = (whole) => whole.products.filter((product) => product.sha256 !== "");

export const productList = (products) => h("ul", { class: "plain" }, products.map((product) =>
  h("li", {}, h("a", { href: productUrl(`pipelines/products/${product.path}`) }, product.label), ` ${product.size} bytes`)));
