// The page of the devices: what each says of itself now and said over the last day, the language of the devices for who may
// speak it, overrides with their end, alarms. Visitors see everything and no form.

import { strip } from "./charts.js";
import { ageText, byId, h, hhmm, hhmmss, setText, show } from "./elements.js";
import { ask, calmly, follow, say, stamp, words } from "./shell.js";

const OLD_S = 30;
// Points of one curve.
const POINTS = 300;

let state = null;
let session = { permissions: [] };
let chosen = decodeURIComponent(location.hash.slice(1)) || null;
let language = {};

const may = (permission) => session.permissions.includes(permission);
const deviceOf = (name) => state?.devices.find((device) => device.device === name);
const field = (value) => (value === null ? "no value" : typeof value === "boolean" ? (value ? "yes" : "no") : words(value));

async function command(body, told) {
  try {
    const answer = await ask("/api/v1/commands", body);
    say(`${told}: ${words(answer.outcome)}`, "good");
    return answer;
  } catch (cause) {
    say(`${told}: ${cause.message}`, "bad");
    return null;
  }
}

// ---- all of them

function tile(device) {
  const open = h("button", { type: "button", class: "linkish", "data-device": device.device }, device.device);
  open.addEventListener("click", () => choose(device.device));
  const main = device.kind === "switch" ? `${Object.values(device.fields).filter((value) => value === 1).length} lines on`
    : device.fields.state ?? device.fields.filter ?? device.fields.position_steps ?? device.fields.position_deg;
  const told = device.up ? (main === undefined || main === null ? "answers" : field(main)) : "does not answer";
  return h("article", { class: "tile", "aria-current": device.device === chosen ? "true" : null },
    h("h3", {}, open, ` ${words(device.kind)}`),
    h("p", { class: device.up ? "state" : "state unsafe" }, told),
    device.up ? null : h("p", { class: "unsafe" }, device.cause ?? ""),
    device.reason ? h("p", { class: "unknown" }, `no status: ${device.reason}`) : null,
    h("p", { class: device.age_s === null || device.age_s > OLD_S ? "old" : null }, device.age_s === null ? "never read" : `read ${ageText(device.age_s)} ago`),
    h("p", {}, device.model ? `${device.model} ${device.version ?? ""}`.trim() : "has not said what it is"),
    device.garbage ? h("p", { class: "warning" }, `${device.garbage} answers not understood`) : null);
}

function all() {
  const key = state.devices.map((device) => ({ ...device, age_s: device.age_s === null ? null : Math.round(device.age_s) }));
  show(byId("devices"), [key, chosen], () => (state.devices.length === 0 ? h("p", { class: "legend" }, "No device is known yet.") : state.devices.map(tile)));
}

// ---- one of them

function choose(name) {
  chosen = name;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  byId("answer").hidden = true;
  all();
  fields();
  past();
  byId("one-title").scrollIntoView({ block: "nearest" });
}

function fields() {
  const device = deviceOf(chosen);
  byId("one").hidden = !device;
  if (!device) return;
  setText(byId("one-title"), `${device.device}: ${device.up ? "up" : "down"} since ${stamp(device.since)} UTC`);
  // Lines have names that somebody gave them, and that must be said as they are.
  const lines = device.kind === "switch";
  const turned = (value) => lines && may("devices") && (value === 0 || value === 1);
  show(byId("fields"), [device.device, device.fields, may("devices")], () => Object.entries(device.fields).flatMap(([name, value]) =>
    [h("dt", {}, lines ? name : words(name)), h("dd", {}, field(value), turned(value) ? turn(device.device, name, value) : null)]));
  byId("speak").hidden = !may("devices");
}

// A line that is on or off; one that is only read says so when it is told.
function turn(device, line, value) {
  const to = value === 1 ? "off" : "on";
  const button = h("button", { type: "button", class: "small", "aria-label": `Switch ${to}: ${line}` }, `Switch ${to}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    const told = { command: "device", device };
    const set = await command({ ...told, verb: "set", words: ["LINE", line, to.toUpperCase()] }, `${line} ${to}`);
    if (set !== null) await command({ ...told, verb: "do", words: ["START"] }, `${device}: ${line} ${to}`);
    button.disabled = false;
    past();
  });
  return button;
}

function offered() {
  const said = language[byId("speak").elements.verb.value] ?? [];
  byId("words").replaceChildren(...said.map((word) => h("option", { value: word })));
}

async function past() {
  if (chosen === null) return;
  const name = chosen;
  try {
    const told = await ask(`/api/v1/devices/${encodeURIComponent(name)}`);
    if (name !== chosen) return;
    language = told.language;
    offered();
    const curves = Object.entries(told.telemetry);
    show(byId("telemetry"), told.telemetry, () => (curves.length === 0 ? h("p", { class: "legend" }, "It has no numbers, or none was taken yet.") : curves.map(([number, points]) => curve(number, points, null))));
    show(byId("past"), told.past, () => (told.past.length === 0 ? h("li", {}, "Nothing in the last day.") : told.past.map((line) =>
      h("li", {}, h("time", { datetime: line.at }, stamp(line.at)), ` ${line.what}: ${line.text}`))));
  } catch (cause) {
    // Another daemon may have other devices.
    if (cause.status !== 404) say(cause.message, "bad");
  }
}

// The newest value beside the curve; long series are thinned for the picture.
function curve(name, points, limit) {
  const step = Math.ceil(points.length / POINTS);
  const kept = step > 1 ? points.filter((_, index) => index % step === 0 || index === points.length - 1) : points;
  const last = points.at(-1);
  return h("article", { class: "strip" }, h("h3", {}, h("span", { class: "name" }, words(name)), h("span", {}, last?.value === null || last === undefined ? "no value" : String(Math.round(last.value * 1000) / 1000))),
    strip(kept, limit, words(name)));
}

async function speak(event) {
  event.preventDefault();
  const { verb, words: said } = Object.fromEntries(new FormData(byId("speak")));
  const parts = Array.from(said.matchAll(/"([^"]*)"|(\S+)/g), ([, quoted, bare]) => quoted ?? bare);
  const answer = await command({ command: "device", device: chosen, verb, words: parts }, `${chosen} ${verb.toUpperCase()} ${parts.join(" ")}`);
  const node = byId("answer");
  node.hidden = answer === null;
  if (answer !== null) setText(node, JSON.stringify(answer.answer ?? answer, null, 2));
  past();
}

// ---- readings that are kept

async function readings() {
  const hours = Number(byId("span").value);
  if (!state) return;
  const from = new Date(Date.parse(state.now) - hours * 3600e3).toISOString();
  try {
    const told = await ask(`/api/v1/weather?from=${encodeURIComponent(from)}&every_s=${Math.max(60, Math.round((hours * 3600) / POINTS))}`);
    const kept = Object.entries(told.quantities);
    show(byId("readings"), kept, () => (kept.length === 0 ? h("p", { class: "legend" }, "Nothing was kept in this time.") : kept.map(([name, one]) => curve(name, one.samples, one.bound?.limit ?? null))));
  } catch (cause) {
    byId("readings").replaceChildren(h("p", { class: "legend" }, cause.message));
  }
}

// ---- overrides and alarms

function overrides() {
  const { overrides: held, inputs } = state.safety;
  show(byId("overrides"), [held, may("override")], () => (held.length === 0 ? h("li", {}, "None: every input may forbid.") : held.map((over) => {
    const lift = h("button", { type: "button", class: "small", "aria-label": `Re-arm ${over.input}` }, "Re-arm");
    lift.addEventListener("click", () => command({ command: "lift_override", input: over.input }, `${over.input} re-armed`));
    return h("li", {}, h("strong", {}, over.input), ` does not forbid ${over.until ? `until ${hhmm(over.until)} UTC` : "until it is lifted"}: ${over.reason} (${over.who}) `, may("override") ? lift : null);
  })));
  byId("override").hidden = !may("override");
  const select = byId("override").elements.input;
  show(select, inputs.map((input) => input.name), () => inputs.map((input) => h("option", { value: input.name }, input.name)));
}

async function override(event) {
  event.preventDefault();
  const { input, minutes, reason } = Object.fromEntries(new FormData(byId("override")));
  const span = Number(minutes);
  if (!(span > 0)) {
    say("An override lasts for some minutes; the daemon knows the longest that is allowed.", "bad");
    byId("override").elements.minutes.focus();
    return;
  }
  if (await command({ command: "override", input, reason, for_s: span * 60 }, `${input} overridden for ${span} minutes`)) byId("override").elements.reason.value = "";
}

function alarms() {
  const first = [...state.alarms].sort((a, b) => Boolean(a.acknowledged_by) - Boolean(b.acknowledged_by));
  show(byId("alarms"), [first, may("operate")], () => (first.length === 0 ? h("li", {}, "None.") : first.map((alarm) => {
    const seen = h("button", { type: "button", class: "small", "aria-label": `Acknowledge ${alarm.text}`, "data-alarm": alarm.id }, "Acknowledge");
    seen.addEventListener("click", () => command({ command: "acknowledge_alarm", alarm: alarm.id }, "Acknowledged"));
    return h("li", { class: "alarm" }, h("time", { datetime: alarm.at }, hhmmss(alarm.at)), h("span", { class: alarm.severity }, `${alarm.severity}: ${alarm.text}${alarm.count > 1 ? ` (${alarm.count} times)` : ""} `),
      alarm.acknowledged_by ? h("span", { class: "soft" }, `seen by ${alarm.acknowledged_by}`) : may("operate") ? seen : null);
  })));
}

function draw() {
  setText(byId("clock"), `${hhmmss(state.now)} UTC`);
  setText(byId("verdict"), state.safety.state);
  byId("verdict").dataset.state = state.safety.state;
  all();
  fields();
  overrides();
  alarms();
}

async function begin() {
  session = await ask("/api/v1/session").catch(() => ({ permissions: [] }));
  if (state) draw();
  await past();
  await readings();
}

byId("speak").addEventListener("submit", speak);
byId("speak").elements.verb.addEventListener("change", offered);
byId("override").addEventListener("submit", override);
byId("span").addEventListener("change", readings);
const soon = calmly(past, 1000);
const later = calmly(() => { readings(); past(); }, 60000);
let first = true;
follow({
  onState: (next) => {
    state = next;
    draw();
    if (first) readings();
    first = false;
    later();
  },
  onJournal: (entry) => { if (entry.device === chosen && ["device_command", "device_link", "device_garbage"].includes(entry.fact)) soon(); },
  onLive: begin,
});
