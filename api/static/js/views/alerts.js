/** Exceptions that want a person: the open ones first, one button to say that somebody has seen to it. */

import { post, Problem } from "../client.js";
import { h, replace } from "../dom.js";
import { deskZone, fleet, isOpen, now, siteZone, tellNow } from "../fleet.js";
import { age, dayAndClock, whenever } from "../format.js";
import { language, t } from "../i18n.js";
import { emptyState, loadingState, siteLink, toast, visitHref, workerLink } from "../widgets.js";

const SEVERITIES = ["critical", "warning", "info"];

export function mount(root, route) {
  const view = {
    root,
    done: route.query.get("done") === "1",
    toolbar: h("div", { class: "toolbar" }),
    body: h("div", { class: "scroll" }),
  };
  replace(root, h("div", { class: "page" }, view.toolbar, view.body));
  paint(view);
  return {
    update: (kinds) => (kinds.has("alerts") || kinds.has("sites")) && paint(view),
    navigate(next) {
      view.done = next.query.get("done") === "1";
      paint(view);
      return true;
    },
  };
}

function paint(view) {
  const tab = (done, key) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(view.done === done),
        onclick: () => (location.hash = done ? "#/alerts?done=1" : "#/alerts"),
      },
      t(key),
    );
  replace(
    view.toolbar,
    h("h1", {}, t("alerts.title")),
    h("span", { class: "segments" }, tab(false, "alerts.open"), tab(true, "alerts.done")),
  );
  if (!fleet.loaded) return replace(view.body, loadingState());
  const chosen = [...fleet.alerts.values()].filter((alert) => isOpen(alert) !== view.done);
  chosen.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || Date.parse(b.at) - Date.parse(a.at));
  if (!chosen.length)
    return replace(
      view.body,
      view.done ? emptyState(t("alerts.noneDone"), "") : emptyState(t("alerts.none"), t("alerts.noneHint")),
    );
  const heads = ["alerts.what", "alerts.when", "common.worker", "common.site", "alerts.about", null];
  replace(
    view.body,
    h(
      "table",
      { class: "folding alerts" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((key) => h("th", { scope: "col" }, key && t(key))),
        ),
      ),
      h(
        "tbody",
        {},
        chosen.map((alert) => row(view, alert)),
      ),
    ),
  );
}

function row(view, alert) {
  const zone = alert.site ? siteZone(alert.site) : deskZone();
  const at = Date.parse(alert.at);
  return h(
    "tr",
    { "data-severity": alert.severity, class: isOpen(alert) ? null : "done" },
    h(
      "td",
      { class: "wide cell-what" },
      h("b", {}, t(`alert.${alert.kind}`)),
      " ",
      h("span", { class: "sub" }, t(`severity.${alert.severity}`)),
      sentence(alert),
    ),
    h("td", { class: "cell-when" }, whenever(at, zone), h("span", { class: "sub" }, ` · ${t("unit.ago", { age: age((now() - at) / 1000) })}`)),
    h("td", { class: "cell-who" }, alert.worker ? workerLink(alert.worker) : "–"),
    h("td", { class: "cell-where" }, alert.site ? siteLink(alert.site) : "–"),
    h("td", { class: "cell-about" }, alert.visit ? h("a", { href: visitHref(alert.visit) }, alert.visit) : (alert.device ?? "–")),
    h("td", { class: "number cell-state" }, state(view, alert, zone)),
  );
}

/** What the engine said of it, where it said it in words. */
function sentence(alert) {
  const text = alert.detail?.[language()] ?? alert.detail?.explanation?.[language()];
  return typeof text === "string" ? h("div", { class: "sub" }, text) : null;
}

function state(view, alert, zone) {
  if (alert.acknowledged) return t("alerts.acknowledged", { when: dayAndClock(Date.parse(alert.acknowledged.at), zone) });
  if (alert.cleared) return t("alerts.cleared");
  return h("button", { type: "button", onclick: (event) => acknowledge(event.target, alert) }, t("alerts.acknowledge"));
}

async function acknowledge(button, alert) {
  button.disabled = true;
  try {
    fleet.alerts.set(alert.id, await post(`alerts/${encodeURIComponent(alert.id)}/acknowledge`));
    tellNow("alerts");
  } catch (failure) {
    if (!(failure instanceof Problem) && !(failure instanceof TypeError)) throw failure;
    button.disabled = false;
    toast(`${t("common.failed")}: ${failure.message}`);
  }
}
