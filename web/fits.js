// Reads the first image of a FITS file (FITS standard 4.0, sections 3 to 5) that is not compressed. Terms: a *card* is one
// line of a header, a file is made of blocks of 2880 bytes.

const BLOCK = 2880;
const CARD = 80;

const whole = (bytes) => Math.ceil(bytes / BLOCK) * BLOCK;

// The cards of the header that begins at `at`, and where it ends.
function headerAt(bytes, at) {
  const cards = new Map();
  for (let place = at; place + CARD <= bytes.length; place += CARD) {
    const text = String.fromCharCode(...bytes.subarray(place, place + CARD));
    const key = text.slice(0, 8).trim();
    if (key === "END") return { cards, end: at + whole(place + CARD - at) };
    if (text.slice(8, 10) !== "= " || cards.has(key)) continue;
    const value = text.slice(10).trim();
    cards.set(key, value.startsWith("'") ? value.slice(1).split("'")[0].trimEnd() : value.split("/")[0].trim());
  }
  throw new Error("not a FITS file: its header does not end");
}

const TYPES = {
  8: (view, at) => view.getUint8(at),
  16: (view, at) => view.getInt16(at),
  32: (view, at) => view.getInt32(at),
  "-32": (view, at) => view.getFloat32(at),
  "-64": (view, at) => view.getFloat64(at),
};

// `{width, height, values, cards}`: values as the header scales them, the upper row first (a file has the lowest first);
// what has no value is not a number.
export function imageOf(buffer) {
  const bytes = new Uint8Array(buffer);
  for (let at = 0; at < bytes.length;) {
    const { cards, end } = headerAt(bytes, at);
    const number = (key, otherwise) => (cards.has(key) ? Number(cards.get(key)) : otherwise);
    const bits = number("BITPIX", 0);
    const axes = number("NAXIS", 0);
    const sides = Array.from({ length: axes }, (_, axis) => number(`NAXIS${axis + 1}`, 0));
    const count = axes === 0 ? 0 : sides.reduce((all, side) => all * side, 1);
    if (cards.get("ZIMAGE") === "T") throw new Error("the pixels are compressed: use the preview, or take the file");
    const isImage = !cards.has("XTENSION") || cards.get("XTENSION") === "IMAGE";
    if (isImage && axes >= 2 && count > 0) {
      const [width, height] = sides;
      const value = TYPES[bits];
      const step = Math.abs(bits) / 8;
      if (!value || !(width > 0 && height > 0) || end + width * height * step > bytes.length) throw new Error("the file has fewer pixels than its header says");
      const [scale, zero, blank] = [number("BSCALE", 1), number("BZERO", 0), bits > 0 ? number("BLANK", null) : null];
      const view = new DataView(buffer, end);
      const values = new Float32Array(width * height);
      for (let y = 0; y < height; y += 1) {
        for (let x = 0; x < width; x += 1) {
          const raw = value(view, ((height - 1 - y) * width + x) * step);
          values[y * width + x] = raw === blank ? NaN : raw * scale + zero;
        }
      }
      return { width, height, values, cards };
    }
    const groups = number("GCOUNT", 1) * (number("PCOUNT", 0) + count);
    at = end + whole((Math.abs(bits) / 8) * groups);
  }
  throw new Error("there is no image in the file");
}
