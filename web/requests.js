// The page of observing requests: what was asked and how far it is, what it cost, and a form for the next one, which
// shows what the sky and the quota say before anything is sent.

import { exclusions } from "./charts.js";
import { seasonBars, visibility } from "./curves.js";
import { documentOf, draftOf, emptyAlbum, emptyDraft, emptyPlan, emptySequence } from "./draft.js";
import { byId, h, hhmm, setText, show, targetLink } from "./elements.js";
import { ask, calmly, duration, follow, productUrl, say, stamp, words } from "./shell.js";

const STORE = "request-templates";
let instruments = null;
let session = { permissions: [], account: null };
let draft = emptyDraft(null);
// What was previewed without a fault and can be submitted.
let prepared = null;
let listed = [];
let next = null;
let opened = decodeURIComponent(location.hash.slice(1)) || null;

const hours = (micros) => duration(Math.abs(micros) / 1e6);
const may = (permission) => session.permissions.includes(permission);

// ---- the form

function input(label, path, value, attributes, set) {
  const field = h("input", { "data-field": path, autocomplete: "off", ...attributes });
  field.value = value;
  field.addEventListener("input", () => { set(field.value); changed(); });
  return h("label", {}, label, field);
}

function choice(label, path, value, options, set) {
  // What was imported may name what does not exist here; the preview says so.
  const all = options.includes(value) || value === "" ? options : [value, ...options];
  const select = h("select", { "data-field": path }, all.map((name) => h("option", { value: name, selected: name === value ? "" : null }, name)));
  if (value === "" && all.length) set(all[0]);
  select.addEventListener("change", () => { set(select.value); changed(); drawForm(); });
  return h("label", {}, label, select);
}

function button(text, act, about) {
  const node = h("button", { type: "button", "aria-label": about ? `${text} ${about}` : null }, text);
  node.addEventListener("click", () => { act(); changed(); drawForm(); });
  return node;
}

function planFields(album, plan, m, path, about) {
  const filters = instruments?.channels[album.channel]?.filters ?? [];
  const at = `${path}.plans.${m}`;
  return h("div", { class: "row" },
    choice("Filter", `${at}.filter`, plan.filter, filters, (value) => { plan.filter = value; }),
    input("Exposure, s", `${at}.exposure_s`, plan.exposure_s, { inputmode: "decimal", size: 7 }, (value) => { plan.exposure_s = value; }),
    input("Number", `${at}.count`, plan.count, { inputmode: "numeric", size: 5 }, (value) => { plan.count = value; }),
    album.plans.length > 1 ? button("Remove", () => album.plans.splice(m, 1), `plan ${m + 1} of ${about}`) : null);
}

function albumFields(sequence, album, k, path) {
  const at = `${path}.albums.${k}`;
  const about = `channel ${album.channel || k + 1}`;
  return h("fieldset", { "data-field": at }, h("legend", {}, `Channel ${k + 1}`),
    choice("Channel", `${at}.channel`, album.channel, Object.keys(instruments?.channels ?? {}), (value) => {
      album.channel = value;
      for (const plan of album.plans) plan.filter = instruments?.channels[value]?.filters[0] ?? "";
    }),
    album.plans.map((plan, m) => planFields(album, plan, m, at, about)),
    h("p", { class: "buttons" }, button("Add a plan", () => album.plans.push(emptyPlan(instruments?.channels[album.channel]?.filters[0])), `to ${about}`),
      sequence.albums.length > 1 ? button("Remove the channel", () => sequence.albums.splice(k, 1), about) : null));
}

// The name of the target; a name that is known here brings its place along.
function targetField(sequence, i, at) {
  const known = h("datalist", { id: `known-${i}` });
  const label = input("Target", `${at}.target.name`, sequence.name, { list: known.id }, (value) => {
    sequence.name = value;
    offer();
  });
  const field = label.querySelector("input");
  let brought = "";
  const offer = calmly(async () => {
    const text = field.value.trim();
    if (text.length < 2) return;
    const { targets } = await ask(`/api/v1/targets?text=${encodeURIComponent(text.slice(0, 100))}`).catch(() => ({ targets: [] }));
    known.replaceChildren(...targets.map((one) => h("option", { value: one.name }, `${one.ra_deg.toFixed(4)} ${one.dec_deg.toFixed(4)}, known from ${one.from}`)));
    const exact = targets.find((one) => one.name === field.value.trim());
    // What somebody has typed stays as it is.
    if (!exact || sequence.name.trim() !== exact.name || `${sequence.ra}${sequence.dec}` !== brought) return;
    [sequence.ra, sequence.dec] = [String(exact.ra_deg), String(exact.dec_deg)];
    brought = `${sequence.ra}${sequence.dec}`;
    for (const [tail, value] of [["ra_deg", sequence.ra], ["dec_deg", sequence.dec]]) {
      const node = document.querySelector(`[data-field="${CSS.escape(`${at}.target.${tail}`)}"]`);
      if (node) node.value = value;
    }
  }, 300);
  return [label, known];
}

function sequenceFields(sequence, i) {
  const at = `requests.0.sequences.${i}`;
  const of = (label, tail, key, attributes = {}) => input(label, `${at}.${tail}`, sequence[key], attributes, (value) => { sequence[key] = value; });
  const kept = [...Object.keys(sequence.more), ...Object.keys(sequence.limits)];
  return h("fieldset", { "data-field": at }, h("legend", {}, `Sequence ${i + 1}`),
    h("div", { class: "fields" }, targetField(sequence, i, at),
      of("Right ascension (12:59:48.7 or 194.953°)", "target.ra_deg", "ra"), of("Declination (+27:58:37 or 27.977°)", "target.dec_deg", "dec"),
      of("Priority, 1 to 10", "priority", "priority", { inputmode: "decimal" }),
      of("Earliest start (UTC)", "window", "from", { type: "datetime-local", step: 1 }), of("Latest end (UTC)", "window.1", "until", { type: "datetime-local", step: 1 }),
      of("Lowest altitude, °", "constraints.min_alt_deg", "min_alt_deg", { inputmode: "decimal" }), of("Nearest to the Moon, °", "constraints.moon_sep_deg", "moon_sep_deg", { inputmode: "decimal" }),
      of("Highest Sun, °", "constraints.sun_max_alt_deg", "sun_max_alt_deg", { inputmode: "decimal" })),
    kept.length ? h("p", { class: "legend" }, `Kept as imported: ${kept.map(words).join(", ")}.`) : null,
    sequence.albums.map((album, k) => albumFields(sequence, album, k, at)),
    h("p", { class: "buttons" }, button("Add a channel", () => {
      const free = Object.keys(instruments?.channels ?? {}).find((name) => !sequence.albums.some((album) => album.channel === name)) ?? "";
      sequence.albums.push(emptyAlbum(free, instruments?.channels[free]?.filters[0]));
    }, `to sequence ${i + 1}`),
    draft.sequences.length > 1 ? button("Remove the sequence", () => draft.sequences.splice(i, 1), String(i + 1)) : null));
}

// The whole form is drawn anew; the focus stays where it was.
function drawForm() {
  const focus = document.activeElement?.dataset?.field;
  const form = byId("draft").elements;
  for (const name of ["id", "title", "user"]) form[name].value = draft[name];
  byId("sequences").replaceChildren(...draft.sequences.map(sequenceFields));
  if (focus) document.querySelector(`[data-field="${CSS.escape(focus)}"]`)?.focus();
}

function changed() {
  prepared = null;
  byId("submit").disabled = true;
  setText(byId("submit"), "Submit");
}

function load(one) {
  draft = one;
  changed();
  faults([]);
  byId("previewed").replaceChildren();
  drawForm();
}

// Names each fault at its field and in the list; a fault whose field the form does not show is in the list alone.
function faults(list) {
  for (const marked of document.querySelectorAll('#draft [aria-invalid="true"]')) marked.removeAttribute("aria-invalid");
  for (const note of document.querySelectorAll("#draft .fault")) note.remove();
  byId("faults").replaceChildren(...list.map((fault, index) => {
    let node = document.querySelector(`#draft [data-field="${CSS.escape(fault.field)}"]`);
    const parts = fault.field.split(".");
    while (!node && parts.length > 3) {
      parts.pop();
      node = document.querySelector(`#draft [data-field="${CSS.escape(parts.join("."))}"]`);
    }
    if (node) {
      const note = h("span", { class: "fault", id: `fault-${index}` }, fault.message);
      if (node.tagName === "FIELDSET") node.querySelector("legend").after(note);
      else {
        node.setAttribute("aria-invalid", "true");
        node.setAttribute("aria-describedby", note.id);
        node.after(note);
      }
    }
    return h("li", { class: "fault" }, fault.message);
  }));
  document.querySelector('#draft [aria-invalid="true"]')?.focus();
}

// ---- the preview

function judged(told) {
  const { tonight } = told;
  const fits = tonight.fits ? "It fits tonight" : tonight.good.length ? `Tonight it is observable for ${duration(tonight.longest_s)} at most, which is too short` : "Tonight it cannot be observed";
  const when = tonight.good.map((span) => `${hhmm(span.start)} to ${hhmm(span.end)}`).join(", ");
  const spans = [tonight.good, tonight.excluded].flat().flatMap((span) => [span.start, span.end]).sort();
  return h("article", { class: "judged" }, h("h3", {}, `${told.target}: ${duration(told.duration_s)}`),
    h("p", {}, `${fits}${when ? ` (observable ${when} UTC)` : ""}. Open shutter ${duration(told.open_s)}, with read-out ${duration(told.duration_s)}; pointing and filters add ${duration(told.setup_least_s)} to ${duration(told.setup_most_s)}. Highest ${tonight.highest_deg.toFixed(0)}°.`),
    h("div", { class: "picture", tabindex: 0, role: "region", "aria-label": `Visibility of ${told.target} tonight` }, visibility(told)),
    h("p", {}, told.best.length ? `Best nights: ${told.best.join(", ")}.` : `None of the next ${told.nights.length} nights can hold it.`),
    h("div", { class: "picture", tabindex: 0, role: "region", "aria-label": `Nights to come for ${told.target}` }, seasonBars(told.nights)),
    told.not_considered.length ? h("p", { class: "legend" }, `Not considered here: ${told.not_considered.join(", ")}.`) : null,
    tonight.excluded.length ? h("details", {}, h("summary", {}, "What excludes it tonight"), h("div", { class: "picture", tabindex: 0, role: "region", "aria-label": `Exclusions of ${told.target}` }, exclusions(tonight.excluded, { sunset: spans[0], sunrise: spans.at(-1) }))) : null);
}

function previewed(answer) {
  faults(answer.faults);
  byId("previewed").replaceChildren();
  if (answer.faults.length) {
    say(`${answer.faults.length === 1 ? "One thing is" : `${answer.faults.length} things are`} wrong with the request.`, "bad");
    return;
  }
  const total = answer.sequences.reduce((sum, one) => sum + one.duration_s, 0);
  const overheads = answer.sequences.reduce((sum, one) => sum + one.setup_most_s, 0);
  const quotas = Object.entries(answer.quotas).map(([account, quota]) => `${account} has ${duration(quota.free_s)} of ${duration(quota.granted_s)} free${quota.free_s < total ? ", which is not enough" : ""}.`);
  byId("previewed").replaceChildren(
    h("h3", {}, "Preview: nothing is submitted yet"),
    h("p", { id: "cost" }, `${answer.requests.length === 1 ? "This request asks" : `These ${answer.requests.length} requests ask`} for ${duration(total)} and up to ${duration(overheads)} of overheads. ${quotas.join(" ")}`),
    ...answer.sequences.map(judged),
    answer.left_out ? h("p", {}, `${answer.left_out} more sequences are not drawn.`) : "");
  prepared = answer.requests;
  byId("submit").disabled = false;
  setText(byId("submit"), answer.requests.length === 1 ? "Submit" : `Submit all ${answer.requests.length}`);
  say("Look at the preview, then submit.", "good");
}

async function preview(event) {
  event.preventDefault();
  const [document, wrong] = documentOf(draft);
  changed();
  if (wrong.length) {
    byId("previewed").replaceChildren();
    faults(wrong.map(([field, message]) => ({ field, message })));
    say("The form is not complete.", "bad");
    return;
  }
  say("Asking the sky");
  try {
    previewed(await ask("/api/v1/requests/preview", { text: JSON.stringify(document), format: "json" }));
  } catch (cause) {
    say(cause.message, "bad");
  }
}

async function submit() {
  byId("submit").disabled = true;
  const sent = [];
  try {
    for (const request of prepared ?? []) {
      await ask("/api/v1/requests", request);
      sent.push(request.id);
    }
    say(`Submitted: ${sent.join(", ")}.`, "good");
    prepared = null;
    draft.id = fresh();
    byId("draft").elements.id.value = draft.id;
    byId("previewed").replaceChildren();
  } catch (cause) {
    // Those that were accepted must not be sent again.
    prepared = prepared.filter((request) => !sent.includes(request.id));
    byId("submit").disabled = false;
    say(`${sent.length ? `${sent.join(", ")} submitted; then refused` : "Refused"}: ${cause.message}`, "bad");
  }
  await refresh();
}

const fresh = () => `${draft.user || session.account || "request"}-${new Date().toISOString().slice(0, 19).replace(/[-:T]/g, "")}`;

// ---- templates and files

const templates = () => JSON.parse(localStorage.getItem(STORE) ?? "{}");

function drawTemplates() {
  const names = Object.keys(templates()).sort();
  byId("templates").replaceChildren(...(names.length ? names : [""]).map((name) => h("option", { value: name }, name || "none yet")));
  for (const id of ["load-template", "drop-template"]) byId(id).disabled = names.length === 0;
}

function save(name, text) {
  const file = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = h("a", { href: file, download: `${name || "request"}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(file), 10000);
}

async function importFile() {
  const [file] = byId("import").files;
  if (!file) return;
  const ending = file.name.split(".").pop().toLowerCase();
  const format = { json: "json", toml: "toml" }[ending] ?? "yaml";
  changed();
  try {
    const answer = await ask("/api/v1/requests/preview", { text: await file.text(), format });
    if (answer.requests.length === 1) load(draftOf(answer.requests[0]));
    previewed(answer);
    if (answer.requests.length > 1) say(`${answer.requests.length} requests read from ${file.name}; the form shows none of them.`, answer.faults.length ? "bad" : "good");
  } catch (cause) {
    say(cause.message, "bad");
  }
  byId("import").value = "";
}

// ---- what was asked

function row(request) {
  const open = h("button", { type: "button", class: "linkish" }, request.title || request.id);
  open.addEventListener("click", () => { opened = request.id; one(); });
  const states = Object.entries(request.states).map(([state, count]) => `${count} ${words(state)}`).join(", ");
  return h("tr", { "aria-current": opened === request.id ? "true" : null }, h("td", {}, stamp(request.submitted_at)), h("th", { scope: "row" }, open, request.alert ? " (alert)" : ""), h("td", {}, request.user), h("td", {}, states));
}

async function list(more) {
  const user = byId("user").value.trim();
  const query = new URLSearchParams({ limit: "50" });
  if (user) query.set("user", user);
  if (more && next) query.set("before", next);
  const answer = await ask(`/api/v1/requests?${query}`);
  listed = more ? [...listed, ...answer.requests] : answer.requests;
  next = answer.next_before ?? null;
  byId("older").hidden = next === null;
  show(byId("requests"), [listed, opened], () => (listed.length === 0 ? h("tr", {}, h("td", { colspan: 4 }, "No request yet.")) : listed.map(row)));
}

function verdict(standing) {
  const told = standing.verdict;
  if (!told) return "no schedule has considered it";
  if (told.placed) return `planned ${stamp(told.placed.place.start)} to ${hhmm(told.placed.place.end)}`;
  const chance = told.unplaced.reason.chance;
  return `no place: ${told.unplaced.reason.sentence}${chance ? ` (${Math.round(chance.probability * 100)} % likely within its life)` : ""}`;
}

function standingOf({ standing, products }) {
  const { sequence } = standing;
  const waits = ["submitted", "observable", "planned", "executing"].includes(standing.state);
  const cancel = h("button", { type: "button", "aria-label": `Cancel ${sequence.id}` }, "Cancel");
  cancel.addEventListener("click", async () => {
    if (cancel.dataset.sure !== "yes") {
      cancel.dataset.sure = "yes";
      setText(cancel, "Really cancel");
      return;
    }
    cancel.disabled = true;
    try {
      await ask(`/api/v1/sequences/${encodeURIComponent(sequence.id)}/cancel`, {});
      say(`${sequence.id}: cancelled.`, "good");
    } catch (cause) {
      say(cause.message, "bad");
    }
    await refresh();
  });
  const done = Object.entries(standing.done).map(([channel, count]) => `${count} in ${channel}`).join(", ");
  return h("li", {}, h("strong", {}, targetLink(sequence.target.name)), ` (${sequence.id}): ${words(standing.state)}${standing.why ? `, ${standing.why}` : ""}; ${verdict(standing)}${done ? `; on disk ${done}` : ""} `,
    waits ? cancel : null,
    products.length ? h("details", {}, h("summary", {}, `Products: ${products.length}`), h("ul", { class: "plain" }, products.map((product) =>
      h("li", {}, h("a", { href: productUrl(product.path) }, product.path), ` ${words(product.kind)}, ${Math.round(product.size_bytes / 1000)} kB`)))) : null);
}

let shownRequest = null;
async function one() {
  if (opened === null) return;
  const id = opened;
  try {
    const told = await ask(`/api/v1/requests/${encodeURIComponent(id)}`);
    if (id !== opened) return;
    shownRequest = told.request;
    byId("one").hidden = false;
    setText(byId("one-title"), `${told.request.title} (${told.request.id}), of ${told.request.user}`);
    show(byId("one-body"), told, () => h("ul", { class: "plain" }, told.sequences.map(standingOf)));
  } catch (cause) {
    if (id === opened) say(cause.message, "bad");
  }
}

// ---- quotas

async function quotas() {
  const { quotas: all } = await ask("/api/v1/quotas");
  const rows = Object.entries(all);
  show(byId("quotas"), all, () => (rows.length === 0 ? h("tr", {}, h("td", { colspan: 5 }, "No observing time was granted.")) : rows.map(([account, balance]) => {
    const open = h("button", { type: "button", class: "linkish", "aria-label": `Ledger of ${account}` }, account);
    open.addEventListener("click", () => ledger(account));
    return h("tr", {}, h("th", { scope: "row" }, open), ...["granted_us", "free_us", "reserved_us", "spent_us"].map((side) => h("td", {}, hours(balance[side]))));
  })));
}

async function ledger(account) {
  try {
    const { postings } = await ask(`/api/v1/quotas/${encodeURIComponent(account)}`);
    byId("ledger").hidden = false;
    setText(byId("ledger-title"), `Ledger of ${account}`);
    byId("postings").replaceChildren(...postings.reverse().map((posting) =>
      h("tr", {}, h("td", {}, stamp(posting.at)), h("td", {}, posting.from), h("td", {}, posting.to), h("td", {}, hours(posting.amount_us)), h("td", {}, `${posting.sequence ?? ""} ${posting.cause}`.trim()))));
  } catch (cause) {
    say(cause.message, "bad");
  }
}

async function refresh() {
  if (!may("submit")) {
    say("Log in to see and to submit requests.", "");
    return;
  }
  for (const read of [() => list(false), one, quotas]) {
    try {
      await read();
    } catch (cause) {
      say(cause.message, "bad");
    }
  }
}

async function begin() {
  try {
    session = await ask("/api/v1/session");
    byId("user-row").hidden = !may("read_all_data");
    instruments = await ask("/api/v1/instruments");
  } catch (cause) {
    say(cause.message, "bad");
  }
  if (draft.sequences.length === 1 && draft.sequences[0].name === "" && !draft.user) {
    draft = emptyDraft(instruments, session.account ?? "");
    draft.id = fresh();
  }
  drawForm();
  await refresh();
}

for (const name of ["id", "title", "user"]) {
  byId("draft").elements[name].addEventListener("input", (event) => { draft[name] = event.target.value; changed(); });
}
byId("draft").addEventListener("submit", preview);
byId("submit").addEventListener("click", submit);
byId("add-sequence").addEventListener("click", () => { draft.sequences.push(emptySequence(instruments)); changed(); drawForm(); });
byId("older").addEventListener("click", () => list(true));
byId("user").addEventListener("input", calmly(() => list(false), 400));
byId("save-template").addEventListener("click", () => {
  const name = byId("template-name").value.trim() || draft.title.trim() || draft.sequences[0]?.name || "unnamed";
  localStorage.setItem(STORE, JSON.stringify({ ...templates(), [name]: { ...draft, id: "" } }));
  drawTemplates();
  byId("templates").value = name;
  say(`Kept in this browser as ${name}.`, "good");
});
byId("load-template").addEventListener("click", () => {
  const kept = templates()[byId("templates").value];
  if (!kept) return;
  load(kept);
  draft.id = fresh();
  drawForm();
});
byId("drop-template").addEventListener("click", () => {
  const { [byId("templates").value]: dropped, ...rest } = templates();
  localStorage.setItem(STORE, JSON.stringify(rest));
  drawTemplates();
});
byId("export").addEventListener("click", () => save(draft.id, JSON.stringify(documentOf(draft)[0], null, 2)));
byId("export-one").addEventListener("click", () => { if (shownRequest) save(shownRequest.id, JSON.stringify(documentOf(draftOf(shownRequest))[0], null, 2)); });
byId("as-draft").addEventListener("click", () => {
  if (!shownRequest) return;
  load(draftOf(shownRequest));
  draft.id = fresh();
  drawForm();
  byId("draft-title").scrollIntoView();
});
byId("import").addEventListener("change", importFile);
drawTemplates();
drawForm();
const soon = calmly(refresh, 1000);
follow({
  onState: (state) => setText(byId("clock"), state.now.slice(11, 19)),
  onJournal: (entry) => { if (["request_submitted", "sequence_moved", "quota_posted", "schedule_made", "user_granted"].includes(entry.fact)) soon(); },
  onLive: begin,
});
