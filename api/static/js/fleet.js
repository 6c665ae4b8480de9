/**
 * What the desk knows: sites, workers, newest positions, the visits of these hours, open alerts.
 *
 * Rules kept here:
 *
 * - One copy, filled by HTTP and kept current by the live stream. Views read it and are told what kind of thing changed.
 * - Views are told at most twice a second, however fast events come.
 * - Missing events are not guessed at: everything is fetched again.
 */

import { all, get, Problem } from "./client.js";
import { distance } from "./geo.js";
import { follow } from "./live.js";

const TELL_EACH_MS = 500;
const STREAM_PATIENCE_MS = 2500;
const SILENT_AFTER_S = 900;
const NEWCOMERS_MS = 3000; // Plans come in thousands: they are asked for when they have settled.
const TAIL_S = 600;
const TAIL_MAX = 40;
const TAIL_JUMP_M = 1500; // A tail that jumps so far is a lie about the way between.
const VISITS_BACK_MS = 12 * 3_600_000;
const VISITS_AHEAD_MS = 12 * 3_600_000;
const RUNNING_GRACE_MS = 30 * 60_000;

export const fleet = {
  settings: { coverage_target: 0.95 },
  sites: new Map(),
  workers: new Map(),
  positions: new Map(),
  visits: new Map(),
  alerts: new Map(),
  tails: new Map(),
  stream: "connecting",
  clockAheadMs: 0,
  loaded: false,
  failure: null,
};

const listeners = new Set();
let dirty = new Set();
let teller = null;
let newcomers = null;
const askedFor = new Set();
let held = null;
let wantedAgain = false;

/** `listener(kinds)` with kinds of: sites workers positions visits alerts devices stream. Answers a function that ends it. */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Follows the stream and fetches everything once it listens; where streams do not get through, the page fetches without one. */
export function start() {
  const patience = setTimeout(refetch, STREAM_PATIENCE_MS);
  follow({
    onEvent: take,
    onState(state) {
      fleet.stream = state;
      tellNow("stream");
    },
    onMissed() {
      clearTimeout(patience);
      refetch();
    },
  });
}

/** Resolves when names, zones and settings are here: what a view needs before it can say anything well. */
export async function loaded() {
  if (fleet.loaded) return;
  await new Promise((resolve) => {
    const end = subscribe(() => {
      if (!fleet.loaded) return;
      end();
      resolve();
    });
  });
}

/** Fetches everything again. A call while one is under way means that it is not new enough: it is done once more. */
export async function refetch() {
  if (held) {
    wantedAgain = true;
    return;
  }
  held = [];
  do {
    wantedAgain = false;
    await fetchAll();
  } while (wantedAgain);
  const events = held;
  held = null;
  for (const [kind, data] of events) take(kind, data);
}

/** Positions come first: they are what the desk looks at. */
async function fetchAll() {
  try {
    fleet.settings = { ...fleet.settings, ...(await settings()) };
    await Promise.all([fetchSites(), fetchWorkers(), fetchPositions(), fetchAlerts()]);
    fleet.loaded = true;
    fleet.failure = null;
    tellNow("sites", "workers", "positions", "alerts", "devices");
    await fetchVisits();
    tellNow("visits");
  } catch (failure) {
    if (!(failure instanceof Problem) && !(failure instanceof TypeError) && !(failure instanceof DOMException)) throw failure;
    fleet.failure = failure;
    tellNow("stream");
  }
}

/** The server's clock: what an age is counted against, whatever this computer believes. */
export function now() {
  return Date.now() + fleet.clockAheadMs;
}

export function workerName(id) {
  return fleet.workers.get(id)?.name || id;
}

export function siteName(id) {
  return fleet.sites.get(id)?.properties?.name || id;
}

export function siteZone(id) {
  return fleet.sites.get(id)?.properties?.timezone || deskZone();
}

/** The zone of most sites: what `today` means to this desk. */
export function deskZone() {
  const counts = new Map();
  for (const site of fleet.sites.values()) {
    const zone = site.properties?.timezone;
    if (zone) counts.set(zone, (counts.get(zone) ?? 0) + 1);
  }
  const [zone] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [Intl.DateTimeFormat().resolvedOptions().timeZone];
  return zone;
}

/** on, off, unknown or silent. Someone between visits who reports is travelling or off: nothing is undecided then. */
export function workerState(position, at) {
  if (!position || position.online === false || ageOf(position, at) > SILENT_AFTER_S) return "silent";
  if (position.presence === "on") return "on";
  return position.visit && position.presence === "unknown" ? "unknown" : "off";
}

export function ageOf(position, at) {
  return (at - position.atMs) / 1000;
}

/** The visit that a site or a worker is in now, or null: planned for now, or begun and not yet left. */
export function runningVisit(visits, at) {
  const running = [...visits].filter((visit) => {
    const [starts, ends] = [Date.parse(visit.starts_at), Date.parse(visit.ends_at)];
    return starts <= at && (at < ends || (at < ends + RUNNING_GRACE_MS && visit.outcome?.arrived_at && !visit.outcome.left_at));
  });
  return running.sort((a, b) => Date.parse(b.starts_at) - Date.parse(a.starts_at))[0] ?? null;
}

/** on, off, unknown or idle: is the one who should be here now, here? */
export function siteState(visit) {
  if (!visit) return "idle";
  const position = fleet.positions.get(visit.worker);
  if (position?.visit === visit.id) return position.presence;
  return visit.outcome?.presence?.at(-1)?.state ?? "unknown";
}

/** `{worker, lon, lat, atMs, …properties}` of a position Feature. */
export function positionOf(feature) {
  const [lon, lat] = feature.geometry.coordinates;
  return { ...feature.properties, lon, lat, atMs: Date.parse(feature.properties.at) };
}

export function isOpen(alert) {
  return !alert.acknowledged && !alert.cleared;
}

/** Repaints what depends on nothing but the passing of time and the reader's language. */
export function tellNow(...kinds) {
  for (const kind of kinds) dirty.add(kind);
  clearTimeout(teller);
  teller = null;
  tell();
}

async function settings() {
  const asked = Date.now();
  const told = await get("settings");
  const middle = (asked + Date.now()) / 2;
  // Within a second both clocks agree as well as the way there and back lets us know.
  const ahead = told.time ? Date.parse(told.time) - middle : 0;
  fleet.clockAheadMs = Math.abs(ahead) > 1000 ? ahead : 0;
  return told;
}

async function fetchSites() {
  const features = await all("sites", { limit: 500 });
  fleet.sites = new Map(features.map((site) => [siteId(site), { ...site, id: siteId(site) }]));
}

function siteId(site) {
  return site.id ?? site.properties.id;
}

async function fetchWorkers() {
  const workers = await all("workers", { limit: 500 });
  fleet.workers = new Map(workers.map((worker) => [worker.id, worker]));
}

async function fetchPositions() {
  const features = await all("positions", { limit: 500 });
  fleet.positions = new Map();
  for (const feature of features) takePosition(feature);
}

async function fetchAlerts() {
  const alerts = await all("alerts", { limit: 500 }, { max: 1000 });
  fleet.alerts = new Map(alerts.map((alert) => [alert.id, alert]));
}

async function fetchVisits() {
  const from = new Date(now() - VISITS_BACK_MS).toISOString();
  const to = new Date(now() + VISITS_AHEAD_MS).toISOString();
  const visits = await all("visits", { from, to, limit: 500 });
  fleet.visits = new Map(visits.map((visit) => [visit.id, visit]));
}

function take(kind, data) {
  if (data === null) return;
  if (held) {
    // An answer that is on its way may be older than this event, and must not overwrite it.
    held.push([kind, data]);
    return;
  }
  const things = Array.isArray(data) ? data : (data.features ?? data.items ?? [data]);
  for (const thing of things) {
    if (kind === "position") takePosition(thing);
    else if (kind === "visit") takeThing(fleet.visits, thing);
    else if (kind === "alert") takeThing(fleet.alerts, thing);
  }
  if (things.some(isNews)) newcomers ??= setTimeout(meetNewcomers, NEWCOMERS_MS);
  const name = { position: "positions", visit: "visits", alert: "alerts", device: "devices" }[kind];
  if (name) tellSoon(name);
}

/** Whether something speaks of a worker or a site that was planned after the page was loaded. Each is asked for once. */
function isNews(thing) {
  const { worker, site } = thing.properties ?? thing;
  const unknown = [worker && !fleet.workers.has(worker) && `worker ${worker}`, site && !fleet.sites.has(site) && `site ${site}`];
  const fresh = unknown.filter((id) => id && !askedFor.has(id));
  for (const id of fresh) askedFor.add(id);
  return fresh.length > 0;
}

async function meetNewcomers() {
  newcomers = null;
  await refetch();
}

function takeThing(things, thing) {
  if (thing.deleted) things.delete(thing.id);
  else things.set(thing.id, thing);
}

function takePosition(feature) {
  if (!feature.geometry) return;
  const position = positionOf(feature);
  fleet.positions.set(position.worker, position);
  const tail = (fleet.tails.get(position.worker) ?? []).filter((point) => position.atMs - point.atMs < TAIL_S * 1000);
  const last = tail.at(-1);
  if (last && position.atMs <= last.atMs) return;
  const here = { at: [position.lon, position.lat], atMs: position.atMs };
  const jumped = last && distance(last.at, here.at) > TAIL_JUMP_M;
  fleet.tails.set(position.worker, jumped ? [here] : [...tail, here].slice(-TAIL_MAX));
}

function tellSoon(kind) {
  dirty.add(kind);
  teller ??= setTimeout(() => {
    teller = null;
    requestAnimationFrame(tell);
  }, TELL_EACH_MS);
}

function tell() {
  const kinds = dirty;
  dirty = new Set();
  if (kinds.size) for (const listener of [...listeners]) listener(kinds);
}
