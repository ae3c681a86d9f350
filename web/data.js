// The page of the data: where every unit stands, reports, archive, metadata, deliveries, messages; and the review.

import { read } from "./asking.js";
import { byId, h, setText, show } from "./elements.js";

let chosen = decodeURIComponent(location.hash.slice(1)) || null;
let latest = null;

const when = (iso) => (iso ? iso.slice(0, 19).replace("T", " ") : "–");
const documentUrl = (name) => `/api/v1/data/archive/${name.split("/").map(encodeURIComponent).join("/")}`;
const ofUnit = (what, unit) => `/api/v1/data/${what}?unit=${encodeURIComponent(unit)}`;

function choose(uid) {
  chosen = uid;
  history.replaceState(null, "", `#${encodeURIComponent(uid)}`);
  draw();
}

function table(id, key, heads, rows) {
  show(byId(id), key, () => [h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head))),
    ...(rows.length === 0 ? [h("tr", {}, h("td", { colspan: heads.length }, "None."))]
      : rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell ?? "–")))))]);
}

function units(data) {
  show(byId("states"), data.states, () => [h("th", { scope: "col" }, "Unit"), ...data.states.map((state) => h("th", { scope: "col" }, state))]);
  show(byId("units"), [data.units, chosen], () => (data.units.length === 0
    ? h("tr", {}, h("td", { colspan: data.states.length + 1 }, "No unit yet."))
    : data.units.map((unit) => {
      const name = h("button", { type: "button", class: "linkish", "data-unit": unit.uid }, unit.uid);
      name.addEventListener("click", () => choose(unit.uid));
      const words = [unit.substate, unit.executive, when(unit.changed)].filter(Boolean).join(" · ");
      return h("tr", { "aria-current": chosen === unit.uid ? "true" : null }, h("th", { scope: "row" }, name),
        data.states.map((state) => (state === unit.state ? h("td", { class: "here" }, words) : h("td", {}))));
    })));
}

const VERDICTS = {
  ReadyForReview: [["begin", "Begin"], ["pass", "Pass"], ["semipass", "Semi-pass"], ["fail", "Fail"]],
  Reviewing: [["pass", "Pass"], ["semipass", "Semi-pass"], ["fail", "Fail"], ["cancel", "Cancel"]],
};

async function give(verdict) {
  const headers = { "Content-Type": "application/json" };
  if (byId("token").value) headers.Authorization = `Bearer ${byId("token").value}`;
  setText(byId("said"), "sent…");
  const body = { unit: chosen, verdict, reviewer: byId("reviewer").value, role: byId("role").value, comment: byId("comment").value };
  const response = await fetch("/api/v1/data/review", { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (response.status === 401 || response.status === 403) byId("token-row").hidden = false;
  setText(byId("said"), response.ok ? `${answer.ousUID}: ${answer.state}` : `refused: ${answer.detail}`);
  if (response.ok) byId("comment").value = "";
  await refresh();
}

async function one(data) {
  const unit = data.units.find((candidate) => candidate.uid === chosen);
  byId("one").hidden = !unit;
  if (!unit) return;
  setText(byId("one-title"), `${unit.uid}: ${unit.state}`);
  const report = data.reports.find((candidate) => candidate.unit === unit.uid);
  show(byId("one-links"), [unit.uid, report], () => [
    `Program ${unit.program}. `,
    report ? h("a", { href: ofUnit("report", unit.uid) }, "Pipeline report") : "No pipeline report yet.", " ",
    report?.weblog ? h("a", { href: `/weblogs/${encodeURIComponent(report.weblog.replace(/\.zip$/, ""))}/index.html` }, "Weblog") : null, " ",
    h("a", { href: ofUnit("prov", unit.uid) }, "Provenance")]);
  const verdicts = VERDICTS[unit.state] ?? [];
  byId("review").hidden = verdicts.length === 0;
  show(byId("role"), data.roles, () => data.roles.map((role) => h("option", { value: role }, role)));
  show(byId("reviewers"), data.reviewers, () => data.reviewers.map((name) => h("option", { value: name })));
  show(byId("verdicts"), [unit.uid, unit.state], () => verdicts.map(([verdict, label]) => {
    const button = h("button", { type: "button", "data-verdict": verdict, class: verdict === "fail" ? "danger" : null }, label);
    button.addEventListener("click", () => { if (byId("review").reportValidity()) give(verdict); });
    return button;
  }));
  const events = await read(ofUnit("history", unit.uid));
  table("history", events, ["When (UTC)", "What", "From", "To", "Author", "Cause"],
    events.map((event) => [when(event.at), event.what, event.from, event.to, event.author, event.cause]));
}

function tables(data) {
  table("reports", data.reports, ["Run (UTC)", "Unit", "Site", "Score", "Products", ""], data.reports.map((report) => [report.timestamp, report.unit, report.source,
    report.finalScore === null ? null : String(report.finalScore), report.productsDir, h("a", { href: ofUnit("report", report.unit) }, "XML")]));
  table("deliveries", data.deliveries, ["When (UTC)", "Unit", "Program", "Products", "Complete"], data.deliveries.map((delivery) => [when(delivery.at), delivery.unit,
    delivery.progID, String(delivery.dataProducts.length), delivery.complete ? "yes" : "no"]));
  table("documents", data.documents, ["Written (UTC)", "Document", "Bytes", "SHA-256"], data.documents.map((document) => [when(document.at),
    h("a", { href: documentUrl(document.id) }, document.id), String(document.size), document.sha256.slice(0, 16)]));
  table("metadata", data.metadata, ["Product", "Target", "RA", "Dec", "Filter", "Exposure", ""], data.metadata.map((product) => [product.name, product.target_name,
    product.s_ra === null ? null : product.s_ra.toFixed(5), product.s_dec === null ? null : product.s_dec.toFixed(5), product.filter,
    product.t_exptime === null ? null : `${product.t_exptime} s`,
    h("a", { href: `/api/v1/data/links?ID=${encodeURIComponent(product.obs_publisher_did)}` }, "links")]));
  table("replicas", data.replicas, ["Replica", "State", "Since (UTC)", "Cause"], data.replicas.map((replica) => [replica.id, replica.state, when(replica.at), replica.cause]));
  table("unread", data.unread, ["Sent (UTC)", "Selector", "From", "To", "State"], data.unread.map((message) => [when(message.created), message.selector, message.from, message.to, message.state]));
  table("log", data.log, ["When (UTC)", "Kind", "About", "By", "What"], data.log.map((line) => [when(line.at), line.kind, line.subject, line.author, line.text]));
}

async function draw() {
  if (!latest) return;
  setText(byId("site"), latest.site === latest.home ? `site ${latest.site}` : `site ${latest.site}, states kept at ${latest.home}`);
  units(latest);
  tables(latest);
  await one(latest);
}

function link(state) {
  byId("link").dataset.link = state;
  setText(byId("link"), state);
}

let busy = false;
let again = false;
async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    latest = await read("/api/v1/data");
    await draw();
    link("live");
  } catch {
    link("lost");
  }
  busy = false;
  if (again) { again = false; refresh(); }
}

// Who is logged in reviews in their own name.
read("/api/v1/session").then(({ account }) => { if (account && !byId("reviewer").value) byId("reviewer").value = account; }).catch(() => {});
const feed = new EventSource("/api/v1/data/events");
feed.addEventListener("changed", refresh);
feed.addEventListener("error", () => link("lost"));
feed.addEventListener("open", () => link("live"));
refresh();
