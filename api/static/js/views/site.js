/** One site: its fence, today's visits, the devices in it. */

import { all, get } from "../client.js";
import { h, replace } from "../dom.js";
import { fleet, loaded, now, siteName, siteZone } from "../fleet.js";
import { dateField, metres, startOfDate, zoneName } from "../format.js";
import { fence, points } from "../geo.js";
import { t } from "../i18n.js";
import { createMap, NoMap } from "../map.js";
import { emptyState, loadingState, unavailableState } from "../widgets.js";
import { deviceTable } from "./devices.js";
import { visitTable } from "./visits.js";

const DAY_MS = 86_400_000;
const REFETCH_MS = 10_000;

export function mount(root, route) {
  const view = { root, id: route.params.id, map: null, stop: new AbortController(), loadedAt: 0 };
  replace(root, loadingState());
  load(view);
  return {
    update: (kinds) => kinds.has("visits") && view.text && Date.now() - view.loadedAt > REFETCH_MS && load(view),
    unmount() {
      view.stop.abort();
      view.map?.remove();
    },
  };
}

async function load(view) {
  const { signal } = view.stop;
  view.loadedAt = Date.now();
  try {
    await loaded();
    const site = await get(`sites/${encodeURIComponent(view.id)}`, {}, { signal });
    fleet.sites.set(view.id, { ...site, id: view.id });
    const zone = siteZone(view.id);
    const from = startOfDate(dateField(now(), zone), zone);
    const [visits, devices] = await Promise.all([
      all(
        "visits",
        { site: view.id, from: new Date(from).toISOString(), to: new Date(from + DAY_MS).toISOString(), limit: 200 },
        { signal, max: 200 },
      ),
      all("devices", { site: view.id, limit: 200 }, { signal, max: 200 }),
    ]);
    if (!view.text) buildPage(view);
    paint(view, site, zone, visits, devices);
  } catch (failure) {
    if (signal.aborted) return;
    replace(view.root, unavailableState(failure, "#/live", t("nav.live"), () => load(view)));
    view.text = null;
  }
}

function buildPage(view) {
  view.text = h("div", { class: "text" });
  view.canvas = h("div", { class: "map" });
  replace(view.root, h("div", { class: "visit site" }, view.text, h("section", { class: "stage" }, view.canvas)));
  placeMap(view);
}

function paint(view, site, zone, visits, devices) {
  const { customer } = site.properties;
  const shape = site.geometry.type === "Point" ? t("site.radius", { m: metres(site.properties.radius_m) }) : t("site.polygon");
  replace(
    view.text,
    h(
      "header",
      { class: "section" },
      h("div", { class: "crumb" }, h("a", { href: "#/live" }, t("nav.live")), ` / ${view.id}`),
      h("h1", {}, siteName(view.id)),
      h("div", { class: "muted" }, [customer, shape, zoneName(zone)].filter(Boolean).join(" · ")),
    ),
    h(
      "section",
      {},
      h("h2", { style: { padding: "12px 16px 4px" } }, t("site.visits")),
      h(
        "div",
        { style: { "overflow-x": "auto" } },
        visits.length
          ? visitTable(visits, { withSite: false })
          : h("p", { class: "muted", style: { padding: "4px 16px 12px" } }, t("site.none")),
      ),
    ),
    h(
      "section",
      {},
      h("h2", { style: { padding: "16px 16px 4px" } }, t("site.devices")),
      h(
        "div",
        { style: { "overflow-x": "auto" } },
        devices.length
          ? deviceTable(devices, { withSite: false })
          : h("p", { class: "muted", style: { padding: "4px 16px 12px" } }, t("site.noDevices")),
      ),
    ),
  );
}

async function placeMap(view) {
  try {
    view.map = await createMap(view.canvas, { settings: fleet.settings });
    if (view.stop.signal.aborted) return view.map.remove();
    const shape = fence(fleet.sites.get(view.id));
    view.map.set("fences", [
      { type: "Feature", geometry: shape, properties: { title: siteName(view.id), state: "on", selected: true } },
    ]);
    view.map.fit(points(shape), { maxZoom: 18, padding: 90 });
  } catch (failure) {
    if (!(failure instanceof NoMap)) throw failure;
    replace(view.canvas, emptyState(t(`live.${failure.message}`), t(`live.${failure.message}Hint`)));
  }
}
