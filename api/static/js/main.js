/**
 * The shell: header, routes, the one view that is shown, and what happens when a key is wanted.
 *
 * Routes are hashes, so that every state that matters is a link, and the server needs to know only `/`. A view is
 * `mount(root, route) -> {update(kinds)?, navigate(route)?, unmount()?}`; `navigate` answers false when it cannot follow.
 */

import { onKeyWanted } from "./client.js";
import { h, replace, setText } from "./dom.js";
import { deskZone, fleet, now, isOpen, refetch, start, subscribe, tellNow } from "./fleet.js";
import { clock } from "./format.js";
import { language, setLanguage, t } from "./i18n.js";
import { applyTheme, nextTheme, theme } from "./theme.js";
import * as alerts from "./views/alerts.js";
import * as coverage from "./views/coverage.js";
import * as devices from "./views/devices.js";
import * as live from "./views/live.js";
import * as site from "./views/site.js";
import * as system from "./views/system.js";
import * as visit from "./views/visit.js";
import * as visits from "./views/visits.js";
import { emptyState, errorState } from "./widgets.js";

const ROUTES = [
  { pattern: /^live(?:\/worker\/(?<worker>.+))?$/, view: live, tab: "live" },
  { pattern: /^visits$/, view: visits, tab: "visits" },
  { pattern: /^visits\/(?<id>.+)$/, view: visit, tab: "visits" },
  { pattern: /^coverage$/, view: coverage, tab: "coverage" },
  { pattern: /^alerts$/, view: alerts, tab: "alerts" },
  { pattern: /^devices$/, view: devices, tab: "devices" },
  { pattern: /^system$/, view: system, tab: "system" },
  { pattern: /^sites\/(?<id>.+)$/, view: site, tab: "live" },
];
const TABS = ["live", "visits", "coverage", "alerts", "devices", "system"];
const ICONS = { auto: "◐", light: "☀", dark: "☾" };

/** The view of an address that no route knows. */
const missing = {
  mount(root) {
    replace(
      root,
      emptyState(t("common.notFound"), t("common.notFoundHint"), h("a", { class: "button", href: "#/live" }, t("nav.live"))),
    );
    return {};
  },
};

const bar = document.getElementById("bar");
const content = document.getElementById("content");
let shown = null;
let parts = null;

applyTheme();
buildBar();
onKeyWanted(askKey);
subscribe(onChange);
addEventListener("hashchange", show);
addEventListener("keydown", focusSearch);
setInterval(paintBar, 1000);
if (!location.hash) history.replaceState(null, "", "#/live");
show();
start();

/** The route of the address bar: `{tab, view, params, query}`; `#/visits?day=…` carries a view's filters. */
function currentRoute() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  for (const { pattern, view, tab } of ROUTES) {
    const match = pattern.exec(path);
    if (!match) continue;
    const params = Object.fromEntries(
      Object.entries(match.groups ?? {}).map(([name, value]) => [name, value && decodeURIComponent(value)]),
    );
    return { view, tab, params, query: new URLSearchParams(query) };
  }
  return { view: missing, tab: null, params: {}, query: new URLSearchParams() };
}

function show() {
  const route = currentRoute();
  if (shown?.view === route.view && shown.mounted.navigate?.(route)) {
    shown.route = route;
  } else {
    shown?.mounted.unmount?.();
    const root = h("div", { class: `view view-${route.tab ?? "missing"}` });
    replace(content, root);
    shown = { view: route.view, route, root, mounted: route.view.mount(root, route) };
  }
  paintBar();
}

function onChange(kinds) {
  if (fleet.failure && !fleet.loaded) {
    shown.mounted.unmount?.();
    replace(
      content,
      errorState(fleet.failure, () => refetch().then(show)),
    );
    shown = null;
    return;
  }
  if (!shown) show();
  shown.mounted.update?.(kinds);
  paintBar();
}

function buildBar() {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  setText(document.querySelector(".skip"), t("app.skip"));
  const tabs = Object.fromEntries(TABS.map((tab) => [tab, h("a", { href: `#/${tab}` }, t(`nav.${tab}`))]));
  const count = h("span", { class: "count", hidden: true });
  tabs.alerts.append(count);
  parts = {
    tabs,
    count,
    stream: h("span", { class: "stream", role: "status" }),
    clock: h("span", { class: "clock" }),
    language: h(
      "button",
      { class: "quiet", type: "button", title: t("app.languageHint"), onclick: switchLanguage },
      t("app.language"),
    ),
    theme: h("button", { class: "quiet icon", type: "button", onclick: switchTheme }),
  };
  const brand = h(
    "a",
    { class: "brand", href: "#/live" },
    h("img", { src: "static/icon.svg", alt: "", width: 20, height: 20 }),
    "sitewatch",
  );
  replace(
    bar,
    brand,
    h("nav", { "aria-label": t("app.menu") }, Object.values(tabs)),
    h("span", { class: "gap" }),
    parts.stream,
    parts.clock,
    parts.language,
    parts.theme,
  );
  paintBar();
}

function paintBar() {
  const tab = currentRoute().tab;
  for (const [name, link] of Object.entries(parts.tabs)) {
    if (name === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const open = [...fleet.alerts.values()].filter(isOpen).length;
  parts.count.hidden = open === 0;
  setText(parts.count, open > 99 ? "99+" : String(open));
  parts.stream.dataset.state = fleet.stream;
  setText(parts.stream, t(`stream.${fleet.stream}`));
  const zone = deskZone();
  setText(parts.clock, `${clock(now(), zone)} ${zone.split("/").at(-1).replaceAll("_", " ")}`);
  parts.clock.title = zone;
  setText(parts.theme, ICONS[theme()]);
  parts.theme.title = t(`theme.${theme()}`);
  parts.theme.setAttribute("aria-label", t(`theme.${theme()}`));
  showTab(parts.tabs[tab]);
}

/** On a narrow screen the tabs are wider than their bar, and wider still with alerts to count. */
function showTab(link) {
  const seen = `${link?.href} ${parts.count.textContent}`;
  if (seen === parts.seen) return;
  parts.seen = seen;
  link?.scrollIntoView({ inline: "center", block: "nearest" });
}

function switchLanguage() {
  setLanguage(language() === "zh" ? "en" : "zh");
  buildBar();
  remount();
}

function switchTheme() {
  nextTheme();
  paintBar();
}

function remount() {
  shown?.mounted.unmount?.();
  shown = null;
  show();
  tellNow("stream");
}

function focusSearch(event) {
  if (event.key !== "/" || event.target.closest("input, textarea, select, dialog")) return;
  const field = content.querySelector("input[type=search]");
  if (!field) return;
  event.preventDefault();
  field.focus();
}

/** Asks until a key is given: without one there is nothing to show. */
function askKey(hadOne) {
  return new Promise((resolve) => {
    const field = h("input", { type: "password", autocomplete: "current-password", required: true, id: "key" });
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", {}, t("key.title")),
      h("p", { class: hadOne ? "bad" : "" }, t(hadOne ? "key.wrong" : "key.ask")),
      h("label", { for: "key" }, t("key.label")),
      field,
      h("p", { class: "muted" }, t("key.hint")),
      h("button", { class: "primary" }, t("key.ok")),
    );
    const dialog = h("dialog", { class: "key", oncancel: (event) => event.preventDefault() }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(field.value.trim());
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
