/**
 * The card of the selected worker: her newest fix, and her day.
 *
 * It is repainted twice a second: what can be pressed stays the same element, or a click between two paints would be lost.
 */

import { h, replace, setText } from "../dom.js";
import { deskZone, fleet, now, siteName } from "../fleet.js";
import { age, clock, dateField, kmh, metres, percent, startOfDate } from "../format.js";
import { t } from "../i18n.js";
import { verdictBadge, visitHref } from "../widgets.js";
import { fetchStays, paintStays } from "./stays.js";

const DAY_MS = 86_400_000;

/** `paint(id, person, isFollowing)`: `person` as of `people.everybody`, undefined when nobody has this id; no id hides the card. */
export function workerCard({ onFollow }) {
  const card = {
    name: h("h2", {}),
    about: h("span", { class: "muted" }),
    facts: h("dl", { class: "facts" }),
    follow: h("button", { type: "button", onclick: onFollow }),
    day: h("div", {}),
    stays: h("div", { hidden: true }),
    drawn: null,
  };
  const close = h("a", { class: "button quiet icon", href: "#/live", "aria-label": t("common.close") }, "×");
  card.head = h("header", {}, h("i", { class: "dot" }), h("div", {}, card.name, card.about), close);
  card.element = h(
    "section",
    { class: "card", hidden: true },
    card.head,
    card.facts,
    h("div", { class: "actions" }, card.follow),
    h("h3", {}, t("live.today")),
    card.day,
    card.stays,
  );
  return { element: card.element, paint: (id, person, isFollowing) => paint(card, id, person, isFollowing) };
}

function paint(card, id, person, isFollowing) {
  card.element.hidden = !id;
  if (!id) return;
  const state = person?.state ?? "silent";
  card.head.dataset.state = state;
  setText(card.name, person?.name ?? id);
  const unknown = fleet.loaded ? t("common.unknownId") : t("common.loading");
  setText(card.about, `${id} · ${person ? t(`state.${state}`) : unknown}`);
  const zone = deskZone();
  replace(
    card.facts,
    facts(person, zone).map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]),
  );
  card.follow.disabled = !person?.position;
  card.follow.setAttribute("aria-pressed", String(isFollowing));
  setText(card.follow, t(isFollowing ? "live.following" : "live.follow"));
  paintDay(card, id, zone);
}

function facts(person, zone) {
  const fix = person?.position;
  if (!fix) return [[t("live.lastFix"), t("live.noPosition")]];
  return [
    [t("live.lastFix"), `${clock(fix.atMs, zone)} · ${t("unit.ago", { age: age(person.age) })}`],
    [t("live.accuracy"), isSaid(fix.accuracy_m) ? `± ${metres(fix.accuracy_m)}` : "–"],
    [t("live.speed"), kmh(fix.speed_mps)],
    [t("live.battery"), isSaid(fix.battery) ? `${Math.round(fix.battery * 100)} %` : "–"],
    ...(fix.flags?.length ? [[t("live.flags"), fix.flags.map((flag) => t(`flag.${flag}`)).join(", ")]] : []),
  ];
}

function isSaid(value) {
  return value !== null && value !== undefined;
}

function paintDay(card, worker, zone) {
  const begin = startOfDate(dateField(now(), zone), zone);
  const isToday = (visit) => Date.parse(visit.starts_at) >= begin && Date.parse(visit.starts_at) < begin + DAY_MS;
  const visits = [...fleet.visits.values()].filter((visit) => visit.worker === worker && isToday(visit));
  visits.sort((a, b) => Date.parse(a.starts_at) - Date.parse(b.starts_at));
  const signature = `${worker} ${visits.map((visit) => visit.id + visit.outcome?.version).join()}`;
  if (signature === card.drawn) return;
  card.drawn = signature;
  const row = (visit) =>
    h(
      "a",
      { href: visitHref(visit.id) },
      h("span", {}, `${clock(Date.parse(visit.starts_at), zone)}–${clock(Date.parse(visit.ends_at), zone)}`),
      h("span", { class: "what" }, siteName(visit.site)),
      verdictBadge(visit.outcome?.verdict ?? "pending"),
      h("span", { class: "number" }, percent(visit.outcome?.coverage)),
    );
  const list = h(
    "ul",
    { class: "todays" },
    visits.map((visit) => h("li", {}, row(visit))),
  );
  replace(card.day, visits.length ? list : h("p", { class: "muted" }, t("live.noVisits")));
  fetchStays({ from: begin, to: begin + DAY_MS, worker }).then((stays) => {
    if (card.drawn === signature) paintStays(card.stays, stays, zone);
  });
}
