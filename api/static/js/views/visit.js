/** One visit: the verdict in a sentence, the figures with their error bars, the timeline strip, and where the worker was. */

import { all, get } from "../client.js";
import { h, replace } from "../dom.js";
import { fleet, loaded, now, positionOf, siteName, siteZone } from "../fleet.js";
import { clock, clockWithSeconds, day, duration, momentClock, percent, whenever, wholePercent, zoneName } from "../format.js";
import { fence, line, point, points } from "../geo.js";
import { language, t } from "../i18n.js";
import { createMap, NoMap } from "../map.js";
import { timelineStrip, windowOf } from "../strip.js";
import { CAUSES, emptyState, findingChips, loadingState, siteLink, unavailableState, verdictBadge, workerLink } from "../widgets.js";

const FIXES_MAX = 20_000;
const REFETCH_MS = 15_000;
const HISTORY_MAX = 12;
/** What a version may tell differently, and what it is called. */
const TOLD = {
  verdict: "visits.verdict",
  findings: "visits.findings",
  arrived_at: "visits.arrived",
  left_at: "visits.left",
  on_site_s: "visits.onSite",
  coverage: "visits.coverage",
};

export function mount(root, route) {
  const view = {
    root,
    id: route.params.id,
    visit: null,
    evidence: { fixes: [], marks: [], history: [] },
    map: null,
    strip: null,
    stop: new AbortController(),
    fetchedAt: 0,
  };
  replace(root, loadingState());
  load(view);
  return {
    update: (kinds) => kinds.has("visits") && refresh(view),
    unmount() {
      view.stop.abort();
      view.strip?.stop();
      view.map?.remove();
    },
  };
}

async function load(view) {
  const { signal } = view.stop;
  try {
    await loaded();
    view.visit = await get(`visits/${encodeURIComponent(view.id)}`, {}, { signal });
    if (!view.text) buildPage(view);
    paint(view);
    view.evidence = await fetchEvidence(view.visit, signal);
    view.fetchedAt = Date.now();
    paint(view);
    drawTrack(view);
  } catch (failure) {
    if (signal.aborted) return;
    replace(view.root, unavailableState(failure, "#/visits", t("nav.visits"), () => load(view)));
    view.text = null;
  }
}

async function fetchEvidence(visit, signal) {
  const { from, to } = windowOf(visit);
  const span = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
  const [features, other, history] = await Promise.all([
    all(`workers/${encodeURIComponent(visit.worker)}/track`, { ...span, visit: visit.id, limit: 10_000 }, { signal, max: FIXES_MAX }),
    get(`visits/${encodeURIComponent(visit.id)}/evidence`, {}, { signal }),
    get(`visits/${encodeURIComponent(visit.id)}/history`, {}, { signal }),
  ]);
  const mark = (what) => (one) => ({ what, kind: one.kind, value: one.value, atMs: Date.parse(one.at) });
  return {
    fixes: features.map((feature) => ({ ...positionOf(feature), flags: feature.properties.flags ?? [] })),
    marks: [...other.checks.map(mark("check")), ...other.device_events.map(mark("event"))],
    history: history.items,
  };
}

/** The outcome comes with the stream at once; its evidence is fetched again at a calmer rate. */
function refresh(view) {
  const newer = fleet.visits.get(view.id);
  if (!newer || !view.visit || newer.outcome?.version === view.visit.outcome?.version) return;
  view.visit = newer;
  paint(view);
  if (Date.now() - view.fetchedAt > REFETCH_MS) load(view);
}

function buildPage(view) {
  view.text = h("div", { class: "text" });
  view.canvas = h("div", { class: "map" });
  replace(
    view.root,
    h("div", { class: "visit" }, view.text, h("section", { class: "stage", "aria-label": t("visit.map") }, view.canvas)),
  );
  placeMap(view);
}

async function placeMap(view) {
  try {
    view.map = await createMap(view.canvas, {
      settings: fleet.settings,
      onPick: (thing) => thing.site && (location.hash = `#/sites/${encodeURIComponent(thing.site)}`),
    });
    if (view.stop.signal.aborted) return view.map.remove();
    drawTrack(view);
  } catch (failure) {
    if (!(failure instanceof NoMap)) throw failure;
    replace(view.canvas, emptyState(t(`live.${failure.message}`), t(`live.${failure.message}Hint`)));
  }
}

function drawTrack(view) {
  const site = fleet.sites.get(view.visit.site);
  if (!view.map || !site) return;
  const { fixes } = view.evidence;
  const shape = fence(site);
  view.map.set("fences", [
    { type: "Feature", geometry: shape, properties: { site: site.id, title: siteName(site.id), state: "on", selected: true } },
  ]);
  const good = fixes.filter((fix) => !fix.flags.length);
  view.map.set("trail", good.length > 1 ? [line(good.map((fix) => [fix.lon, fix.lat]))] : []);
  view.map.set(
    "fixes",
    fixes.map((fix) =>
      point([fix.lon, fix.lat], {
        flagged: fix.flags.length > 0,
        title: [clockWithSeconds(fix.atMs, siteZone(site.id)), ...fix.flags.map((flag) => t(`flag.${flag}`))].join(" · "),
      }),
    ),
  );
  if (view.fitted === fixes.length > 0) return;
  view.fitted = fixes.length > 0;
  view.map.fit([...points(shape), ...near(fixes, points(shape)[0])], { maxZoom: 18 });
}

/** The way there may be long: the map opens on the last part of it. */
function near(fixes, [lon, lat]) {
  return fixes.filter((fix) => Math.abs(fix.lon - lon) < 0.006 && Math.abs(fix.lat - lat) < 0.004).map((fix) => [fix.lon, fix.lat]);
}

function paint(view) {
  const { visit, evidence } = view;
  const zone = siteZone(visit.site);
  view.strip?.stop();
  view.strip = timelineStrip({ visit, evidence, zone, onTime: (at) => probe(view, at) });
  const scrolled = view.text.scrollTop;
  replace(view.text, headline(visit, zone), figures(visit, zone), stripSection(view), details(view));
  view.text.scrollTop = scrolled;
}

function headline(visit, zone) {
  const outcome = visit.outcome;
  const explanation = outcome.explanation?.[language()];
  return h(
    "header",
    { class: "section" },
    h("div", { class: "crumb" }, h("a", { href: "#/visits" }, t("visits.title")), ` / ${visit.id}`),
    h(
      "div",
      { class: "headline" },
      h("h1", {}, workerLink(visit.worker), " · ", siteLink(visit.site)),
      verdictLarge(outcome.verdict),
    ),
    h(
      "div",
      { class: "muted" },
      `${t(`service.${visit.service}`)} · ${day(Date.parse(visit.starts_at), zone)} · ${t("common.zone", { zone: zoneName(zone, Date.parse(visit.starts_at)) })}`,
    ),
    h("p", { class: "explanation" }, outcome.version ? explanation : t("visit.noneYet")),
    outcome.findings.length ? h("p", { class: "chips", style: { "margin-top": "8px" } }, findingChips(outcome.findings)) : null,
  );
}

function verdictLarge(verdict) {
  const badge = verdictBadge(verdict);
  badge.classList.add("large");
  return badge;
}

function figures(visit, zone) {
  const outcome = visit.outcome;
  const planned = (Date.parse(visit.ends_at) - Date.parse(visit.starts_at)) / 1000;
  const isRunning = outcome.verdict === "pending" && Date.parse(visit.ends_at) > now();
  const missing = t(isRunning || outcome.verdict === "pending" ? "visit.notYet" : "visit.notSeen");
  const left = outcome.left_at
    ? momentText(outcome.left_at, visit.ends_at, zone)
    : { value: outcome.arrived_at && isRunning ? t("visit.stillThere") : missing };
  return h(
    "div",
    { class: "figures" },
    figure(
      t("visit.planned"),
      `${clock(Date.parse(visit.starts_at), zone)}–${clock(Date.parse(visit.ends_at), zone)}`,
      duration(planned),
    ),
    figure(
      t("visit.arrived"),
      ...Object.values(outcome.arrived_at ? momentText(outcome.arrived_at, visit.starts_at, zone) : { value: missing }),
    ),
    figure(t("visit.left"), ...Object.values(left)),
    figure(
      t("visit.onSite"),
      duration(outcome.on_site_s.best),
      t("visit.between", { a: duration(outcome.on_site_s.lower), b: duration(outcome.on_site_s.upper) }),
    ),
    figure(
      t("visit.coverage"),
      percent(outcome.coverage),
      `${t("visit.monitored", { a: duration(outcome.monitored_s), b: duration(outcome.expected_s) })} · ${t("visit.target", { target: wholePercent(fleet.settings.coverage_target) })}`,
    ),
  );
}

function momentText(moment, planned, zone) {
  const late = (Date.parse(moment.best) - Date.parse(planned)) / 1000;
  const off = Math.abs(late) < 30 ? t("visit.onTime") : t(late > 0 ? "visit.late" : "visit.early", { n: duration(Math.abs(late)) });
  const value = momentClock(moment, zone);
  if (moment.earliest === null) return { value, note: t("visit.thereBefore") };
  if (moment.latest === null) return { value, note: t("visit.thereAfter") };
  const between = t("visit.between", {
    a: clockWithSeconds(Date.parse(moment.earliest), zone),
    b: clockWithSeconds(Date.parse(moment.latest), zone),
  });
  return { value, note: h("span", {}, between, h("br"), off) };
}

function figure(term, value, note) {
  return h(
    "div",
    {},
    h("div", { class: "term" }, term),
    h("div", { class: "value" }, value),
    h("div", { class: "note" }, note ?? " "),
  );
}

function stripSection(view) {
  const nothing = view.fetchedAt && !view.evidence.fixes.length && Date.parse(view.visit.starts_at) < now();
  return h(
    "section",
    { class: "section" },
    h("h2", {}, t("visit.course")),
    view.strip.element,
    nothing && h("p", { class: "muted" }, t("visit.noFixes")),
  );
}

function details({ visit, evidence }) {
  const outcome = visit.outcome;
  return h(
    "div",
    { class: "columns section" },
    h("section", {}, h("h2", {}, t("visit.causes")), causeTable(outcome)),
    h("section", {}, h("h2", {}, t("visit.evidence")), evidenceTable(outcome.evidence)),
    evidence.history.length > 1 &&
      h("section", { class: "whole" }, h("h2", {}, t("visit.history")), historyTable(evidence.history, siteZone(visit.site))),
    h(
      "p",
      { class: "muted whole" },
      outcome.version ? t("visit.madeBy", { engine: outcome.engine, policy: outcome.policy, revision: outcome.version }) : "",
    ),
  );
}

function causeTable(outcome) {
  const seconds = Object.fromEntries(CAUSES.map((cause) => [cause, 0]));
  for (const gap of outcome.gaps) seconds[gap.cause] += (Date.parse(gap.end) - Date.parse(gap.start)) / 1000;
  const found = CAUSES.filter((cause) => seconds[cause] > 0).sort((a, b) => seconds[b] - seconds[a]);
  if (!found.length) return h("p", { class: "muted" }, outcome.coverage === null ? t("visit.notYet") : t("visit.noGaps"));
  return h(
    "table",
    { class: "plain" },
    h(
      "tbody",
      {},
      found.map((cause) =>
        h(
          "tr",
          {},
          h("td", {}, h("i", { "data-cause": cause }), t(`cause.${cause}`)),
          h("td", { class: "number" }, duration(seconds[cause])),
          h("td", { class: "number muted" }, outcome.expected_s ? percent(seconds[cause] / outcome.expected_s) : ""),
        ),
      ),
    ),
  );
}

function evidenceTable(tally) {
  const rows = ["fixes", "checks", "device_events", "statuses"].map((kind) => [t(`visit.${kind}`), tally[kind]]);
  const flags = Object.entries(tally.flags ?? {}).map(([flag, count]) => [`${t("strip.flagged")}: ${t(`flag.${flag}`)}`, count]);
  return h(
    "table",
    { class: "plain" },
    h(
      "tbody",
      {},
      [...rows, ...flags].map(([name, count]) => h("tr", {}, h("td", {}, name), h("td", { class: "number" }, String(count)))),
    ),
  );
}

/** What people were told before, newest first, and why it changed. */
function historyTable(versions, zone) {
  const row = ({ recorded_at, why, reasons, changed, outcome }) =>
    h(
      "tr",
      {},
      // Several versions may be told within a minute.
      h("td", {}, whenever(Date.parse(recorded_at), zone, clockWithSeconds)),
      h("td", {}, verdictBadge(outcome.verdict)),
      h("td", { class: "number" }, percent(outcome.coverage)),
      h("td", { class: "muted" }, reasons.map((reason) => reasonText(reason, zone)).join(", ") || why),
      h("td", { class: "muted" }, changed.filter(({ what }) => what in TOLD).map(({ what }) => t(TOLD[what])).join(", ")),
    );
  return h("table", { class: "plain" }, h("tbody", {}, versions.slice(0, HISTORY_MAX).map(row)));
}

/** One reason as people say it: `{what, of?, count?, before?, after?}`. */
function reasonText(reason, zone) {
  const said = (value) => (["starts_at", "ends_at"].includes(reason.of) ? whenever(Date.parse(value), zone) : value);
  return t(`why.${reason.what}`, {
    ...reason,
    of: t(`reported.${reason.of}`),
    before: said(reason.before),
    after: said(reason.after),
  });
}

/** Where the worker was at the time under the pointer: the fix that was newest then. */
function probe(view, at) {
  if (!view.map) return;
  const before = at === null ? null : view.evidence.fixes.filter((fix) => fix.atMs <= at).at(-1);
  view.map.set("probe", before ? [point([before.lon, before.lat], {})] : []);
}
