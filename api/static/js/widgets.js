/**
 * Small pieces that several views show: badges, bars, states of a list, names as links.
 */

import { Problem } from "./client.js";
import { h, svg } from "./dom.js";
import { siteName, workerName } from "./fleet.js";
import { duration, percent } from "./format.js";
import { t } from "./i18n.js";

export const CAUSES = [
  "ingest_outage",
  "no_device",
  "permission_off",
  "phone_offline",
  "power_save",
  "poor_accuracy",
  "suspect",
  "delayed",
  "silent",
];
export const VERDICTS = ["pending", "verified", "partial", "contradicted", "unknown"];

export function verdictBadge(verdict) {
  return h("span", { class: "badge", "data-verdict": verdict }, t(`verdict.${verdict}`));
}

export function findingChips(findings) {
  return findings.map((finding) => h("span", { class: "chip" }, t(`finding.${finding}`)));
}

export function workerLink(id) {
  return h("a", { href: `#/live/worker/${encodeURIComponent(id)}`, title: id }, workerName(id));
}

export function siteLink(id) {
  return h("a", { href: `#/sites/${encodeURIComponent(id)}`, title: id }, siteName(id));
}

export function visitHref(id) {
  return `#/visits/${encodeURIComponent(id)}`;
}

/** A share as number and bar, with the target as a mark: met or missed is seen before it is read. */
export function shareBar(share, target) {
  if (share === null || share === undefined) return h("span", { class: "share" }, h("span", { class: "figure" }, "–"));
  const bar = h(
    "span",
    { class: "track" },
    h("span", { class: "fill", style: { width: `${share * 100}%` } }),
    h("span", { class: "mark", style: { left: `${target * 100}%` } }),
  );
  return h("span", { class: "share", "data-met": String(share >= target) }, h("span", { class: "figure" }, percent(share)), bar);
}

/** Seconds by cause as one stacked bar of the width that the whole has. */
export function causeBar(seconds, whole) {
  const pieces = CAUSES.filter((cause) => seconds[cause] > 0).map((cause) =>
    h("span", {
      "data-cause": cause,
      style: { width: `${(seconds[cause] / whole) * 100}%` },
      title: `${t(`cause.${cause}`)} ${duration(seconds[cause])}`,
    }),
  );
  return h("span", { class: "causes" }, pieces);
}

export function causeLegend(causes) {
  return h(
    "ul",
    { class: "legend" },
    causes.map((cause) => h("li", {}, h("i", { "data-cause": cause }), t(`cause.${cause}`))),
  );
}

/** A visit's course in a table cell: what presence showed, on the window of its plan. */
export function miniStrip(visit) {
  const [starts, ends] = [Date.parse(visit.starts_at), Date.parse(visit.ends_at)];
  const margin = (ends - starts) * 0.15;
  const [from, to] = [starts - margin, ends + margin];
  const x = (at) => Math.max(0, Math.min(100, ((at - from) / (to - from)) * 100));
  const bar = (start, end, attributes) => svg("rect", { x: x(start), width: Math.max(0, x(end) - x(start)), ...attributes });
  const outcome = visit.outcome ?? {};
  const presence = (outcome.presence ?? []).map((span) =>
    bar(Date.parse(span.start), Date.parse(span.end), { y: 3, height: 8, "data-presence": span.state }),
  );
  const gaps = (outcome.gaps ?? []).map((gap) =>
    bar(Date.parse(gap.start), Date.parse(gap.end), { y: 12.5, height: 2.5, "data-cause": gap.cause }),
  );
  return svg(
    "svg",
    { class: "mini", viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" },
    bar(starts, ends, { y: 0, height: 1.5, class: "plan" }),
    presence,
    gaps,
  );
}

export function emptyState(title, hint, ...actions) {
  return h("div", { class: "empty" }, h("strong", {}, title), h("p", {}, hint), actions);
}

export function errorState(failure, retry) {
  return h(
    "div",
    { class: "empty error", role: "alert" },
    h("strong", {}, t("common.failed")),
    h("p", {}, failure.message),
    retry && h("button", { class: "primary", type: "button", onclick: retry }, t("common.retry")),
  );
}

/** For a page about one thing: that there is no such thing, with a way out, or what went wrong with getting it. */
export function unavailableState(failure, href, place, retry) {
  const gone = failure instanceof Problem && failure.status === 404;
  if (!gone) return errorState(failure, retry);
  return emptyState(t("common.unknownId"), failure.message, h("a", { class: "button", href }, place));
}

export function loadingState() {
  return h("div", { class: "empty loading", "aria-busy": "true" }, t("common.loading"));
}

export function searchField(placeholder, value, oninput) {
  return h("input", {
    type: "search",
    placeholder,
    "aria-label": placeholder,
    value,
    oninput: (event) => oninput(event.target.value),
    autocomplete: "off",
    spellcheck: "false",
  });
}

/** A short word at the foot of the page, for what an action did. */
export function toast(text) {
  const note = h("div", { class: "toast" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), 6000);
}

/** Asks for a sentence; answers null when whoever was asked thinks better of it. */
export function ask({ title, label, hint, ok }) {
  return new Promise((resolve) => {
    const field = h("input", { id: "asked", required: true, maxlength: 200, autocomplete: "off" });
    const cancel = h("button", { type: "button", onclick: () => dialog.close() }, t("common.cancel"));
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", {}, title),
      h("label", { for: "asked" }, label),
      field,
      h("p", { class: "muted" }, hint),
      h("span", { class: "pair" }, h("button", { class: "primary", value: "ok" }, ok), cancel),
    );
    const dialog = h("dialog", {}, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "ok" ? field.value.trim() || null : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
