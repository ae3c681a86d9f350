// What the pages about nights, requests, devices and the daemon share: the link to the daemon, and its honest word.

import { read, say, send } from "./asking.js";
import { byId, productUrl, setText } from "./elements.js";
import { Feed } from "./feed.js";

export { productUrl, say };

// Reads without a body, sends with one.
export const ask = (path, body) => (body === undefined ? read(path) : send("POST", path, body));

function showLink(link, age) {
  const chip = byId("link");
  chip.dataset.link = link;
  setText(chip, link);
  const banner = byId("stale");
  const trouble = link === "stale" || link === "lost";
  document.documentElement.classList.toggle("is-stale", trouble);
  banner.hidden = !trouble;
  if (!trouble) return;
  const since = Number.isFinite(age) ? `${Math.round(age)} s` : "some time";
  setText(banner, link === "stale"
    ? `STALE: the daemon has said nothing for ${since}. What you see is what it said last.`
    : `LINK LOST: nothing is heard from the daemon since ${since}. What you see is what it said last.`);
}

// Follows the daemon. `onLive` is called whenever the link is live again.
export function follow({ onState = () => {}, onJournal = () => {}, onLive = () => {} }) {
  let live = false;
  return new Feed({
    onState,
    onJournal,
    onLink: (link, age) => {
      showLink(link, age);
      if (link === "live" && !live) onLive();
      live = link === "live";
    },
  });
}

// Calls `act` at most once in `wait_ms`, and once after the last wish.
export function calmly(act, wait_ms) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      act();
    }, wait_ms);
  };
}

export const stamp = (iso) => (iso ? `${iso.slice(0, 10)} ${iso.slice(11, 19)}` : "–");
export const words = (text) => String(text).replaceAll("_", " ");

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
