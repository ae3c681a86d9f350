// Asking the interface, in one place; and saying on the page what came of it.

import { byId, setText } from "./elements.js";

// Sends a request with a JSON body, if there is one. What the daemon refuses is thrown as an error whose message is the
// reason and whose `status` is the answer's. `tag` is the document's, for who wants to change it.
export async function exchange(method, path, body, more = {}) {
  const headers = { ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    throw new Error(`${response.status}: the answer cannot be read`);
  }
  if (!response.ok) {
    const refused = new Error(answer.detail ?? answer.title ?? String(response.status));
    refused.status = response.status;
    throw refused;
  }
  return { answer, tag: response.headers.get("ETag") };
}

export const read = async (path) => (await exchange("GET", path)).answer;
export const send = async (method, path, body, more) => (await exchange(method, path, body, more)).answer;

export function say(text, kind = "") {
  const node = byId("said");
  setText(node, text);
  node.dataset.kind = kind;
}
