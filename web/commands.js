// The buttons. Every command asks again; the answer says whether it was accepted, the state shows when it is done.

import { byId, h, setText } from "./elements.js";

const COMMANDS = [
  ["close_now", "Close now", "The enclosure closes at once and stays closed until somebody releases the latch. The running exposure is lost.", true],
  ["abort_sequence", "Abort sequence", "The running sequence ends now; its frames so far are kept.", false],
  ["pause", "Pause", "No new sequence starts until somebody resumes.", false],
  ["resume", "Resume", "Sequences start again.", false],
  ["release", "Release latch", "The sensors decide again: if they say safe, the enclosure may open.", false],
];

let token = null;
// Numbers the questions.
let opening = 0;

function confirm(label, text, wantsToken) {
  const dialog = byId("confirm");
  opening += 1;
  const mine = opening;
  setText(byId("confirm-title"), `${label}?`);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), `Yes: ${label.toLowerCase()}`);
  byId("token-row").hidden = !wantsToken;
  byId("token").value = "";
  dialog.returnValue = "no";
  return new Promise((resolve) => {
    const closed = () => {
      // A closing is told late: what comes while the dialog is open again is about the question before, which was not
      // answered with yes.
      if (mine === opening && dialog.open) return;
      dialog.removeEventListener("close", closed);
      if (mine === opening && wantsToken && byId("token").value) token = byId("token").value;
      resolve(mine === opening && dialog.returnValue === "yes");
    };
    dialog.addEventListener("close", closed);
    dialog.showModal();
    byId("confirm-no").focus();
  });
}

async function send(body) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch("/api/v1/commands", { method: "POST", headers, body: JSON.stringify(body) });
  return [response.status, await response.json()];
}

// Asks again, sends, and says what the daemon answered.
async function ask(body, label, text) {
  const said = byId("said");
  if (!(await confirm(label, text, false))) return;
  setText(said, `${label}: sent`);
  try {
    let [status, answer] = await send(body);
    if (status === 401 || status === 403) {
      token = null;
      if (!(await confirm(label, answer.detail, true))) {
        setText(said, `${label}: not sent`);
        return;
      }
      [status, answer] = await send(body);
    }
    const outcome = answer.outcome ? answer.outcome.replaceAll("_", " ") : `${answer.title}: ${answer.detail}`;
    setText(said, `${label}: ${outcome}`);
  } catch {
    setText(said, `${label}: no answer, it may or may not have arrived. Use the hardware stop if in doubt.`);
  }
}

// A button in a row: what it sends, what it is called, and what is asked before.
export function rowButton(body, label, text) {
  const button = h("button", { type: "button", class: "small", "data-command": body.command, "aria-label": `${label}: ${text}` }, label);
  button.addEventListener("click", () => ask(body, label, text));
  return button;
}

export function mountCommands() {
  for (const entry of COMMANDS) {
    const button = h("button", { type: "button", class: entry[3] ? "danger" : null, "data-command": entry[0] }, entry[1]);
    button.addEventListener("click", () => ask({ command: entry[0] }, entry[1], entry[2]));
    byId("commands").append(button);
  }
}
