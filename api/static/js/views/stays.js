/** Stays beside the plan: where somebody was for five minutes or more and was not planned to be. For a worker's card and for a day. */

import { all, Problem } from "../client.js";
import { h, replace } from "../dom.js";
import { siteName } from "../fleet.js";
import { clock, duration } from "../format.js";
import { t } from "../i18n.js";
import { siteLink, visitHref, workerLink } from "../widgets.js";

const BESIDE = "unscheduled,ambiguous,unknown_place";
const SHOWN_MAX = 500;

/** The stays beside the plan that begin in `[from, to)`, of one worker or of all; null when the server does not tell. */
export async function fetchStays({ from, to, worker, signal }) {
  const span = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
  try {
    const found = await all("stays", { ...span, worker, kind: BESIDE, limit: SHOWN_MAX }, { signal, max: SHOWN_MAX });
    return found.map((stay) => stay.properties);
  } catch (failure) {
    // What lies beside the plan is an addition: the plan is whole without it, and the header says when the server is away.
    if (failure instanceof Problem || failure instanceof TypeError || failure instanceof DOMException) return null;
    throw failure;
  }
}

/** Fills an element with stays under a heading, and hides it when there are none. */
export function paintStays(element, stays, zone, { withWorker = false } = {}) {
  element.hidden = !stays?.length;
  if (element.hidden) return;
  const row = (stay) =>
    h(
      "li",
      { class: "stay", "data-kind": stay.kind },
      h("span", { class: "number" }, `${moment(stay.start_at, zone)}–${stay.ongoing ? "" : moment(stay.end_at, zone)}`),
      withWorker && workerLink(stay.worker),
      h("span", {}, t(`stay.${stay.kind}`)),
      h("span", { class: "what" }, places(stay)),
      h("span", { class: "number muted" }, duration(stay.duration_s)),
      stay.instead_of && h("a", { href: visitHref(stay.instead_of) }, t("stays.insteadOf")),
      stay.visit && h("a", { href: visitHref(stay.visit) }, t("stays.otherTime")),
    );
  replace(element, h("h3", {}, t("stays.title")), h("ul", { class: "stays" }, stays.map(row)));
}

function moment(at, zone) {
  return clock(Date.parse(at), zone);
}

function places(stay) {
  if (stay.site) return siteLink(stay.site);
  return stay.sites.map(siteName).join(" / ");
}
