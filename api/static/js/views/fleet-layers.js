/** What the live map shows of the fleet: fences by the state of their visit, workers with tails, the way of the selected one. */

import { fleet, siteName, siteState } from "../fleet.js";
import { centre, distance, fence, line, pixelsAtZoom24, point } from "../geo.js";

const FADE_S = 900;
const TRAIL_JUMP_M = 2000;

/** `drawn` is the caller's note of what the map has: thousands of fences are not sent to it again when none has changed. */
export function drawSites(map, running, drawn) {
  const states = [...fleet.sites.keys()].map((id) => siteState(running.bySite.get(id)));
  const signature = states.join();
  if (signature === drawn.states && fleet.sites === drawn.sites) return;
  Object.assign(drawn, { states: signature, sites: fleet.sites });
  const fences = [];
  const places = [];
  for (const [n, site] of [...fleet.sites.values()].entries()) {
    const properties = { site: site.id, title: siteName(site.id), state: states[n], selected: false };
    fences.push({ type: "Feature", geometry: fence(site), properties });
    places.push(point(centre(site.geometry), properties));
  }
  map.set("fences", fences);
  map.set("places", places);
}

/** `people` as of `people.arrange`; `chosen` is one like them, or undefined. */
export function drawWorkers(map, people, chosen) {
  const shown = people.filter((person) => person.position && person.id !== chosen?.id);
  map.set("workers", shown.map(workerFeature));
  map.set("chosen", chosen?.position ? [workerFeature(chosen)] : []);
  map.set("tails", shown.filter(({ id }) => fleet.tails.get(id)?.length > 1).map(tail));
}

/** The fetched part of a way, and what the stream has added to it since. */
export function drawTrail(map, worker, fetched) {
  const newer = (fleet.tails.get(worker) ?? []).filter((fix) => fix.atMs > (fetched.at(-1)?.atMs ?? Infinity));
  map.set("trail", unbroken([...fetched, ...newer]));
}

function tail({ id, state }) {
  const way = fleet.tails.get(id).map(({ at }) => at);
  return line(way, null, { state });
}

/** Lines that do not cross a jump: nobody was seen in between. */
function unbroken(trail) {
  const pieces = [[]];
  for (const { at } of trail) {
    const piece = pieces.at(-1);
    if (piece.length && distance(piece.at(-1), at) > TRAIL_JUMP_M) pieces.push([at]);
    else piece.push(at);
  }
  return pieces.filter((piece) => piece.length > 1).map((piece) => line(piece));
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
