// One's own account: first start, login, sign-up, a forgotten password, profile, sessions, tokens.

import { byId, h, hhmm, setText } from "./elements.js";
import { exchange } from "./asking.js";
import { ask, deed, fields, say } from "./forms.js";

const form = (name) => document.querySelector(`form[data-form="${name}"]`);
// The state of the profile that the form shows.
let profileTag = null;
const day = (iso) => `${iso.slice(0, 10)} ${hhmm(iso)} UTC`;

function on(name, words, work) {
  form(name).addEventListener("submit", async (event) => {
    event.preventDefault();
    const done = await deed(event.submitter, words, () => work(fields(event.target)));
    for (const secret of event.target.querySelectorAll('input[type="password"]')) secret.value = "";
    if (done) await refresh();
  });
}

function sessions(list) {
  byId("sessions").replaceChildren(...list.map((one) =>
    h("li", {}, `${one.agent || "a browser"} from ${one.address}, since ${day(one.created_at)}, last seen ${day(one.seen_at)}`)));
}

function tokens(list) {
  byId("token-list").replaceChildren(...list.map((token) => {
    const revoke = h("button", { type: "button" }, "Revoke");
    revoke.setAttribute("aria-label", `Revoke ${token.name}`);
    revoke.addEventListener("click", async () => {
      if (await deed(revoke, `${token.name} is revoked`, () => ask("DELETE", `/api/v1/me/tokens/${encodeURIComponent(token.name)}`))) await refresh();
    });
    const used = token.used_at ? `last used ${day(token.used_at)}` : "never used";
    return h("li", {}, h("strong", {}, token.name), ` until ${day(token.expires_at)}, ${used}: ${token.scopes.join(", ")} `, revoke);
  }));
}

async function refresh() {
  const session = await ask("GET", "/api/v1/session");
  const inside = session.via === "session";
  setText(byId("who"), inside ? `${session.account} (${session.role})` : `not logged in (${session.role})`);
  byId("first").hidden = !session.first;
  byId("login").hidden = inside || session.first || !session.accounts;
  byId("signup").hidden = inside || session.first || !session.accounts;
  for (const id of ["me", "password", "tokens"]) byId(id).hidden = !inside;
  if (!session.accounts) say("This daemon has no accounts: who is at the machine may command.", "");
  if (!inside) return;
  const me = await ask("GET", "/api/v1/me");
  const facts = [["Account", me.account.id], ["E-mail", me.account.email], ["Role", me.account.role], ["May", session.permissions.map((p) => p.replaceAll("_", " ")).join(", ")]];
  byId("me-facts").replaceChildren(...facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
  const { answer: profile, tag } = await exchange("GET", "/api/v1/me/profile");
  profileTag = tag;
  form("profile").elements.name.value = profile.name;
  form("profile").elements.institute.value = profile.institute;
  sessions(me.sessions);
  tokens(me.tokens);
  const ticks = byId("scopes");
  if (ticks.childElementCount === 0) {
    ticks.replaceChildren(...session.permissions.map((permission) =>
      h("label", { class: "tick" }, h("input", { type: "checkbox", name: "scope", value: permission }), permission.replaceAll("_", " "))));
  }
}

on("first", "You are the administrator: log in now.", (body) => ask("POST", "/api/v1/first-administrator", body));
on("login", "Welcome.", (body) => ask("POST", "/api/v1/session", body));
on("signup", "Asked. An administrator looks at it; you get a letter if this observatory sends letters.", (body) => ask("POST", "/api/v1/accounts", body));
on("recover", "If the address has an account, a letter with a code is on its way.", (body) => ask("POST", "/api/v1/recovery", body));
on("code", "The password is set: log in now.", (body) => ask("POST", "/api/v1/password", body));
on("profile", "Saved.", (body) => ask("PATCH", "/api/v1/me/profile", body, { "If-Match": profileTag }));
on("password", "Changed; all other sessions have ended.", (body) => ask("POST", "/api/v1/me/password", body));
on("token", "Made.", async ({ name, days }) => {
  const scopes = [...form("token").querySelectorAll('input[name="scope"]:checked')].map((tick) => tick.value);
  const { secret } = await ask("POST", "/api/v1/me/tokens", { name, scopes, days: Number(days) });
  setText(byId("new-token-text"), secret);
  byId("new-token").hidden = false;
});
byId("logout").addEventListener("click", async () => {
  byId("new-token").hidden = true;
  setText(byId("new-token-text"), "");
  if (await deed(byId("logout"), "Logged out.", () => ask("DELETE", "/api/v1/session"))) await refresh();
});
byId("end-others").addEventListener("click", async () => {
  if (await deed(byId("end-others"), "All other sessions have ended.", () => ask("DELETE", "/api/v1/me/sessions"))) await refresh();
});

// The link of a letter carries its code behind #, which is sent to nobody.
const code = new URLSearchParams(location.hash.slice(1)).get("code");
if (code) {
  history.replaceState(null, "", location.pathname);
  byId("code-details").open = true;
  form("code").elements.code.value = code;
}
refresh().catch((cause) => say(cause.message, "bad"));
