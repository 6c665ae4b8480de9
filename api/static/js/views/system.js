/** Whether everything runs, how evidence flows through it, and what could not be taken. */

import { health, Problem } from "../client.js";
import { h, replace } from "../dom.js";
import { deskZone, now } from "../fleet.js";
import { age, whenever } from "../format.js";
import { t } from "../i18n.js";
import { emptyState, loadingState } from "../widgets.js";
import { rejectList } from "./rejects.js";

const POLL_MS = 5000;
const PARTS = ["database", "broker", "ingest", "verify"];
const DOTS = { ok: "on", silent: "silent", missing: "off", away: "off", unknown: "unknown" };

export function mount(root, route) {
  const view = {
    stop: new AbortController(),
    timer: null,
    told: null,
    state: h("span", { class: "muted", role: "status" }),
    panel: h("div", {}, loadingState()),
  };
  view.rejects = rejectList(filterOf(route), () => poll(view));
  replace(
    root,
    h(
      "div",
      { class: "page" },
      h("div", { class: "toolbar" }, h("h1", {}, t("system.title")), view.state),
      h("div", { class: "scroll" }, view.panel, view.rejects.root),
    ),
  );
  poll(view);
  return {
    // The desk's time zone is that of its sites.
    update(kinds) {
      if (!kinds.has("sites")) return;
      if (view.told) paint(view, view.told);
      view.rejects.repaint();
    },
    navigate(next) {
      view.rejects.show(filterOf(next));
      return true;
    },
    unmount() {
      clearTimeout(view.timer);
      view.stop.abort();
      view.rejects.stop();
    },
  };
}

function filterOf(route) {
  return { reason: route.query.get("reason"), done: route.query.get("done") === "1" };
}

async function poll(view) {
  clearTimeout(view.timer);
  try {
    paint(view, await health({ signal: view.stop.signal }));
  } catch (failure) {
    if (view.stop.signal.aborted) return;
    if (!(failure instanceof Problem) && !(failure instanceof TypeError) && !(failure instanceof DOMException)) throw failure;
    replace(view.panel, emptyState(t("system.unreachable"), failure.message));
  }
  view.timer = setTimeout(() => poll(view), POLL_MS);
}

function paint(view, told) {
  view.told = told;
  const wrong = PARTS.filter((name) => told.parts[name]?.state !== "ok");
  view.state.className = wrong.length ? "bad" : "muted";
  view.state.textContent = wrong.length
    ? t("system.notReady", { parts: wrong.map((name) => t(`part.${name}`)).join(", ") })
    : t("system.ready");
  replace(
    view.panel,
    h(
      "ul",
      { class: "parts" },
      PARTS.map((name) => part(name, told.parts[name])),
    ),
    told.programs.length ? programTable(told.programs) : null,
  );
  view.rejects.count(told.rejects_open);
}

function part(name, { state, detail }) {
  return h(
    "li",
    { "data-state": DOTS[state], title: detail },
    h("i", { class: "dot" }),
    h("b", {}, t(`part.${name}`)),
    h("span", {}, t(`partState.${state}`)),
  );
}

function programTable(programs) {
  const heads = [
    ["system.program"],
    ["system.state"],
    ["system.connection"],
    ["system.lastMessage"],
    ["system.rate", 1],
    ["system.lag", 1],
    ["system.waiting", 1],
    ["system.rejected", 1],
  ];
  return h(
    "table",
    { class: "programs" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        heads.map(([key, number]) => h("th", { scope: "col", class: number ? "number" : null, title: t(`${key}Hint`) }, t(key))),
      ),
    ),
    h("tbody", {}, programs.map(programRow)),
  );
}

function programRow(program) {
  const number = (value, text = String) => h("td", { class: "number" }, value === null ? "–" : text(value));
  const rejected = Object.values(program.rejected).reduce((sum, count) => sum + count, 0);
  return h(
    "tr",
    { "data-state": DOTS[program.state] },
    h("td", {}, h("b", {}, program.name), h("span", { class: "sub" }, ` ${t("system.since", { when: when(program.started_at) })}`)),
    h(
      "td",
      { "data-state": DOTS[program.state] },
      h("i", { class: "dot inline" }),
      program.state === "ok" ? t("partState.ok") : t("system.silentFor", { age: ago(program.beat_at) }),
    ),
    h("td", {}, connection(program)),
    h("td", {}, program.last_message_at ? t("unit.ago", { age: ago(program.last_message_at) }) : "–"),
    number(program.received_per_s, (rate) => (rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString())),
    number(program.lag_s, (seconds) => (seconds < 10 ? t("unit.s", { n: seconds.toFixed(1) }) : age(seconds))),
    number(program.queue_depth, (depth) => depth.toLocaleString()),
    h("td", { class: "number" }, program.connected === null ? "–" : rejected.toLocaleString()),
  );
}

function connection({ connected, connected_at }) {
  if (connected === null) return "–";
  if (!connected) return h("span", { class: "bad" }, t("system.disconnected"));
  return connected_at ? t("system.since", { when: when(connected_at) }) : t("system.connected");
}

function when(text) {
  return whenever(Date.parse(text), deskZone());
}

function ago(text) {
  return age(Math.max(0, (now() - Date.parse(text)) / 1000));
}
