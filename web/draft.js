// A draft of a request: between the form, the document that the daemon reads, and coordinates as people write them. Pure.

const SEXAGESIMAL = /^([+-]?)(\d{1,3})(?:[:hd°\s]+)(\d{1,2})(?:[:m'′\s]+(\d{1,2}(?:\.\d+)?))?\s*[s"″]?$/i;
const DECIMAL = /^[+-]?\d+(\.\d+)?$/;

function sexagesimal(text) {
  const found = SEXAGESIMAL.exec(text);
  if (!found) return null;
  const [, sign, whole, minutes, seconds] = found;
  if (Number(minutes) >= 60 || Number(seconds ?? 0) >= 60) return null;
  const value = Number(whole) + Number(minutes) / 60 + Number(seconds ?? 0) / 3600;
  return sign === "-" ? -value : value;
}

const inside = (value, low, high) => (value !== null && value >= low && value <= high ? value : null);
// Of a tenth of a milliarcsecond: what a person writes in sexagesimal has no more digits.
const tidy = (value) => Math.round(value * 1e8) / 1e8;

// Right ascension in degrees, from degrees or from hours, minutes and seconds; null for neither.
export function raDeg(text) {
  const plain = text.trim();
  if (DECIMAL.test(plain)) return inside(Number(plain), 0, 360);
  const hours = inside(sexagesimal(plain), 0, 24);
  return hours === null ? null : tidy(hours * 15);
}

// Declination in degrees, from degrees or from degrees, minutes and seconds; null for neither.
export function decDeg(text) {
  const plain = text.trim().replace("−", "-");
  if (DECIMAL.test(plain)) return inside(Number(plain), -90, 90);
  const degrees = inside(sexagesimal(plain), -90, 90);
  return degrees === null ? null : tidy(degrees);
}

export const emptyPlan = (filter = "") => ({ filter, exposure_s: "60", count: "1" });
export const emptyAlbum = (channel = "", filter = "") => ({ channel, plans: [emptyPlan(filter)] });

export function emptySequence(instruments) {
  const [channel, told] = Object.entries(instruments?.channels ?? {})[0] ?? ["", { filters: [] }];
  const limits = instruments?.constraints ?? {};
  return {
    name: "", ra: "", dec: "", priority: "5", from: "", until: "",
    min_alt_deg: String(limits.min_alt_deg ?? 25), moon_sep_deg: String(limits.moon_sep_deg ?? 20), sun_max_alt_deg: String(limits.sun_max_alt_deg ?? -14),
    albums: [emptyAlbum(channel, told.filters[0] ?? "")],
    // What the form does not show of an imported sequence, kept as it came.
    more: {}, limits: {},
  };
}

export const emptyDraft = (instruments, user = "") => ({ id: "", title: "", user, sequences: [emptySequence(instruments)] });

const instant = (text) => (text ? `${text}${text.length === 16 ? ":00" : ""}Z` : null);
const number = (text) => (String(text).trim() === "" ? null : Number(text));

// The document of a draft, and what is wrong with it before it is asked: [field, message].
export function documentOf(draft) {
  const faults = [];
  const sequences = draft.sequences.map((sequence, index) => {
    const at = `requests.0.sequences.${index}`;
    const [ra, dec] = [raDeg(sequence.ra), decDeg(sequence.dec)];
    if (sequence.name.trim() === "") faults.push([`${at}.target.name`, "a target has a name"]);
    if (ra === null) faults.push([`${at}.target.ra_deg`, "right ascension is degrees from 0 to 360, or hours such as 12:59:48.7"]);
    if (dec === null) faults.push([`${at}.target.dec_deg`, "declination is degrees from -90 to 90, decimal or such as +27:58:37"]);
    const numbers = (source, names, place) => Object.fromEntries(names.map((name) => {
      const value = number(source[name]);
      if (value === null || !Number.isFinite(value)) faults.push([`${place}.${name}`, "a number is wanted"]);
      return [name, value];
    }));
    const window = sequence.from || sequence.until ? [instant(sequence.from), instant(sequence.until)] : undefined;
    if (window && window.includes(null)) faults.push([`${at}.window`, "a window has a beginning and an end"]);
    return {
      ...sequence.more,
      target: { name: sequence.name.trim(), ra_deg: ra, dec_deg: dec },
      ...numbers(sequence, ["priority"], at),
      ...(window ? { window } : {}),
      constraints: { ...sequence.limits, ...numbers(sequence, ["min_alt_deg", "moon_sep_deg", "sun_max_alt_deg"], `${at}.constraints`) },
      albums: sequence.albums.map((album, k) => ({
        channel: album.channel,
        plans: album.plans.map((plan, m) => ({ ...plan.more, filter: plan.filter, ...numbers(plan, ["exposure_s", "count"], `${at}.albums.${k}.plans.${m}`) })),
      })),
    };
  });
  if (draft.id.trim() === "") faults.push(["requests.0.id", "a request has an identifier"]);
  if (draft.user.trim() === "") faults.push(["requests.0.user", "somebody pays"]);
  return [{ requests: [{ id: draft.id.trim(), title: draft.title.trim() || draft.id.trim(), user: draft.user.trim(), sequences }] }, faults];
}

const local = (iso) => (iso ? iso.slice(0, 19) : "");

// The draft of a request as the daemon tells it.
export function draftOf(request) {
  return {
    id: request.id,
    title: request.title,
    user: request.user,
    sequences: request.sequences.map((sequence) => {
      const { min_alt_deg: low, moon_sep_deg: moon, sun_max_alt_deg: sun, ...limits } = sequence.constraints;
      const more = { ...(sequence.timing ?? {}) };
      if (sequence.t_prefered) more.t_prefered = sequence.t_prefered;
      return {
        name: sequence.target.name, ra: String(sequence.target.ra_deg), dec: String(sequence.target.dec_deg), priority: String(sequence.priority),
        from: local(sequence.window?.[0]), until: local(sequence.window?.[1]),
        min_alt_deg: String(low), moon_sep_deg: String(moon), sun_max_alt_deg: String(sun), limits, more,
        albums: sequence.albums.map((album) => ({
          channel: album.channel,
          plans: album.plans.map(({ filter, exposure_s: exposure, count, ...rest }) => ({ filter, exposure_s: String(exposure), count: String(count), more: rest })),
        })),
      };
    }),
  };
}
