// Everybody's accounts, for administrators: who waits, roles, quotas, and what was done.

import { byId, h, setText } from "./elements.js";
import { ask, deed, say } from "./forms.js";

// Lines of the audit on the page.
const SHOWN = 200;
const ROLES = ["visitor", "observer", "expert", "operator", "administrator"];
const at = (id, what) => `/api/v1/accounts/${encodeURIComponent(id)}/${what}`;
const hours = (micros) => `${(micros / 3.6e9).toFixed(1)} h`;

function button(label, words, work, about) {
  const node = h("button", { type: "button", "aria-label": `${label} ${about}` }, label);
  node.addEventListener("click", async () => {
    if (await deed(node, words, work)) await refresh();
  });
  return node;
}

function roles(current, label) {
  return h("select", { "aria-label": label }, ROLES.map((role) => h("option", { value: role, selected: role === current ? "" : null }, role)));
}

function waiting(account) {
  const role = roles("observer", `Role to give ${account.id}`);
  const quota = h("input", { type: "number", min: "0", max: "10000", step: "0.5", value: "10", "aria-label": `Hours of observing time for ${account.id}` });
  const let_in = () => ask("POST", at(account.id, "validate"), { role: role.value, quota_h: Number(quota.value) > 0 ? Number(quota.value) : null });
  return h("li", { class: "buttons" }, h("span", {}, h("strong", {}, account.id), ` ${account.name}, ${account.institute}, ${account.email} `), role, quota, " h",
    button("Let in", `${account.id} is let in`, let_in, account.id),
    button("Refuse", `${account.id} is refused`, () => ask("POST", at(account.id, "refuse"), {}), account.id));
}

function row(account, quotas) {
  const role = roles(account.role, `Role of ${account.id}`);
  role.addEventListener("change", async () => {
    if (await deed(role, `${account.id} is ${role.value} now`, () => ask("POST", at(account.id, "role"), { role: role.value }))) await refresh();
    else role.value = account.role;
  });
  const on = account.state === "active";
  const quota = quotas[account.id];
  const more = h("input", { type: "number", min: "0", max: "10000", step: "0.5", value: "1", "aria-label": `Hours more for ${account.id}` });
  const grant = () => ask("POST", `/api/v1/quotas/${encodeURIComponent(account.id)}`, { institute: account.institute, hours: Number(more.value) });
  const code = async () => {
    const answer = await ask("POST", at(account.id, "code"), {});
    setText(byId("code-text"), answer.code);
    byId("code").hidden = false;
  };
  return h("tr", {}, h("th", { scope: "row" }, account.id), h("td", {}, account.name), h("td", {}, account.email), h("td", {}, account.institute), h("td", {}, account.state), h("td", {}, role),
    h("td", {}, quota ? `${hours(quota.free_us)} of ${hours(quota.granted_us)} free ` : "none ", more, button("Grant", "Granted", grant, `hours to ${account.id}`)),
    h("td", {}, button(on ? "Disable" : "Enable", `${account.id} is ${on ? "disabled" : "enabled"}`, () => ask("POST", at(account.id, on ? "disable" : "enable"), {}), account.id),
      button("Password code", "Here is the code", code, `for ${account.id}`)));
}

// The newest lines, and how far the chain is whole; `whole` has the daemon look at every line again.
async function newestLines(whole) {
  const { whole_up_to: count, first_forged: forged } = await ask("GET", `/api/v1/audit?limit=1${whole ? "&whole=true" : ""}`);
  const { lines } = await ask("GET", `/api/v1/audit?limit=${SHOWN}&after=${Math.max(0, count - SHOWN)}`);
  return [lines, forged, count];
}

function chain(forged, count) {
  setText(byId("chain"), forged === null ? `${count} lines, chain whole` : `line ${forged} is not what was written`);
  byId("chain").dataset.state = forged === null ? "safe" : "unsafe";
}

async function refresh() {
  const [{ accounts }, { quotas }, [lines, forged, count]] = await Promise.all([ask("GET", "/api/v1/accounts"), ask("GET", "/api/v1/quotas").catch(() => ({ quotas: {} })), newestLines(false)]);
  const wait = accounts.filter((account) => account.state === "waiting");
  byId("waiting").replaceChildren(...(wait.length ? wait.map(waiting) : [h("li", {}, "Nobody.")]));
  byId("accounts").replaceChildren(...accounts.filter((account) => account.state !== "waiting").map((account) => row(account, quotas)));
  chain(forged, count);
  byId("audit").replaceChildren(...lines.reverse().map((line) =>
    h("tr", {}, h("td", {}, line.at.slice(0, 19).replace("T", " ")), h("td", {}, line.who), h("td", {}, line.address), h("td", {}, line.action.replaceAll("_", " ")), h("td", {}, line.subject), h("td", {}, line.outcome))));
}

byId("whole").addEventListener("click", () => deed(byId("whole"), "Every line was looked at.", async () => {
  const [, forged, count] = await newestLines(true);
  chain(forged, count);
}));
refresh().catch((cause) => say(cause.message, "bad"));
