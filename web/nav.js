// The navigation that every page has: links to the pages that this daemon has and that one may use, and who one is.
// A page only loads this module; what stands in its header as navigation is replaced.

import { read } from "./asking.js";
import { h, setText } from "./elements.js";

// Address, name, and the permission without which a page has nothing to show.
const PAGES = [
  ["/", "Now", null],
  ["/night", "Night", null],
  ["/requests", "Requests", "submit"],
  ["/targets", "Targets", "read_own_data"],
  ["/alerts", "Alerts", null],
  ["/devices", "Devices", null],
  ["/data", "Data", null],
  ["/pipelines", "Pipelines", null],
  ["/packages", "Packages", null],
  ["/people", "People", "manage_accounts"],
  ["/system", "System", null],
];

function link(address, name) {
  return h("a", { href: address, "aria-current": location.pathname === address ? "page" : null }, name);
}

function identity(session, has) {
  const name = session.account ?? (session.accounts ? "Log in" : session.role);
  if (has("/account")) return link("/account", name);
  return h("span", { class: "chip" }, name);
}

function mountTheme(bar) {
  if (document.getElementById("theme")) return;
  const button = h("button", { type: "button", id: "theme" });
  setText(button, "Night mode");
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
  bar.append(button);
}

async function mount() {
  const bar = document.querySelector("header.bar");
  if (!bar) return;
  mountTheme(bar);
  const nav = h("nav", { "aria-label": "Pages", class: "pages" }, link("/", "Now"));
  const before = bar.querySelector('nav[aria-label="Pages"]');
  if (before) before.replaceWith(nav);
  else bar.insertBefore(nav, bar.querySelector("#theme"));
  try {
    const [{ pages }, session] = await Promise.all([read("/api/v1/pages"), read("/api/v1/session")]);
    const has = (address) => pages.includes(address);
    const may = (permission) => permission === null || session.permissions.includes(permission);
    nav.replaceChildren(
      ...PAGES.filter(([address, , permission]) => has(address) && may(permission)).map(([address, name]) => link(address, name)),
      identity(session, has),
    );
  } catch {
    // A daemon that does not answer has no pages to go to; the page itself says that it is lost.
  }
}

mount();
