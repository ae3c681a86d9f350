// The page "Now": one feed, one snapshot, every card drawn from it.

import { mountCommands } from "./commands.js";
import { byId, h, hhmmss, setText } from "./elements.js";
import { Feed } from "./feed.js";
import * as sections from "./sections.js";

const JOURNAL_LINES = 60;

let state = null;
let feed = null;
let waiting = false;

// Seconds of the daemon's time that have passed since it published what is shown.
function extra() {
  const pace = state.mode.kind === "simulated" ? Math.max(state.mode.pace, 1) : 1;
  return Number.isFinite(feed.age()) ? feed.age() * pace : 0;
}

function draw() {
  waiting = false;
  if (state === null) return;
  const passed = extra();
  sections.bar(state);
  sections.sentence(state);
  sections.safety(state, passed);
  sections.devices(state, passed);
  sections.alert(state);
  sections.sky(state);
  sections.night(state);
  sections.weather(state, passed);
  sections.frames(state);
  sections.alarms(state);
  sections.quotas(state);
}

function drawSoon() {
  if (waiting) return;
  waiting = true;
  // A hidden page gets no animation frames and must not fall behind for ever.
  if (document.hidden) setTimeout(draw, 500);
  else requestAnimationFrame(draw);
}

function told(entry) {
  const { seq, at, fact, ...rest } = entry;
  const words = Object.entries(rest)
    .filter(([name, value]) => value !== null && typeof value !== "object" && name !== "body")
    .map(([name, value]) => `${name} ${value}`);
  return `${fact.replaceAll("_", " ")}${words.length ? `: ${words.join(", ")}` : ""}`;
}

function addToJournal(entry) {
  const list = byId("journal");
  list.prepend(h("li", {}, h("time", { datetime: entry.at ?? "" }, entry.at ? hhmmss(entry.at) : ""), told(entry)));
  while (list.children.length > JOURNAL_LINES) list.lastChild.remove();
}

function showLink(link, age) {
  const chip = byId("link");
  chip.dataset.link = link;
  setText(chip, link);
  const banner = byId("stale");
  const trouble = link === "stale" || (link === "lost" && state !== null);
  document.documentElement.classList.toggle("is-stale", trouble);
  banner.hidden = !trouble;
  if (!trouble) return;
  const since = Number.isFinite(age) ? `${Math.round(age)} s` : "some time";
  setText(banner, link === "stale"
    ? `STALE: the daemon has said nothing for ${since}. What you see is what it said last.`
    : `LINK LOST: nothing is heard from the daemon since ${since}. What you see is what it said last.`);
}

function mountTheme() {
  const button = byId("theme");
  const apply = (night) => {
    document.documentElement.dataset.theme = night ? "night" : "dark";
    button.setAttribute("aria-pressed", String(night));
  };
  apply(localStorage.getItem("theme") === "night");
  button.addEventListener("click", () => {
    const night = document.documentElement.dataset.theme !== "night";
    localStorage.setItem("theme", night ? "night" : "dark");
    apply(night);
  });
}

mountTheme();
mountCommands();
feed = new Feed({
  onState: (next) => {
    state = next;
    drawSoon();
  },
  onJournal: addToJournal,
  onLink: showLink,
});
setInterval(drawSoon, 1000);
