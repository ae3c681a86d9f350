// What pages with forms share: a deed with its button held, and the fields of a form.

import { say, send as ask } from "./asking.js";

export { ask, say };

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
