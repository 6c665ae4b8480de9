/** Coverage against the target: of time and of visits, by day, worker, site and service, and why the rest was not seen. */

import { all, get, Problem } from "../client.js";
import { shareChart, stackChart } from "../charts.js";
import { h, replace } from "../dom.js";
import { deskZone, loaded, now } from "../fleet.js";
import { dateField, duration, number, percent, shortDay, startOfDate, wholePercent, zoneName } from "../format.js";
import { t } from "../i18n.js";
import { causeBar, causeLegend, CAUSES, emptyState, errorState, loadingState, shareBar, siteLink, workerLink } from "../widgets.js";

const DAY_MS = 86_400_000;
const PRESETS = { today: 1, days7: 7, days14: 14, days30: 30 };
const TABS = { worker: "coverage.byWorker", site: "coverage.bySite", service: "coverage.byService" };
const ROWS_MAX = 300;
const DAYS_MAX = 400;
const REFRESH_MS = 20_000;

export function mount(root, route) {
  const view = { root, route, by: route.query.get("by") ?? "worker", charts: [], stop: new AbortController(), loadedAt: 0 };
  view.toolbar = h("div", { class: "toolbar" });
  view.body = h("div", { class: "coverage" });
  replace(root, h("div", { class: "page" }, view.toolbar, view.body));
  replace(view.body, loadingState());
  buildToolbar(view);
  load(view);
  return {
    update: (kinds) => kinds.has("visits") && Date.now() - view.loadedAt > REFRESH_MS && load(view),
    navigate(next) {
      view.route = next;
      view.by = next.query.get("by") ?? "worker";
      load(view);
      return true;
    },
    unmount() {
      view.stop.abort();
      stopCharts(view);
    },
  };
}

function stopCharts(view) {
  for (const chart of view.charts) chart.stop();
  view.charts = [];
}

/** First and last day, both included, as people choose them. */
function range(view) {
  const zone = deskZone();
  const today = dateField(now(), zone);
  const back = dateField(startOfDate(today, zone) - 6 * DAY_MS + DAY_MS / 2, zone);
  return { first: view.route.query.get("from") ?? back, last: view.route.query.get("to") ?? today, today, zone };
}

function buildToolbar(view) {
  const { first, last, today, zone } = range(view);
  const presets = Object.entries(PRESETS).map(([name, days]) => {
    const from = dateField(startOfDate(today, zone) - (days - 1) * DAY_MS + DAY_MS / 2, zone);
    return h(
      "button",
      { type: "button", "aria-pressed": String(from === first && last === today), onclick: () => go(view, { from, to: today }) },
      t(`coverage.${name}`),
    );
  });
  const dateInput = (name, value) =>
    h("input", {
      type: "date",
      value,
      required: true,
      "aria-label": t(`coverage.${name}`),
      onchange: (event) => event.target.value && go(view, { [name]: event.target.value }),
    });
  replace(
    view.toolbar,
    h("h1", {}, t("coverage.title")),
    h("span", { class: "segments" }, presets),
    h("span", { class: "segments" }, dateInput("from", first), dateInput("to", last)),
    h("span", { class: "gap" }),
    h("span", { class: "muted" }, t("common.zone", { zone: zoneName(zone) })),
  );
}

function go(view, changes) {
  const query = new URLSearchParams(view.route.query);
  for (const [name, value] of Object.entries(changes)) query.set(name, value);
  location.hash = `#/coverage?${query}`;
}

async function load(view) {
  view.stop.abort();
  const { signal } = (view.stop = new AbortController());
  view.loadedAt = Date.now();
  await loaded(); // The desk's days begin when the sites' zone says so.
  if (signal.aborted) return;
  buildToolbar(view);
  const { first, last, zone } = range(view);
  const span = {
    from: new Date(startOfDate(first, zone)).toISOString(),
    to: new Date(startOfDate(last, zone) + DAY_MS).toISOString(),
    limit: 500,
  };
  try {
    const [days, groups] = await Promise.all([
      get("coverage", { ...span, by: "day" }, { signal }),
      all("coverage", { ...span, by: view.by }, { signal, max: 5000 }),
    ]);
    paint(view, days, groups);
  } catch (failure) {
    if (signal.aborted) return;
    if (!(failure instanceof Problem) && !(failure instanceof TypeError) && !(failure instanceof DOMException)) throw failure;
    stopCharts(view);
    replace(
      view.body,
      errorState(failure, () => load(view)),
    );
  }
}

function paint(view, days, groups) {
  stopCharts(view);
  if (!days.total.visits) return replace(view.body, emptyState(t("coverage.none"), t("coverage.noneHint")));
  const target = days.target;
  const scrolled = view.body.scrollTop;
  replace(
    view.body,
    h(
      "div",
      { class: "body" },
      totals(days.total, target),
      charts(view, everyDay(view, days.items), target),
      groupSection(view, groups, target),
    ),
  );
  view.body.scrollTop = scrolled;
}

/** The days of the range, also those of which there is nothing to tell: an axis of time has no holes. */
function everyDay(view, items) {
  const { first, last } = range(view);
  const known = new Map(items.map((item) => [item.day, item]));
  const found = [];
  for (let at = Date.parse(first); at <= Date.parse(last) && found.length < DAYS_MAX; at += DAY_MS) {
    const day = new Date(at).toISOString().slice(0, 10);
    found.push(known.get(day) ?? { day, time_coverage: null, visit_coverage: null, gaps: {} });
  }
  return found;
}

function totals(total, target) {
  const unseen = total.expected_s - total.monitored_s;
  const figure = (term, value, note, bad, title) =>
    h(
      "div",
      { title },
      h("div", { class: "term" }, term),
      h("div", { class: bad ? "value bad" : "value" }, value),
      h("div", { class: "note" }, note),
    );
  const verdict = (share) =>
    share >= target
      ? `${t("coverage.target")} ${wholePercent(target)} ${t("coverage.met")}`
      : `${t("coverage.target")} ${wholePercent(target)} ${t("coverage.missed", { n: number(Math.ceil((target - share) * 1000) / 10, 1) })}`;
  return h(
    "div",
    { class: "figures" },
    figure(
      t("coverage.time"),
      percent(total.time_coverage),
      verdict(total.time_coverage),
      total.time_coverage < target,
      t("coverage.timeHint"),
    ),
    figure(
      t("coverage.visit"),
      percent(total.visit_coverage),
      verdict(total.visit_coverage),
      total.visit_coverage < target,
      t("coverage.visitHint", { target: wholePercent(target) }),
    ),
    figure(t("coverage.visits"), number(total.visits), duration(total.expected_s)),
    figure(t("coverage.unseen"), duration(unseen), percent(unseen / total.expected_s)),
  );
}

function charts(view, days, target) {
  const names = days.map(({ day }) => shortDay(Date.parse(`${day}T12:00:00Z`), "UTC"));
  const causes = CAUSES.filter((cause) => days.some(({ gaps }) => gaps[cause] > 0));
  const shares = shareChart({
    days: names,
    target,
    series: [
      { label: t("coverage.time"), values: days.map((one) => one.time_coverage), colour: "accent" },
      { label: t("coverage.visit"), values: days.map((one) => one.visit_coverage), colour: "state-on" },
    ],
  });
  const stack = stackChart({
    days: names,
    series: causes.map((cause) => ({
      label: t(`cause.${cause}`),
      values: days.map(({ gaps }) => (gaps[cause] ?? 0) / 3600),
      colour: `cause-${cause}`,
    })),
  });
  view.charts = [shares, stack];
  const lines = h(
    "ul",
    { class: "legend" },
    [
      ["accent", "coverage.time"],
      ["state-on", "coverage.visit"],
    ].map(([name, key]) => h("li", {}, h("i", { style: { background: `var(--${name})` } }), t(key))),
  );
  return h(
    "div",
    { class: "charts" },
    h("section", { class: "section" }, h("h2", {}, t("coverage.byDay", { target: wholePercent(target) })), shares.element, lines),
    h("section", { class: "section" }, h("h2", {}, t("coverage.causes")), stack.element, causeLegend(causes)),
  );
}

function groupSection(view, groups, target) {
  const tabs = Object.entries(TABS).map(([by, key]) =>
    h("button", { type: "button", "aria-pressed": String(view.by === by), onclick: () => go(view, { by }) }, t(key)),
  );
  // The worst first: that is where somebody has to do something.
  const rows = groups.toSorted((a, b) => a.time_coverage - b.time_coverage).slice(0, ROWS_MAX);
  const below = groups.filter((group) => group.time_coverage < target).length;
  const longest = Math.max(1, ...rows.map((row) => row.expected_s - row.monitored_s));
  const heads = [
    [`common.${view.by}`],
    ["coverage.visits", 1],
    ["coverage.time"],
    ["coverage.visit"],
    ["coverage.unseen", 1],
    ["coverage.causes"],
  ];
  const row = (group) =>
    h(
      "tr",
      {},
      h("td", {}, groupName(view.by, group)),
      h("td", { class: "number" }, number(group.visits)),
      h("td", {}, shareBar(group.time_coverage, target)),
      h("td", {}, shareBar(group.visit_coverage, target)),
      h("td", { class: "number" }, duration(group.expected_s - group.monitored_s)),
      h("td", { style: { width: "30%" } }, causeBar(group.gaps, longest)),
    );
  return h(
    "section",
    { class: "section" },
    h(
      "div",
      { class: "headline", style: { "margin-bottom": "8px" } },
      h("span", { class: "segments" }, tabs),
      h("span", { class: "muted" }, t("coverage.below", { n: below })),
    ),
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map(([key, isNumber]) => h("th", { scope: "col", class: isNumber ? "number" : null }, t(key))),
        ),
      ),
      h("tbody", {}, rows.map(row)),
    ),
  );
}

function groupName(by, group) {
  if (by === "worker") return workerLink(group.worker);
  if (by === "site") return siteLink(group.site);
  return t(`service.${group.service}`);
}
