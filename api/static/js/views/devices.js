/** The devices in the homes: what each said last, when, and whether it still speaks. */

import { all, Problem } from "../client.js";
import { h, replace } from "../dom.js";
import { now, siteName, siteZone } from "../fleet.js";
import { age, number, whenever } from "../format.js";
import { t } from "../i18n.js";
import { emptyState, errorState, loadingState, searchField, siteLink } from "../widgets.js";

const REFETCH_MS = 5000;
const ROWS_MAX = 1000;

export function mount(root) {
  const view = { root, devices: null, search: "", stop: new AbortController(), timer: null };
  view.shown = h("span", { class: "muted" });
  const search = searchField(t("devices.search"), "", (text) => {
    view.search = text;
    paint(view);
  });
  view.body = h("div", { class: "scroll" }, loadingState());
  replace(
    root,
    h(
      "div",
      { class: "page" },
      h("div", { class: "toolbar" }, h("h1", {}, t("devices.title")), search, h("span", { class: "gap" }), view.shown),
      view.body,
    ),
  );
  load(view);
  return {
    update(kinds) {
      if (kinds.has("devices")) view.timer ??= setTimeout(() => load(view), REFETCH_MS);
      if (kinds.has("sites") && view.devices) paint(view);
    },
    unmount() {
      clearTimeout(view.timer);
      view.stop.abort();
    },
  };
}

async function load(view) {
  view.timer = null;
  try {
    view.devices = await all("devices", { limit: 500 }, { signal: view.stop.signal });
    paint(view);
  } catch (failure) {
    if (view.stop.signal.aborted) return;
    if (!(failure instanceof Problem) && !(failure instanceof TypeError) && !(failure instanceof DOMException)) throw failure;
    replace(
      view.body,
      errorState(failure, () => load(view)),
    );
  }
}

function paint(view) {
  if (!view.devices) return;
  if (!view.devices.length) return replace(view.body, emptyState(t("devices.none"), t("devices.noneHint")));
  const wanted = view.search.trim().toLowerCase();
  const texts = (device) => [device.id, device.kind, device.name, device.site, siteName(device.site), t(`kind.${device.kind}`)];
  const rows = view.devices.filter((device) => !wanted || texts(device).some((text) => text?.toLowerCase().includes(wanted)));
  view.shown.textContent = t("common.shown", { n: number(Math.min(rows.length, ROWS_MAX)) });
  replace(view.body, deviceTable(rows.slice(0, ROWS_MAX)));
}

/** The table of devices, also for a site's page. */
export function deviceTable(devices, { withSite = true } = {}) {
  const heads = [
    ["common.device"],
    ["devices.kind"],
    withSite && ["common.site"],
    ["devices.state"],
    ["devices.lastHeard"],
    ["devices.connection"],
    ["devices.battery", 1],
  ].filter(Boolean);
  return h(
    "table",
    { class: "folding devices" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        heads.map(([key, number]) => h("th", { scope: "col", class: number ? "number" : null }, t(key))),
      ),
    ),
    h(
      "tbody",
      {},
      devices.map((device) => row(device, withSite)),
    ),
  );
}

function row(device, withSite) {
  const { state } = device;
  const at = state ? Date.parse(state.at) : null;
  const online = !state ? "never" : state.online === null ? "unsaid" : state.online ? "online" : "offline";
  const dot = { online: "on", offline: "silent", unsaid: "idle", never: "idle" }[online];
  return h(
    "tr",
    {},
    h("td", { class: "cell-what" }, device.name ?? device.id, device.name && h("span", { class: "sub" }, ` ${device.id}`)),
    h("td", { class: "cell-kind" }, t(`kind.${device.kind}`), device.dialect !== "native" && h("span", { class: "sub" }, ` ${device.dialect}`)),
    withSite && h("td", { class: "cell-where" }, siteLink(device.site)),
    h("td", { class: "cell-state" }, reported(state)),
    h(
      "td",
      { class: "cell-when" },
      at
        ? [
            whenever(at, siteZone(device.site)),
            h("span", { class: "sub" }, ` · ${t("unit.ago", { age: age((now() - at) / 1000) })}`),
          ]
        : "–",
    ),
    h(
      "td",
      { class: "cell-online", "data-state": dot },
      h("i", { class: "dot", style: { display: "inline-block", "margin-right": "8px" } }),
      t(`online.${online}`),
    ),
    h(
      "td",
      { class: "number cell-battery" },
      state?.battery === null || state?.battery === undefined ? "–" : `${Math.round(state.battery * 100)} %`,
    ),
  );
}

/** The newest event that describes a state; battery and connection have columns of their own. */
function reported(state) {
  const events = Object.entries(state?.reported ?? {}).filter(([kind]) => kind !== "battery" && kind !== "status");
  if (!events.length) return "–";
  const [kind, said] = events.sort((a, b) => Date.parse(b[1].at) - Date.parse(a[1].at))[0];
  return t(`event.${kind}`, { value: said.value === undefined ? "" : Math.round(said.value) });
}
