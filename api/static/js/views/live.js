/**
 * The live view: who is where, as a list and as a map that select each other.
 *
 * The list is windowed: of a thousand workers only the rows in sight are in the page, and each repaint touches those only.
 */

import { all, Problem } from "../client.js";
import { h, replace, setText } from "../dom.js";
import { ageOf, deskZone, fleet, loaded, now, runningVisit, siteName, siteState, workerName, workerState } from "../fleet.js";
import { age, clock, dateField, kmh, metres, percent, startOfDate } from "../format.js";
import { centre, distance, fence, line, mostOf, pixelsAtZoom24, point, points } from "../geo.js";
import { t } from "../i18n.js";
import { createMap, NoMap } from "../map.js";
import { emptyState, loadingState, searchField, verdictBadge, visitHref } from "../widgets.js";

const ROW_PX = 46;
const STATES = ["on", "off", "unknown", "silent"];
const SORTS = ["sortName", "sortState", "sortAge"];
const FADE_S = 900;
const TRAIL_MS = 2 * 3_600_000;
const TRAIL_JUMP_M = 2000;
const collator = new Intl.Collator(undefined, { numeric: true });

/** What a reader chose, kept while the page lives: coming back shows the same map and the same filter. */
const memory = { camera: null, search: "", state: null, sort: "sortName", follow: false };

export function mount(root, route) {
  const view = { root, selected: route.params.worker ?? null, map: null, fitted: Boolean(memory.camera), gone: false, trail: [], rows: [] };
  buildPage(view);
  placeMap(view);
  const clockTick = setInterval(() => paint(view), 5000);
  selectWorker(view, view.selected);
  return {
    update: (kinds) => paint(view, kinds),
    navigate(next) {
      selectWorker(view, next.params.worker ?? null);
      return true;
    },
    unmount() {
      view.gone = true;
      clearInterval(clockTick);
      view.observer.disconnect();
      if (view.map) memory.camera = { center: view.map.map.getCenter(), zoom: view.map.map.getZoom() };
      view.map?.remove();
    },
  };
}

function buildPage(view) {
  const search = searchField(t("live.search"), memory.search, (text) => {
    memory.search = text;
    paint(view);
  });
  view.chips = Object.fromEntries(
    [null, ...STATES].map((state) => [state ?? "all", h("button", { type: "button", class: "filter", "data-state": state, title: state && t(`stateHint.${state}`), onclick: () => filterState(view, state) }, h("span", { class: "n" }), h("span", { class: "label" }, state && h("i", { class: "dot", "data-state": state }), state ? t(`state.${state}`) : t("common.all")))]),
  );
  view.sort = h("select", { "aria-label": t("live.sort"), onchange: (event) => sortBy(view, event.target.value) }, SORTS.map((sort) => h("option", { value: sort, selected: sort === memory.sort }, t(`live.${sort}`))));
  view.spacer = h("div", { class: "spacer" });
  view.list = h("div", { class: "workers", tabindex: "-1", role: "list", onscroll: () => paintRows(view), onkeydown: (event) => stepSelection(view, event) }, view.spacer);
  view.canvas = h("div", { class: "map" });
  view.card = h("section", { class: "card", hidden: true, "aria-live": "off" });
  view.legend = h("ul", { class: "legend map-legend" }, ["on", "off", "unknown", "idle"].map((state) => h("li", {}, h("i", { class: "fence", "data-state": state }), t(`fence.${state}`))));
  view.fit = h("button", { type: "button", class: "fit", onclick: () => fitFleet(view, true) }, t("live.fit"));
  const side = h("section", { class: "side" }, h("div", { class: "filters" }, Object.values(view.chips)), h("div", { class: "tools" }, search, view.sort), view.list);
  replace(view.root, side, h("section", { class: "stage" }, view.canvas, view.legend, view.fit, view.card));
  view.observer = new ResizeObserver(() => paintRows(view));
  view.observer.observe(view.list);
}

async function placeMap(view) {
  try {
    await loaded(); // Which style is configured is part of the first answer.
    if (view.gone) return;
    view.map = await createMap(view.canvas, { settings: fleet.settings, camera: memory.camera, onPick: (thing) => pick(view, thing), onDrag: () => followWorker(view, false) });
    if (view.gone) return view.map.remove();
    paint(view, new Set(["sites", "visits", "positions"]));
    drawTrail(view);
  } catch (failure) {
    if (!(failure instanceof NoMap)) throw failure;
    view.canvas.classList.add("without");
    const webgl = failure.message === "webgl";
    replace(view.canvas, emptyState(t(webgl ? "live.noWebgl" : "live.mapMissing"), t(webgl ? "live.noWebglHint" : "live.mapMissingHint")));
  }
}

function paint(view, kinds = new Set(["positions"])) {
  view.running = indexRunning(now());
  view.people = everybody(now(), view.running);
  paintFilters(view);
  view.rows = arrange(view.people);
  paintRows(view);
  paintCard(view);
  if (!view.map) return;
  if (!view.fitted && fleet.loaded) fitFleet(view, false);
  drawSites(view);
  if (kinds.has("positions") || kinds.has("visits")) drawWorkers(view);
}

function indexRunning(at) {
  const bySite = new Map();
  const byWorker = new Map();
  for (const visit of fleet.visits.values()) {
    if (!runningVisit([visit], at)) continue;
    bySite.set(visit.site, visit);
    byWorker.set(visit.worker, visit);
  }
  return { bySite, byWorker };
}

/** Everybody who has a name or a position: someone unknown who reports is shown too, to be adopted. */
function everybody(at, running) {
  const ids = new Set([...fleet.workers.keys(), ...fleet.positions.keys()]);
  return [...ids].map((id) => {
    const position = fleet.positions.get(id);
    return { id, name: workerName(id), position, state: workerState(position, at), age: position ? ageOf(position, at) : null, visit: running.byWorker.get(id) ?? null };
  });
}

function arrange(people) {
  const wanted = memory.search.trim().toLowerCase();
  const matches = (person) => !wanted || [person.name, person.id, person.visit?.id, person.visit && siteName(person.visit.site)].some((text) => text?.toLowerCase().includes(wanted));
  const kept = people.filter((person) => (!memory.state || person.state === memory.state) && matches(person));
  const byName = (a, b) => collator.compare(a.name, b.name) || collator.compare(a.id, b.id);
  const orders = {
    sortName: byName,
    sortState: (a, b) => STATES.indexOf(b.state) - STATES.indexOf(a.state) || byName(a, b),
    sortAge: (a, b) => (a.age ?? Infinity) - (b.age ?? Infinity) || byName(a, b),
  };
  return kept.sort(orders[memory.sort]);
}

function paintFilters(view) {
  for (const [name, chip] of Object.entries(view.chips)) {
    const count = name === "all" ? view.people.length : view.people.filter((person) => person.state === name).length;
    setText(chip.querySelector(".n"), String(count));
    chip.setAttribute("aria-pressed", String((memory.state ?? "all") === name));
  }
}

function paintRows(view) {
  if (!fleet.loaded) return replace(view.list, loadingState());
  if (!view.rows.length) return replace(view.list, view.people.length ? emptyState(t("live.noMatch"), t("live.noMatchHint")) : emptyState(t("live.noWorkers"), t("live.noWorkersHint")));
  if (view.spacer.parentNode !== view.list) replace(view.list, view.spacer);
  view.spacer.style.height = `${view.rows.length * ROW_PX}px`;
  const first = Math.max(0, Math.floor(view.list.scrollTop / ROW_PX) - 4);
  const last = Math.min(view.rows.length, Math.ceil((view.list.scrollTop + view.list.clientHeight) / ROW_PX) + 4);
  const kept = new Map([...view.spacer.children].map((row) => [row.dataset.id, row]));
  for (let n = first; n < last; n++) {
    const person = view.rows[n];
    const row = kept.get(person.id) ?? newRow(person.id);
    kept.delete(person.id);
    fillRow(row, person, n, person.id === view.selected);
    if (!row.isConnected) view.spacer.append(row);
  }
  for (const row of kept.values()) row.remove();
}

function newRow(id) {
  const [name, when, what] = [h("span", { class: "name" }), h("span", { class: "when" }), h("span", { class: "what" })];
  const row = h("a", { class: "worker", role: "listitem", href: `#/live/worker/${encodeURIComponent(id)}`, "data-id": id }, h("i", { class: "dot" }), name, when, what);
  return Object.assign(row, { parts: { name, when, what } });
}

function fillRow(row, person, n, selected) {
  row.style.top = `${n * ROW_PX}px`;
  row.dataset.state = person.state;
  if (selected) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
  setText(row.parts.name, person.name);
  setText(row.parts.when, person.age === null ? "" : age(person.age));
  setText(row.parts.what, whereabouts(person));
}

/** The second line: where she should be and is, or that there is nothing to be at. */
function whereabouts({ state, visit, position }) {
  if (!position) return t("live.noPosition");
  if (!visit) return state === "silent" ? t("state.silent") : t("live.unplanned");
  return `${siteName(visit.site)} · ${t(state === "off" ? "live.away" : `state.${state}`)}`;
}

function stepSelection(view, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !view.rows.length) return;
  event.preventDefault();
  const at = view.rows.findIndex((person) => person.id === (document.activeElement.dataset?.id ?? view.selected));
  const next = view.rows[Math.max(0, Math.min(view.rows.length - 1, at + step))];
  scrollToRow(view, next.id);
  location.hash = `#/live/worker/${encodeURIComponent(next.id)}`;
  view.spacer.querySelector(`[data-id="${CSS.escape(next.id)}"]`)?.focus();
}

function scrollToRow(view, id) {
  const n = view.rows.findIndex((person) => person.id === id);
  if (n < 0) return;
  const [top, bottom] = [n * ROW_PX, (n + 1) * ROW_PX];
  if (top < view.list.scrollTop) view.list.scrollTop = top;
  else if (bottom > view.list.scrollTop + view.list.clientHeight) view.list.scrollTop = bottom - view.list.clientHeight;
  paintRows(view);
}

function filterState(view, state) {
  memory.state = memory.state === state ? null : state;
  view.list.scrollTop = 0;
  paint(view);
}

function sortBy(view, sort) {
  memory.sort = sort;
  paint(view);
}

function pick(view, thing) {
  if (thing.worker) location.hash = `#/live/worker/${encodeURIComponent(thing.worker)}`;
  else if (thing.site) location.hash = `#/sites/${encodeURIComponent(thing.site)}`;
  else location.hash = "#/live";
}

function selectWorker(view, id) {
  if (view.selected !== id) view.trail = [];
  view.selected = id;
  if (!id) memory.follow = false;
  paint(view);
  if (id) scrollToRow(view, id);
  const position = fleet.positions.get(id);
  if (view.map && position && !isInSight(view, position)) view.map.flyTo([position.lon, position.lat], 14);
  fetchTrail(view, id);
}

function isInSight(view, position) {
  return view.map.map.getZoom() > 11 && view.map.map.getBounds().contains([position.lon, position.lat]);
}

async function fetchTrail(view, worker) {
  drawTrail(view);
  if (!worker) return;
  const from = new Date(now() - TRAIL_MS).toISOString();
  try {
    const fixes = await all(`workers/${encodeURIComponent(worker)}/track`, { from, to: new Date(now()).toISOString(), limit: 5000 }, { max: 5000 });
    if (view.selected !== worker || view.gone) return;
    view.trail = fixes.filter((fix) => !fix.properties.flags?.length).map((fix) => ({ at: fix.geometry.coordinates, atMs: Date.parse(fix.properties.at) }));
    drawTrail(view);
  } catch (failure) {
    if (!(failure instanceof Problem) && !(failure instanceof TypeError) && !(failure instanceof DOMException)) throw failure;
  }
}

function drawTrail(view) {
  if (!view.map) return;
  const newer = (fleet.tails.get(view.selected) ?? []).filter((point) => point.atMs > (view.trail.at(-1)?.atMs ?? Infinity));
  view.map.set("trail", brokenLine([...view.trail, ...newer]));
}

/** A line that is not drawn across a jump: nobody was seen in between. */
function brokenLine(trail) {
  const pieces = [[]];
  for (const { at } of trail) {
    const piece = pieces.at(-1);
    if (piece.length && distance(piece.at(-1), at) > TRAIL_JUMP_M) pieces.push([at]);
    else piece.push(at);
  }
  return pieces.filter((piece) => piece.length > 1).map((piece) => line(piece));
}

function paintCard(view) {
  const person = view.people.find((one) => one.id === view.selected);
  view.card.hidden = !view.selected;
  if (!view.selected) return;
  if (!person) return replace(view.card, cardHead(view.selected, view.selected, "silent"), h("p", { class: "muted" }, fleet.loaded ? t("common.unknownId") : t("common.loading")));
  const fix = person.position;
  const zone = deskZone();
  const facts = fix
    ? [
        [t("live.lastFix"), `${clock(fix.atMs, zone)} · ${t("unit.ago", { age: age(person.age) })}`],
        [t("live.accuracy"), fix.accuracy_m === null || fix.accuracy_m === undefined ? "–" : `± ${metres(fix.accuracy_m)}`],
        [t("live.speed"), kmh(fix.speed_mps)],
        [t("live.battery"), fix.battery === null || fix.battery === undefined ? "–" : `${Math.round(fix.battery * 100)} %`],
        fix.flags?.length ? [t("live.flags"), fix.flags.map((flag) => t(`flag.${flag}`)).join(", ")] : null,
      ].filter(Boolean)
    : [];
  replace(
    view.card,
    cardHead(person.name, person.id, person.state),
    facts.length ? h("dl", { class: "facts" }, facts.map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)])) : h("p", { class: "muted" }, t("live.noPosition")),
    h("div", { class: "actions" }, h("button", { type: "button", "aria-pressed": String(memory.follow), onclick: () => followWorker(view, !memory.follow) }, t(memory.follow ? "live.following" : "live.follow"))),
    h("h3", {}, t("live.today")),
    todaysVisits(person.id, zone),
  );
}

function cardHead(name, id, state) {
  return h("header", { "data-state": state }, h("i", { class: "dot" }), h("div", {}, h("h2", {}, name), h("span", { class: "muted" }, `${id} · ${t(`state.${state}`)}`)), h("a", { class: "button quiet icon", href: "#/live", "aria-label": t("common.close") }, "×"));
}

function todaysVisits(worker, zone) {
  const begin = startOfDate(dateField(now(), zone), zone);
  const todays = [...fleet.visits.values()].filter((visit) => visit.worker === worker && Date.parse(visit.starts_at) >= begin && Date.parse(visit.starts_at) < begin + 86_400_000);
  if (!todays.length) return h("p", { class: "muted" }, t("live.noVisits"));
  todays.sort((a, b) => Date.parse(a.starts_at) - Date.parse(b.starts_at));
  return h("ul", { class: "todays" }, todays.map((visit) => h("li", {}, h("a", { href: visitHref(visit.id) }, h("span", {}, `${clock(Date.parse(visit.starts_at), zone)}–${clock(Date.parse(visit.ends_at), zone)}`), h("span", { class: "what" }, siteName(visit.site)), verdictBadge(visit.outcome?.verdict ?? "pending"), h("span", { class: "number" }, percent(visit.outcome?.coverage))))));
}

function followWorker(view, on) {
  if (memory.follow === on) return;
  memory.follow = on;
  const position = fleet.positions.get(view.selected);
  if (on && view.map && position) view.map.flyTo([position.lon, position.lat], 15);
  paintCard(view);
}

function fitFleet(view, animate) {
  const places = [...fleet.sites.values()].map((site) => centre(site.geometry));
  const people = [...fleet.positions.values()].map((position) => [position.lon, position.lat]);
  const everything = [...places, ...people];
  if (!everything.length || !view.map) return;
  view.fitted = true;
  view.map.fit(mostOf(everything), { padding: 56, animate });
  const position = fleet.positions.get(view.selected);
  if (!animate && position) view.map.flyTo([position.lon, position.lat], 14);
}

function drawSites(view) {
  const fences = [];
  const places = [];
  for (const site of fleet.sites.values()) {
    const properties = { site: site.id, title: siteName(site.id), state: siteState(view.running.bySite.get(site.id)), selected: false };
    fences.push({ type: "Feature", geometry: fence(site), properties });
    places.push(point(centre(site.geometry), properties));
  }
  // Thousands of fences are not sent to the map's worker again when none has changed.
  const signature = fences.map(({ properties }) => properties.site + properties.state).join() + fences.map(({ geometry }) => points(geometry)[0]).join();
  if (signature === view.sitesDrawn) return;
  view.sitesDrawn = signature;
  view.map.set("fences", fences);
  view.map.set("places", places);
}

function drawWorkers(view) {
  const kept = new Set(view.rows.map((person) => person.id));
  const shown = view.people.filter((person) => person.position && kept.has(person.id));
  const features = shown.map((person) => workerFeature(person));
  view.map.set("workers", features.filter((feature) => feature.properties.worker !== view.selected));
  const chosen = view.people.find((person) => person.id === view.selected && person.position);
  view.map.set("chosen", chosen ? [workerFeature(chosen)] : []);
  view.map.set("tails", shown.filter((person) => (fleet.tails.get(person.id)?.length ?? 0) > 1 && person.id !== view.selected).map((person) => line(fleet.tails.get(person.id).map(({ at }) => at), null, { state: person.state })));
  drawTrail(view);
  if (memory.follow && chosen) view.map.flyTo([chosen.position.lon, chosen.position.lat]);
}

function workerFeature({ id, name, position, state, age: seconds }) {
  const moving = position.heading_deg !== null && position.heading_deg !== undefined && (position.speed_mps ?? 1) > 0.5;
  return point([position.lon, position.lat], {
    worker: id,
    title: name,
    state,
    fade: Math.max(0.35, 1 - (0.65 * seconds) / FADE_S),
    ...(moving ? { heading: position.heading_deg } : {}),
    ...(position.accuracy_m ? { pixels: pixelsAtZoom24(position.accuracy_m, position.lat) } : {}),
  });
}
