/**
 * What could not be taken as evidence: why, the mend, the bytes, and buttons to have it read again or to close it.
 *
 * A wish is acted upon by ingest within seconds, so a list in which something is wanted looks again soon.
 */

import { get, nextPage, getUrl, post, Problem } from "../client.js";
import { h, replace } from "../dom.js";
import { deskZone } from "../fleet.js";
import { whenever } from "../format.js";
import { t } from "../i18n.js";
import { ask, emptyState, errorState, loadingState, toast } from "../widgets.js";

const PAGE_ROWS = 50;
const SOON_MS = 2000;
/** Beyond this, the server does not count the rejects of a reason. */
const COUNTED_MAX = 1000;

/** The section; `onWish` is told when somebody wants something read again. */
export function rejectList(filter, onWish) {
  const view = {
    filter,
    onWish,
    items: null,
    next: null,
    counts: {},
    stop: new AbortController(),
    timer: null,
    bar: h("div", { class: "toolbar rejects" }),
    body: h("div", {}, loadingState()),
  };
  paintBar(view);
  load(view);
  return {
    root: h("section", { "aria-label": t("rejects.title") }, view.bar, view.body),
    count(counts) {
      const grew = JSON.stringify(counts) !== JSON.stringify(view.counts);
      view.counts = counts;
      paintBar(view);
      if (grew && view.items) load(view);
    },
    repaint: () => view.items && paint(view),
    show(chosen) {
      view.filter = chosen;
      view.items = null;
      paintBar(view);
      replace(view.body, loadingState());
      load(view);
    },
    stop() {
      clearTimeout(view.timer);
      view.stop.abort();
    },
  };
}

async function load(view) {
  clearTimeout(view.timer);
  const filter = view.filter;
  try {
    const page = await get(
      "rejects",
      { open: String(!filter.done), reason: filter.reason, limit: PAGE_ROWS },
      { signal: view.stop.signal },
    );
    if (filter !== view.filter) return;
    view.items = page.items;
    view.next = nextPage(page);
    paint(view);
    if (view.items.some((one) => one.replay.wanted_at)) view.timer = setTimeout(() => load(view), SOON_MS);
  } catch (failure) {
    if (view.stop.signal.aborted) return;
    expected(failure);
    replace(
      view.body,
      errorState(failure, () => load(view)),
    );
  }
}

function paintBar(view) {
  const { reason, done } = view.filter;
  const choice = (chosen, shown, text) =>
    h("button", { type: "button", "aria-pressed": String(shown), onclick: () => (location.hash = address(chosen)) }, text);
  // Only open ones are counted.
  const reasons = done ? [] : Object.entries(view.counts);
  if (reason && !reasons.some(([name]) => name === reason)) reasons.push([reason, done ? "" : 0]);
  replace(
    view.bar,
    h("h2", {}, t("rejects.title")),
    h(
      "span",
      { class: "segments" },
      choice({ reason, done: false }, !done, t("rejects.open")),
      choice({ reason, done: true }, done, t("rejects.replayed")),
    ),
    h(
      "span",
      { class: "reasons" },
      choice({ done }, !reason, t("common.all")),
      reasons.map(([name, count]) => choice({ reason: name, done }, reason === name, `${t(`reason.${name}`)} ${counted(count)}`)),
    ),
    h("span", { class: "gap" }),
    !done && reasons.length
      ? h(
          "button",
          { type: "button", onclick: (event) => replayAll(event.target, view) },
          t(reason ? "rejects.againAll" : "rejects.againEvery"),
        )
      : null,
  );
}

function counted(count) {
  return count >= COUNTED_MAX ? `${COUNTED_MAX.toLocaleString()}+` : String(count);
}

function address({ reason, done }) {
  const query = new URLSearchParams({ ...(reason ? { reason } : {}), ...(done ? { done: "1" } : {}) }).toString();
  return query ? `#/system?${query}` : "#/system";
}

function paint(view) {
  const { done, reason } = view.filter;
  if (!view.items.length) {
    replace(view.body, done ? emptyState(t("rejects.noneReplayed"), "") : emptyState(t("rejects.none"), t("rejects.noneHint")));
    return;
  }
  const heads = ["rejects.when", "rejects.reason", "rejects.topic", "rejects.detail", null];
  const open = new Set([...view.body.querySelectorAll("details[open]")].map((one) => one.dataset.id));
  replace(
    view.body,
    reason ? h("p", { class: "hint" }, t(`reasonHint.${reason}`)) : null,
    h(
      "table",
      { class: "rejects" },
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
        view.items.map((one) => row(view, one, open.has(String(one.id)))),
      ),
    ),
    view.next
      ? h("div", { class: "foot" }, h("button", { type: "button", onclick: (event) => more(event.target, view) }, t("common.more")))
      : null,
  );
}

function row(view, one, isOpen) {
  const zone = deskZone();
  const last = whenever(Date.parse(one.last_at), zone);
  const repeats = one.times > 1 && h("div", { class: "sub" }, t("rejects.times", { n: one.times, when: last }));
  return h(
    "tr",
    {},
    h("td", {}, whenever(Date.parse(one.received_at), zone), repeats),
    h("td", {}, h("b", { title: t(`reasonHint.${one.reason}`) }, t(`reason.${one.reason}`))),
    h("td", { class: "topic" }, one.topic),
    h(
      "td",
      { class: "wide" },
      one.detail,
      h(
        "details",
        { "data-id": String(one.id), open: isOpen },
        h("summary", {}, t(one.encoding === "utf-8" ? "rejects.payload" : "rejects.payloadBytes")),
        h("pre", {}, one.truncated ? `${one.payload} …` : one.payload),
      ),
    ),
    h("td", { class: "number" }, state(view, one)),
  );
}

function state(view, one) {
  const when = one.replay.read_at && whenever(Date.parse(one.replay.read_at), deskZone());
  if (one.closed_why !== null) {
    const since = whenever(Date.parse(one.replayed_at), deskZone());
    return [h("b", {}, t("outcome.closed")), h("div", { class: "sub" }, since), h("div", { class: "sub" }, one.closed_why)];
  }
  if (one.replayed_at) return [h("b", {}, t(`outcome.${one.replay.outcome}`)), h("div", { class: "sub" }, when)];
  if (one.replay.wanted_at) return h("span", { class: "muted" }, t("rejects.wanted"));
  const again = h("button", { type: "button", onclick: (event) => replay(event.target, view, one) }, t("rejects.again"));
  const close = h("button", { type: "button", onclick: (event) => closeOne(event.target, view, one) }, t("rejects.close"));
  return [h("span", { class: "pair" }, again, close), when && h("div", { class: "sub" }, t("rejects.still", { when }))];
}

async function replay(button, view, one) {
  await wish(button, view, () => post(`rejects/${one.id}/replay`));
}

async function replayAll(button, view) {
  const { reason } = view.filter;
  await wish(button, view, async () => {
    const { wanted, more } = await post(reason ? `rejects/all/replay?reason=${encodeURIComponent(reason)}` : "rejects/all/replay");
    toast(t(more ? "rejects.wishedMore" : "rejects.wished", { n: wanted }));
  });
}

async function closeOne(button, view, one) {
  const why = await ask({ title: t("rejects.closeTitle"), label: t("rejects.why"), hint: t("rejects.closeHint"), ok: t("rejects.close") });
  if (why) await wish(button, view, () => post(`rejects/${one.id}/close`, { why }));
}

async function wish(button, view, call) {
  button.disabled = true;
  try {
    await call();
    await load(view);
    view.onWish();
  } catch (failure) {
    expected(failure);
    toast(`${t("common.failed")}: ${failure.message}`);
  } finally {
    button.disabled = false;
  }
}

async function more(button, view) {
  button.disabled = true;
  try {
    const page = await getUrl(view.next, { signal: view.stop.signal });
    view.items = [...view.items, ...page.items];
    view.next = nextPage(page);
    paint(view);
  } catch (failure) {
    expected(failure);
    button.disabled = false;
    toast(`${t("common.failed")}: ${failure.message}`);
  }
}

function expected(failure) {
  if (!(failure instanceof Problem) && !(failure instanceof TypeError) && !(failure instanceof DOMException)) throw failure;
}
