// The page of the packages: upload, install, configure by the package's own form, start, follow, pause, stop.

import { exchange } from "./asking.js";
import { byId, h, hhmmss, setText, show } from "./elements.js";
import { upload } from "./tus.js";

let token = null;
const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

async function ask(method, path, body) {
  try {
    return (await exchange(method, path, body, headers())).answer;
  } catch (refused) {
    if (refused.status === 401 || refused.status === 403) byId("token-row").hidden = false;
    throw refused;
  }
}

// Does something on demand and says what came of it.
async function attempt(where, work) {
  try {
    setText(byId(where), (await work()) ?? "");
  } catch (error) {
    setText(byId(where), String(error.message ?? error));
  }
  await refresh();
}

let cut = null;
async function send() {
  const file = byId("file").files[0];
  if (!file) return setText(byId("said"), "Choose a file first.");
  cut = new AbortController();
  byId("halt").disabled = false;
  byId("send").disabled = true;
  await attempt("said", async () => {
    try {
      await upload(file, byId("purpose").value, headers(), (sent) => {
        byId("sent").value = file.size ? sent / file.size : 1;
        setText(byId("sent-text"), `${sent} of ${file.size} bytes`);
      }, cut.signal);
      return `${file.name} is here.`;
    } catch (error) {
      if (error.name === "AbortError") return "Paused. Upload the same file again to go on.";
      throw error;
    }
  });
  byId("halt").disabled = true;
  byId("send").disabled = false;
}

const button = (label, name, work, off = false) => {
  const node = h("button", { type: "button", "aria-label": `${label} ${name}`, disabled: off ? "" : null }, label);
  node.addEventListener("click", work);
  return node;
};

function packageRow(it) {
  const about = [it.description, ...it.warnings, it.cause].filter(Boolean).join(" · ");
  const state = it.status === "UPLOADING" || it.status === "PAUSE" ? `${it.status} ${it.upload_offset}/${it.size}` : it.status;
  return h("tr", null,
    h("th", { scope: "row" }, it.name), h("td", null, it.version), h("td", null, state), h("td", null, about),
    h("td", null,
      button("Run", it.name, () => configure(it), it.status !== "READY"), " ",
      button("Remove", it.name, () => attempt("said", async () => {
        await ask("DELETE", `/api/v1/packages/${it.id}`);
        return `${it.name} is removed.`;
      }))));
}

let executors = [];
let chosen = null;
let form = {};
async function configure(it) {
  chosen = it;
  byId("new").hidden = false;
  setText(byId("new-title"), `New run of ${it.name}`);
  byId("name").value = it.name;
  const { files } = await ask("GET", "/api/v1/package-files");
  byId("inputs").replaceChildren(...(files.length ? files.map((file) => {
    const box = h("input", { type: "checkbox", value: file.id });
    box.addEventListener("change", drawForm);
    return h("label", null, box, ` ${file.name} (${file.size} bytes)`);
  }) : [h("p", null, "There are no input files yet.")]));
  byId("executor-row").hidden = executors.length < 2;
  byId("executor").replaceChildren(...executors.map((one) => h("option", null, one)));
  await drawForm();
  byId("name").focus();
}

const inputs = () => [...byId("inputs").querySelectorAll("input:checked")].map((box) => box.value);

async function drawForm() {
  const before = form.properties ? collect() : {};
  form = await ask("GET", `/api/v1/packages/${chosen.id}/form?inputs=${inputs().join(",")}`);
  byId("fields").replaceChildren(...Object.entries(form.properties ?? {}).map(([name, field]) => draw(name, field, before[name] ?? field.default, (form.required ?? []).includes(name))));
}

// One field of the form. What has no simple picture is written as JSON.
function draw(name, field, value, required) {
  const id = `field-${name}`;
  const type = Array.isArray(field.type) ? field.type[0] : field.type;
  const common = { id, "data-name": name, required: required ? "" : null };
  let control;
  let kind = type;
  if (Array.isArray(field.enum)) {
    kind = "enum";
    control = h("select", common, required ? null : h("option", { value: "" }, "–"),
      field.enum.map((one) => h("option", { value: JSON.stringify(one), selected: JSON.stringify(one) === JSON.stringify(value) ? "" : null }, String(one))));
  } else if (type === "boolean") {
    control = h("input", { ...common, required: null, type: "checkbox", checked: value ? "" : null });
  } else if (type === "integer" || type === "number") {
    control = h("input", { ...common, type: "number", min: field.minimum, max: field.maximum, step: field.multipleOf ?? (type === "integer" ? 1 : "any"), value });
  } else if (type === "string" || type === undefined && typeof value === "string") {
    kind = "string";
    control = h("input", { ...common, type: "text", maxlength: field.maxLength, pattern: field.pattern ? `.*(${field.pattern}).*` : null, value });
  } else {
    kind = "json";
    control = h("textarea", { ...common, rows: 3, spellcheck: "false" }, value === undefined ? "" : JSON.stringify(value));
  }
  control.dataset.kind = kind;
  const why = field.description ? h("span", { class: "why", id: `${id}-why` }, ` ${field.description}`) : null;
  if (why) control.setAttribute("aria-describedby", `${id}-why`);
  return h("p", null, h("label", { for: id }, `${field.title ?? name}${required ? " *" : ""}`), control, why);
}

function collect() {
  const config = {};
  for (const control of byId("fields").querySelectorAll("[data-name]")) {
    const { name, kind } = control.dataset;
    if (kind === "boolean") config[name] = control.checked;
    else if (control.value === "") continue;
    else if (kind === "integer" || kind === "number") config[name] = Number(control.value);
    else if (kind === "enum" || kind === "json") config[name] = JSON.parse(control.value);
    else config[name] = control.value;
  }
  return config;
}

async function start(event) {
  event.preventDefault();
  await attempt("form-said", async () => {
    const run = await ask("POST", `/api/v1/packages/${chosen.id}/runs`, { name: byId("name").value, config: collect(), inputs: inputs(), executor: byId("executor").value || null });
    follow(run.id);
    return `${run.name} is ${run.status}.`;
  });
}

const over = (run) => ["DONE", "FAILED", "CANCELED"].includes(run.status);

function runRow(run) {
  const { value, min, max, label, info } = run.progress;
  const bar = max > min ? h("progress", { max: max - min, value: value - min, "aria-label": `Progress of ${run.name}` }) : null;
  const said = (word, path) => button(word, run.name, () => attempt("said", async () => {
    const now = await ask("POST", `/api/v1/package-runs/${run.id}/${path}`, {});
    return `${run.name}: ${word.toLowerCase()} asked, it is ${now.status}.`;
  }));
  const actions = [button("Show", run.name, () => follow(run.id))];
  if (run.status === "RUNNING") actions.push(said("Pause", "pause"));
  if (run.status === "PAUSE") actions.push(said("Resume", "resume"));
  if (!over(run)) actions.push(said("Stop", "stop"));
  else actions.push(button("Remove", run.name, () => attempt("said", async () => {
    await ask("DELETE", `/api/v1/package-runs/${run.id}`);
    return `${run.name} is removed.`;
  })));
  return h("tr", { "data-run": run.id },
    h("td", null, hhmmss(run.start)), h("th", { scope: "row" }, run.name), h("td", null, `${run.status}${run.cause ? ` (${run.cause})` : ""}`),
    h("td", null, bar, ` ${[label, info].filter(Boolean).join(": ")}`), h("td", null, actions.flatMap((node) => [node, " "])));
}

let stream = null;
function follow(id) {
  stream?.close();
  byId("one").hidden = false;
  byId("log").replaceChildren();
  stream = new EventSource(`/api/v1/package-runs/${id}/follow`);
  stream.addEventListener("log", (event) => {
    const { which, text } = JSON.parse(event.data);
    const log = byId("log");
    const below = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.append(h("span", { class: which }, text));
    if (below) log.scrollTop = log.scrollHeight;
  });
  stream.addEventListener("run", (event) => {
    const run = JSON.parse(event.data);
    setText(byId("one-title"), run.name);
    setText(byId("one-state"), `${run.status}${run.cause ? `: ${run.cause}` : ""}`);
    show(byId("outputs"), run.outputs, () => run.outputs.map((output) => h("li", null,
      h("a", { href: `/api/v1/package-runs/${run.id}/outputs/${output.name.split("/").map(encodeURIComponent).join("/")}` }, output.name), ` ${output.size} bytes, SHA-256 ${output.sha256.slice(0, 12)}…`)));
    // The stream ends with the run; a browser would open it again.
    if (over(run)) stream.close();
    refresh();
  });
}

let asking = false;
async function refresh() {
  if (asking) return;
  asking = true;
  try {
    const [{ packages, executors: known }, { runs }] = await Promise.all([ask("GET", "/api/v1/packages"), ask("GET", "/api/v1/package-runs")]);
    executors = known;
    show(byId("packages"), packages, () => packages.map(packageRow));
    show(byId("runs"), runs, () => runs.map(runRow));
    byId("link").dataset.link = "live";
    setText(byId("link"), "live");
  } catch (error) {
    byId("link").dataset.link = "lost";
    setText(byId("link"), String(error.message ?? error));
  } finally {
    asking = false;
  }
}

byId("send").addEventListener("click", send);
byId("halt").addEventListener("click", () => cut?.abort());
byId("form").addEventListener("submit", start);
byId("cancel").addEventListener("click", () => { byId("new").hidden = true; });
byId("token").addEventListener("change", () => { token = byId("token").value || null; });
refresh();
setInterval(refresh, 1000);
