// Asking the daemon, and saying what it answered.

import { byId, setText } from "./elements.js";

export async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const text = await response.text();
  const answer = text ? JSON.parse(text) : {};
  if (!response.ok) throw new Error(answer.detail ?? answer.title ?? String(response.status));
  return answer;
}

export function say(text, kind) {
  const node = byId("said");
  setText(node, text);
  node.dataset.kind = kind;
}

// Runs a deed with its button held, and says how it went.
export async function deed(button, words, work) {
  if (button) button.disabled = true;
  try {
    await work();
    say(words, "good");
    return true;
  } catch (cause) {
    say(cause.message, "bad");
    return false;
  } finally {
    if (button) button.disabled = false;
  }
}

export const fields = (form) => Object.fromEntries([...new FormData(form)].filter(([, value]) => typeof value === "string"));
