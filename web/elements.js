// Small builders of DOM nodes. Text is always set as text: nothing that comes from outside is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

export function h(tag, attributes, ...children) {
  return build(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

export const byId = (id) => document.getElementById(id);

// Replaces the children only when what they show has changed, so that a reader's focus and selection survive.
const shown = new WeakMap();
export function show(node, key, make) {
  const text = JSON.stringify(key);
  if (shown.get(node) === text) return;
  shown.set(node, text);
  node.replaceChildren(...[make()].flat());
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const hhmm = (iso) => (iso ? iso.slice(11, 16) : "–");
export const hhmmss = (iso) => (iso ? iso.slice(11, 19) : "–");

export function ageText(seconds) {
  if (seconds === null || seconds === undefined) return "never";
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

export function fixed(value, digits) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

export const productUrl = (path) => `/api/v1/products/${path.split("/").map(encodeURIComponent).join("/")}`;
export const targetPage = (name) => `/targets#${encodeURIComponent(name)}`;
// The name of a target, leading to its data.
export const targetLink = (name) => h("a", { href: targetPage(name) }, name);
