// A frame seen large: its preview, or the pixels of its FITS file, with black and white points, stretch and zoom.

import { byId, h, productUrl, setText } from "./elements.js";
import { imageOf } from "./fits.js";

// Pixels that are looked at for the range of values.
const SAMPLE = 40000;
const SOFTNESS = 10;

const SOURCES = [["preview", "Preview"], ["calibrated", "Calibrated frame (FITS)"], ["raw", "Raw frame (FITS)"]];
let image = null;
let shown = null;
let zoom = 0;
let asked = 0;

async function previewOf(path) {
  const picture = new Image();
  picture.src = productUrl(path);
  await picture.decode();
  const { naturalWidth: width, naturalHeight: height } = picture;
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Float32Array(width * height);
  for (let n = 0; n < values.length; n += 1) values[n] = data[4 * n];
  return { width, height, values, low: 0, high: 255, stretch: "linear" };
}

async function pixelsOf(path) {
  const response = await fetch(productUrl(path));
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail ?? String(response.status));
  const read = imageOf(await response.arrayBuffer());
  const step = Math.max(1, Math.floor(read.values.length / SAMPLE));
  const some = [];
  for (let n = 0; n < read.values.length; n += step) if (Number.isFinite(read.values[n])) some.push(read.values[n]);
  if (some.length === 0) throw new Error("no pixel has a value");
  some.sort((a, b) => a - b);
  const at = (share) => some[Math.min(some.length - 1, Math.floor(share * some.length))];
  return { ...read, low: at(0.002), high: Math.max(at(0.998), at(0.002) + 1e-6), stretch: "asinh" };
}

function draw() {
  if (image === null) return;
  const { width, height, values, low, high } = image;
  const share = (id) => Number(byId(id).value) / 100;
  const black = low + share("black") * (high - low);
  const span = Math.max(low + share("white") * (high - low) - black, (high - low) / 1000);
  const soft = byId("stretch").value === "asinh";
  const top = Math.asinh(SOFTNESS);
  const canvas = byId("pixels");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const grey = context.createImageData(width, height);
  for (let n = 0; n < values.length; n += 1) {
    const linear = Math.min(1, Math.max(0, (values[n] - black) / span));
    const tone = 255 * (soft ? Math.asinh(SOFTNESS * linear) / top : linear);
    grey.data[4 * n] = tone;
    grey.data[4 * n + 1] = tone;
    grey.data[4 * n + 2] = tone;
    grey.data[4 * n + 3] = 255;
  }
  context.putImageData(grey, 0, 0);
  size();
}

function size() {
  const canvas = byId("pixels");
  canvas.style.width = zoom === 0 ? "100%" : `${canvas.width * 2 ** (zoom - 1)}px`;
  setText(byId("zoomed"), zoom === 0 ? "fitted" : `${2 ** (zoom - 1)} screen pixels a pixel`);
}

async function load() {
  const kind = byId("source").value;
  const turn = ++asked;
  setText(byId("viewer-said"), "Loading…");
  try {
    const path = shown.files[kind];
    const read = kind === "preview" ? await previewOf(path) : await pixelsOf(path);
    if (turn !== asked) return;
    image = read;
    [byId("black").value, byId("white").value, byId("stretch").value] = [0, 100, image.stretch];
    setText(byId("viewer-said"), `${image.width} by ${image.height} pixels`);
    draw();
  } catch (cause) {
    if (turn === asked) setText(byId("viewer-said"), `Cannot be shown: ${cause.message || "the picture is not there"}`);
  }
}

// Opens the frame; `name` says what it is.
export function view(frame, name) {
  [shown, image, zoom] = [frame, null, 0];
  setText(byId("viewer-title"), name);
  const canvas = byId("pixels");
  canvas.setAttribute("aria-label", `Frame of ${name}`);
  [canvas.width, canvas.height] = [1, 1];
  byId("source").replaceChildren(...SOURCES.filter(([kind]) => frame.files[kind]).map(([kind, label]) => h("option", { value: kind }, label)));
  setText(byId("value"), "");
  byId("viewer").showModal();
  load();
}

export function mountViewer() {
  byId("source").addEventListener("change", load);
  for (const id of ["black", "white", "stretch"]) byId(id).addEventListener("input", draw);
  const zooms = (change) => () => { zoom = Math.min(5, Math.max(0, zoom + change)); size(); };
  byId("zoom-in").addEventListener("click", zooms(1));
  byId("zoom-out").addEventListener("click", zooms(-1));
  byId("viewer-close").addEventListener("click", () => byId("viewer").close());
  byId("pixels").addEventListener("pointermove", (event) => {
    if (image === null) return;
    const box = event.target.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * image.width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * image.height);
    const value = image.values[y * image.width + x];
    // As FITS counts: from 1, the lowest row first.
    if (value !== undefined) setText(byId("value"), `x ${x + 1}, y ${image.height - y}: ${Number.isFinite(value) ? Number(value.toPrecision(6)) : "no value"}`);
  });
}
