/** The visits of one day: what was planned, what was found, how sure, how much was seen. Filters are in the address. */

import { get, getUrl, nextPage } from "../client.js";
import { h, replace } from "../dom.js";
import { deskZone, fleet, loaded, now, siteName, siteZone, workerName } from "../fleet.js";
import { clock, dateField, duration, momentClock, number, startOfDate, zoneName } from "../format.js";
import { t } from "../i18n.js";
import {
  emptyState,
  errorState,
  findingChips,
  loadingState,
  miniStrip,
  searchField,
  shareBar,
  siteLink,
  verdictBadge,
  VERDICTS,
  visitHref,
  workerLink,
} from "../widgets.js";
import { fetchStays, paintStays } from "./stays.js";

const PAGE = 500;
const SEARCH_PAUSE_MS = 300;
const MATCHES_MAX = 40;
const BEFORE_NOW_ROWS = 12;
const DAY_MS = 86_400_000;

export function mount(root, route) {
  const view = { root, route, items: [], next: null, state: "loading", failure: null, stop: new AbortController() };
  buildPage(view);
  load(view);
  return {
    update: (kinds) => kinds.has("visits") && refresh(view),
    navigate(next) {
      view.route = next;
      if (document.activeElement !== view.search) view.search.value = next.query.get("q") ?? "";
      load(view);
      return true;
    },
    unmount() {
      clearTimeout(view.typing);
      view.stop.abort();
    },
  };
}

function dayOf(view) {
  return view.route.query.get("day") ?? dateField(now(), deskZone());
}

function verdictsOf(view) {
  return new Set((view.route.query.get("verdict") ?? "").split(",").filter(Boolean));
}

function buildPage(view) {
  view.toolbar = h("div", { class: "toolbar" });
  // One field for the life of the view: the toolbar is built anew while somebody types into it.
  view.search = searchField(t("visits.search"), view.route.query.get("q") ?? "", (text) => {
    clearTimeout(view.typing);
    view.typing = setTimeout(() => go(view, { q: text.trim() || null }), SEARCH_PAUSE_MS);
  });
  view.body = h("div", { class: "scroll" });
  view.stays = h("section", { class: "beside", hidden: true });
  replace(view.root, h("div", { class: "page" }, view.toolbar, view.body, view.stays));
  buildToolbar(view);
  paint(view);
}

function buildToolbar(view) {
  const zone = deskZone();
  const day = dayOf(view);
  const step = (days) => dateField(startOfDate(day, zone) + days * DAY_MS + DAY_MS / 2, zone);
  const chosen = verdictsOf(view);
  const verdicts = VERDICTS.map((verdict) =>
    h(
      "button",
      { type: "button", "aria-pressed": String(chosen.has(verdict)), onclick: () => toggleVerdict(view, verdict) },
      verdictBadge(verdict),
    ),
  );
  view.shown = h("span", { class: "muted" });
  const isTyping = document.activeElement === view.search;
  replace(
    view.toolbar,
    h("h1", {}, t("visits.title")),
    h(
      "span",
      { class: "segments" },
      h(
        "button",
        {
          type: "button",
          title: t("common.previous"),
          "aria-label": t("common.previous"),
          onclick: () => go(view, { day: step(-1) }),
        },
        "‹",
      ),
      h("input", {
        type: "date",
        value: day,
        "aria-label": t("common.day"),
        required: true,
        onchange: (event) => event.target.value && go(view, { day: event.target.value }),
      }),
      h(
        "button",
        { type: "button", title: t("common.next"), "aria-label": t("common.next"), onclick: () => go(view, { day: step(1) }) },
        "›",
      ),
    ),
    h("button", { type: "button", onclick: () => go(view, { day: null }) }, t("common.today")),
    h("span", { class: "segments" }, verdicts),
    view.search,
    h("span", { class: "gap" }),
    view.shown,
    h("span", { class: "muted" }, zonesAgree() ? t("common.zone", { zone: zoneName(zone) }) : t("common.zoneEach")),
  );
  if (isTyping) view.search.focus();
}

function zonesAgree() {
  return new Set([...fleet.sites.values()].map((site) => site.properties?.timezone)).size <= 1;
}

function toggleVerdict(view, verdict) {
  const chosen = verdictsOf(view);
  if (!chosen.delete(verdict)) chosen.add(verdict);
  go(view, { verdict: [...chosen].join(",") || null });
}

function go(view, changes) {
  const query = new URLSearchParams(view.route.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  const hash = `#/visits${query.size ? `?${query}` : ""}`;
  // A search in progress is no place to go back to.
  if ("q" in changes) location.replace(hash);
  else location.hash = hash;
}

function parameters(view) {
  const from = startOfDate(dayOf(view), deskZone());
  return {
    from: new Date(from).toISOString(),
    to: new Date(from + DAY_MS).toISOString(),
    verdict: [...verdictsOf(view)].join(","),
    limit: PAGE,
  };
}

/** What lies beside the plan of the day stands under it, whatever of the plan is chosen. */
async function loadStays(view, signal) {
  const { from, to } = parameters(view);
  const stays = await fetchStays({ from, to, signal });
  if (!signal.aborted) paintStays(view.stays, stays, deskZone(), { withWorker: true });
}

async function load(view) {
  view.stop.abort();
  const { signal } = (view.stop = new AbortController());
  try {
    await loaded(); // The desk's day begins when the sites' zone says so.
    if (signal.aborted) return;
    buildToolbar(view);
    loadStays(view, signal);
    Object.assign(view, await find(view, signal), { state: "ready" });
  } catch (failure) {
    if (signal.aborted) return;
    Object.assign(view, { state: "failed", failure });
  }
  paint(view);
}

/** A page of the day's visits; with a search, those of the workers and at the sites whose names match, whatever page they are on. */
async function find(view, signal) {
  const wanted = searchOf(view);
  const given = parameters(view);
  if (!wanted) {
    const answer = await get("visits", given, { signal });
    return { items: answer.items, next: nextPage(answer) };
  }
  const worker = matching(fleet.workers.keys(), workerName, wanted);
  const site = matching(fleet.sites.keys(), siteName, wanted);
  const asked = [worker.length && { worker }, site.length && { site }].filter(Boolean);
  const answers = await Promise.all(asked.map((who) => get("visits", { ...given, ...who }, { signal })));
  const named = [...fleet.visits.values()].filter((visit) => visit.id.toLowerCase().includes(wanted));
  const found = new Map(
    [...answers.flatMap((answer) => answer.items), ...named.filter(isWithin(given))].map((visit) => [visit.id, visit]),
  );
  return { items: [...found.values()].sort((a, b) => Date.parse(a.starts_at) - Date.parse(b.starts_at)), next: null };
}

function searchOf(view) {
  return (view.route.query.get("q") ?? "").toLowerCase();
}

function matching(ids, nameOf, wanted) {
  return [...ids]
    .filter((id) => id.toLowerCase().includes(wanted) || nameOf(id).toLowerCase().includes(wanted))
    .slice(0, MATCHES_MAX);
}

function isWithin({ from, to, verdict }) {
  const verdicts = verdict.split(",").filter(Boolean);
  return (visit) =>
    visit.starts_at >= from && visit.starts_at < to && (!verdicts.length || verdicts.includes(visit.outcome.verdict));
}

async function loadMore(view) {
  const answer = await getUrl(view.next, { signal: view.stop.signal });
  view.items.push(...answer.items);
  view.next = nextPage(answer);
  paint(view);
}

/** What the live stream brought, put into the rows that are there: the order and the page stay, and a click is not lost. */
function refresh(view) {
  for (const [n, visit] of view.items.entries()) {
    const newer = fleet.visits.get(visit.id);
    if (!newer || newer.outcome?.version === visit.outcome?.version) continue;
    view.items[n] = newer;
    view.body.querySelector(`tr[data-id="${CSS.escape(visit.id)}"]`)?.replaceWith(visitRow(newer, true));
  }
}

function paint(view) {
  if (view.state === "loading") return replace(view.body, loadingState());
  if (view.state === "failed")
    return replace(
      view.body,
      errorState(view.failure, () => load(view)),
    );
  const rows = view.items;
  view.shown.textContent = t("common.shown", { n: number(rows.length) });
  if (!rows.length) {
    const filtered = searchOf(view) || verdictsOf(view).size;
    return replace(
      view.body,
      emptyState(t(filtered ? "visits.noMatch" : "visits.none"), t(filtered ? "visits.noMatchHint" : "visits.noneHint")),
    );
  }
  const more =
    view.next && h("div", { class: "foot" }, h("button", { type: "button", onclick: () => loadMore(view) }, t("common.more")));
  const scrolled = view.body.scrollTop;
  replace(view.body, visitTable(rows), more);
  view.body.scrollTop = scrolled;
  if (view.placed !== location.hash) scrollToNow(view, rows);
  view.placed = location.hash;
}

/** A day that has begun opens where it is: with what comes next at the foot of the first screen. */
function scrollToNow(view, rows) {
  const next = rows.findIndex((visit) => Date.parse(visit.starts_at) > now());
  if (next <= BEFORE_NOW_ROWS) return;
  const row = view.body.querySelectorAll("tbody tr")[next - BEFORE_NOW_ROWS];
  view.body.scrollTop = row.offsetTop - view.body.querySelector("thead").offsetHeight;
}

/** The table of visits, also for a site's page. */
export function visitTable(visits, { withSite = true } = {}) {
  const heads = [
    ["visits.planned"],
    ["common.worker"],
    withSite && ["common.site"],
    ["common.service", "col-service"],
    ["visits.verdict"],
    ["visits.course"],
    ["visits.arrived", "number"],
    ["visits.left", "number"],
    ["visits.onSite", "number"],
    ["visits.coverage"],
    ["visits.findings"],
  ].filter(Boolean);
  return h(
    "table",
    { class: "folding visits" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        heads.map(([key, kind]) => h("th", { class: kind, scope: "col" }, t(key))),
      ),
    ),
    h(
      "tbody",
      {},
      visits.map((visit) => visitRow(visit, withSite)),
    ),
  );
}

function visitRow(visit, withSite) {
  const zone = siteZone(visit.site);
  const outcome = visit.outcome ?? { verdict: "pending", findings: [] };
  const ended = outcome.left_at
    ? moment(outcome.left_at, zone)
    : outcome.arrived_at && outcome.verdict === "pending"
      ? h("span", { class: "muted" }, t("visits.ongoing"))
      : "–";
  return h(
    "tr",
    {
      class: "linked",
      "data-id": visit.id,
      onclick: (event) => event.target.closest("a") || (location.hash = visitHref(visit.id)),
    },
    h(
      "td",
      { class: "cell-when" },
      h(
        "a",
        { href: visitHref(visit.id), title: visit.id },
        `${clock(Date.parse(visit.starts_at), zone)}–${clock(Date.parse(visit.ends_at), zone)}`,
      ),
    ),
    h("td", { class: "cell-who" }, workerLink(visit.worker)),
    withSite && h("td", { class: "cell-where" }, siteLink(visit.site)),
    h("td", { class: "col-service" }, t(`service.${visit.service}`)),
    h("td", { class: "cell-verdict" }, verdictBadge(outcome.verdict)),
    h("td", {}, miniStrip(visit)),
    h("td", { class: "number" }, moment(outcome.arrived_at, zone)),
    h("td", { class: "number" }, ended),
    h("td", { class: "number" }, outcome.on_site_s?.upper > 0 ? withBounds(outcome.on_site_s) : "–"),
    h("td", { class: "cell-share" }, shareBar(outcome.coverage, fleet.settings.coverage_target)),
    h("td", { class: "cell-found" }, h("span", { class: "chips" }, findingChips(outcome.findings))),
  );
}

function moment(value, zone) {
  if (!value) return "–";
  const said = momentClock(value, zone);
  if (value.earliest === null || value.latest === null) return said;
  const spread = (Date.parse(value.latest) - Date.parse(value.earliest)) / 2000;
  return [said, h("span", { class: "sub" }, ` ±${duration(spread)}`)];
}

function withBounds({ best, lower, upper }) {
  return h(
    "span",
    { title: t("visit.between", { a: duration(lower), b: duration(upper) }) },
    duration(best),
    h("span", { class: "sub" }, ` ±${duration((upper - lower) / 2)}`),
  );
}
