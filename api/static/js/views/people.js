/** Who is shown in the live list, in which order: everybody with a name or a position, filtered and sorted as the reader chose. */

import { ageOf, fleet, runningVisit, siteName, workerName, workerState } from "../fleet.js";

export const STATES = ["on", "off", "unknown", "silent"];
export const SORTS = ["sortName", "sortState", "sortAge"];
const collator = new Intl.Collator(undefined, { numeric: true });

/** The visits that run now, by site and by worker. */
export function indexRunning(at) {
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
export function everybody(at, running) {
  const ids = new Set([...fleet.workers.keys(), ...fleet.positions.keys()]);
  return [...ids].map((id) => {
    const position = fleet.positions.get(id);
    return {
      id,
      name: workerName(id),
      position,
      state: workerState(position, at),
      age: position ? ageOf(position, at) : null,
      visit: running.byWorker.get(id) ?? null,
    };
  });
}

/** `{search, state, sort}`: what the reader typed, the one state that is shown or null, one of SORTS. */
export function arrange(people, { search, state, sort }) {
  const wanted = search.trim().toLowerCase();
  const matches = (person) =>
    !wanted ||
    [person.name, person.id, person.visit?.id, person.visit && siteName(person.visit.site)].some((text) =>
      text?.toLowerCase().includes(wanted),
    );
  const kept = people.filter((person) => (!state || person.state === state) && matches(person));
  const byName = (a, b) => collator.compare(a.name, b.name) || collator.compare(a.id, b.id);
  const orders = {
    sortName: byName,
    sortState: (a, b) => STATES.indexOf(b.state) - STATES.indexOf(a.state) || byName(a, b),
    sortAge: (a, b) => (a.age ?? Infinity) - (b.age ?? Infinity) || byName(a, b),
  };
  return kept.sort(orders[sort]);
}
