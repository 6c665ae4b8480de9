/** The live view: who is where, as a list and as a map that select each other. */

import { all, Problem } from "../client.js";
import { h, replace, setText } from "../dom.js";
import { fleet, loaded, now } from "../fleet.js";
import { number } from "../format.js";
import { centre, mostOf } from "../geo.js";
import { t } from "../i18n.js";
import { createMap, NoMap } from "../map.js";
import { emptyState, loadingState, searchField } from "../widgets.js";
import { drawSites, drawTrail, drawWorkers } from "./fleet-layers.js";
import { arrange, everybody, indexRunning, SORTS, STATES } from "./people.js";
import { workerCard } from "./worker-card.js";
import { workerList } from "./worker-list.js";

const TRAIL_MS = 2 * 3_600_000;
const TRAIL_FIXES_MAX = 5000;
const AGES_EACH_MS = 5000;

/** What a reader chose, kept while the page lives: coming back shows the same map and the same filter. */
const memory = { camera: null, search: "", state: null, sort: "sortName", follow: false };

export function mount(root, route) {
  const view = { root, selected: null, map: null, fitted: Boolean(memory.camera), gone: false, trail: [], rows: [], drawn: {} };
  buildPage(view);
  placeMap(view);
  const clockTick = setInterval(() => paint(view), AGES_EACH_MS);
  selectWorker(view, route.params.worker ?? null);
  return {
    update: () => paint(view),
    navigate(next) {
      selectWorker(view, next.params.worker ?? null);
      return true;
    },
    unmount() {
      view.gone = true;
      clearInterval(clockTick);
      view.list.stop();
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
  const sorts = SORTS.map((sort) => h("option", { value: sort, selected: sort === memory.sort }, t(`live.${sort}`)));
  const sort = h("select", { "aria-label": t("live.sort"), onchange: (event) => sortBy(view, event.target.value) }, sorts);
  view.chips = Object.fromEntries([null, ...STATES].map((state) => [state ?? "all", filterChip(view, state)]));
  view.list = workerList();
  view.card = workerCard({ onFollow: () => followWorker(view, !memory.follow) });
  view.canvas = h("div", { class: "map" });
  const fit = h("button", { type: "button", class: "fit", onclick: () => fitFleet(view, true) }, t("live.fit"));
  replace(
    view.root,
    h(
      "section",
      { class: "side" },
      h("div", { class: "filters" }, Object.values(view.chips)),
      h("div", { class: "tools" }, search, sort),
      view.list.element,
    ),
    h("section", { class: "stage" }, view.canvas, fenceLegend(), fit, view.card.element),
  );
}

function filterChip(view, state) {
  const name = state ? [h("i", { class: "dot", "data-state": state }), t(`state.${state}`)] : t("common.all");
  return h(
    "button",
    {
      type: "button",
      class: "filter",
      "data-state": state,
      title: state && t(`stateHint.${state}`),
      onclick: () => filterState(view, state),
    },
    h("span", { class: "n" }),
    h("span", { class: "label" }, name),
  );
}

function fenceLegend() {
  const entry = (state) => h("li", {}, h("i", { class: "fence", "data-state": state }), t(`fence.${state}`));
  return h("ul", { class: "legend map-legend" }, ["on", "off", "unknown", "idle"].map(entry));
}

async function placeMap(view) {
  try {
    await loaded(); // Which style is configured is part of the first answer.
    if (view.gone) return;
    view.map = await createMap(view.canvas, {
      settings: fleet.settings,
      camera: memory.camera,
      onPick: pick,
      onDrag: () => followWorker(view, false),
    });
    if (view.gone) return view.map.remove();
    paint(view);
  } catch (failure) {
    if (!(failure instanceof NoMap)) throw failure;
    view.canvas.classList.add("without");
    replace(view.canvas, emptyState(t(`live.${failure.message}`), t(`live.${failure.message}Hint`)));
  }
}

function paint(view) {
  view.running = indexRunning(now());
  view.people = everybody(now(), view.running);
  view.rows = arrange(view.people, memory);
  paintFilters(view);
  paintList(view);
  const chosen = view.people.find((person) => person.id === view.selected);
  view.card.paint(view.selected, chosen, memory.follow);
  if (!view.map) return;
  if (!view.fitted && fleet.loaded) fitFleet(view, false);
  drawSites(view.map, view.running, view.drawn);
  drawWorkers(view.map, view.rows, chosen);
  drawTrail(view.map, view.selected, view.trail);
  if (memory.follow && chosen?.position) view.map.flyTo([chosen.position.lon, chosen.position.lat]);
}

function paintFilters(view) {
  for (const [name, chip] of Object.entries(view.chips)) {
    const count = name === "all" ? view.people.length : view.people.filter((person) => person.state === name).length;
    // Nobody is counted before anybody is known: a zero would be an answer.
    setText(chip.querySelector(".n"), fleet.loaded ? number(count) : number(null));
    chip.setAttribute("aria-pressed", String((memory.state ?? "all") === name));
  }
}

function paintList(view) {
  view.list.paint(view.rows, view.selected);
  if (!fleet.loaded) view.list.say(loadingState());
  else if (!view.people.length) view.list.say(emptyState(t("live.noWorkers"), t("live.noWorkersHint")));
  else if (!view.rows.length) view.list.say(emptyState(t("live.noMatch"), t("live.noMatchHint")));
}

function filterState(view, state) {
  memory.state = memory.state === state ? null : state;
  view.list.toTop();
  paint(view);
}

function sortBy(view, sort) {
  memory.sort = sort;
  paint(view);
}

function pick(thing) {
  if (thing.worker) location.hash = `#/live/worker/${encodeURIComponent(thing.worker)}`;
  else if (thing.site) location.hash = `#/sites/${encodeURIComponent(thing.site)}`;
  else location.hash = "#/live";
}

function selectWorker(view, id) {
  if (view.selected !== id) view.trail = [];
  view.selected = id;
  if (!id) memory.follow = false;
  paint(view);
  if (!id) return;
  view.list.reveal(id);
  const position = fleet.positions.get(id);
  if (view.map && position && !isInSight(view, position)) view.map.flyTo([position.lon, position.lat], 14);
  fetchTrail(view, id);
}

function isInSight(view, position) {
  return view.map.map.getZoom() > 11 && view.map.map.getBounds().contains([position.lon, position.lat]);
}

async function fetchTrail(view, worker) {
  const span = { from: new Date(now() - TRAIL_MS).toISOString(), to: new Date(now()).toISOString() };
  try {
    const track = `workers/${encodeURIComponent(worker)}/track`;
    const fixes = await all(track, { ...span, limit: TRAIL_FIXES_MAX }, { max: TRAIL_FIXES_MAX });
    if (view.selected !== worker || view.gone) return;
    const believed = fixes.filter((fix) => !fix.properties.flags?.length);
    view.trail = believed.map((fix) => ({ at: fix.geometry.coordinates, atMs: Date.parse(fix.properties.at) }));
    if (view.map) drawTrail(view.map, worker, view.trail);
  } catch (failure) {
    // Without a trail the view is still whole; the header says when the server is away.
    if (!(failure instanceof Problem) && !(failure instanceof TypeError) && !(failure instanceof DOMException)) throw failure;
  }
}

function followWorker(view, on) {
  if (memory.follow === on) return;
  memory.follow = on;
  const position = fleet.positions.get(view.selected);
  if (on && view.map && position) view.map.flyTo([position.lon, position.lat], 15);
  paint(view);
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
