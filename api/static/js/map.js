/**
 * The map: a quiet ground with a graticule, or the configured style or tiles, and on it fences, workers and tracks.
 *
 * No tile server and no glyph server is needed: without a `glyphs` address MapLibre draws letters with the browser's own fonts.
 * Data is set by source name and kept, so that a change of theme, which replaces the whole style, puts it back.
 */

import { boundsOf, collection, graticule } from "./geo.js";
import { t } from "./i18n.js";
import { FONT, layers, markers } from "./map-layers.js";
import { colour, onTheme } from "./theme.js";

const SOURCES = ["graticule", "fences", "places", "tails", "trail", "fixes", "workers", "chosen", "probe"];
const CLUSTER_FROM = 300;

let library = null;

/** The maps on the page, for whoever looks from outside: a browser's console, a test. */
export const maps = new Set();

/** Why there is no map: `missing` files or no `webgl`. */
export class NoMap extends Error {}

/**
 * A map in `container`. `onPick({worker} | {site} | {fix})` hears clicks on things, `onDrag()` that the reader took the map.
 * Throws NoMap.
 */
export async function createMap(container, { settings, onPick = () => {}, onDrag = () => {}, camera = null }) {
  library ??= await import("../vendor/maplibre-gl.mjs").catch(() => {
    throw new NoMap("missing");
  });
  const map = construct(container, settings, camera);
  map.touchZoomRotate.disableRotation();
  map.addControl(new library.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new library.ScaleControl({ maxWidth: 120 }), "bottom-left");
  maps.add(map);
  const state = { map, settings, data: new Map(), clustered: false, ready: false, removed: false };
  const install = () => furnish(state);
  map.on("style.load", install);
  map.on("moveend", () => drawGraticule(state));
  map.on("dragstart", onDrag);
  listenForPicks(map, onPick);
  const offTheme = onTheme(() => map.setStyle(ground(settings), { diff: false }));
  return {
    map,
    set: (source, features) => setData(state, source, features),
    fit: (coordinates, options) => fit(map, coordinates, options),
    flyTo: (at, zoom) =>
      map.easeTo({ center: at, zoom: zoom === undefined ? map.getZoom() : Math.max(map.getZoom(), zoom), duration: motion() }),
    remove() {
      state.removed = true;
      offTheme();
      maps.delete(map);
      map.remove();
    },
  };
}

function construct(container, settings, camera) {
  try {
    return new library.Map({
      container,
      style: ground(settings),
      center: camera?.center ?? [10, 30],
      zoom: camera?.zoom ?? 1,
      attributionControl: hasTiles(settings) ? { compact: true, customAttribution: settings.tile_attribution } : false,
      pitchWithRotate: false,
      dragRotate: false,
      maxPitch: 0,
      fadeDuration: 0,
    });
  } catch (failure) {
    if (/webgl/i.test(String(failure.message))) throw new NoMap("webgl");
    throw failure;
  }
}

function hasTiles(settings) {
  return Boolean(settings.map_style || settings.tile_url);
}

/** The style below our layers: the configured one, raster tiles, or a plain ground. */
function ground(settings) {
  if (settings.map_style) return settings.map_style;
  const style = {
    version: 8,
    sources: {},
    layers: [{ id: "ground", type: "background", paint: { "background-color": colour("map-ground") } }],
  };
  if (settings.tile_url) {
    style.sources.tiles = { type: "raster", tiles: [settings.tile_url], tileSize: 256, maxzoom: 19 };
    style.layers.push({
      id: "tiles",
      type: "raster",
      source: "tiles",
      paint: { "raster-saturation": -0.4, "raster-opacity": 0.85 },
    });
  }
  return style;
}

function furnish(state) {
  const { map } = state;
  for (const name of SOURCES) {
    const data = state.data.get(name) ?? collection([]);
    const cluster = name === "workers" ? { cluster: state.clustered, clusterRadius: 44, clusterMaxZoom: 12 } : {};
    if (!map.getSource(name)) map.addSource(name, { type: "geojson", data, ...cluster });
  }
  for (const [name, image] of markers()) map.addImage(name, image, { pixelRatio: 2 });
  const font = map.getStyle().glyphs ? fontOfStyle(map) : FONT;
  for (const layer of layers(font, hasTiles(state.settings))) if (!map.getLayer(layer.id)) map.addLayer(layer);
  state.ready = true;
  drawGraticule(state);
}

/** A style with a glyph server has only its own fonts. */
function fontOfStyle(map) {
  const labelled = map
    .getStyle()
    .layers.find((layer) => Array.isArray(layer.layout?.["text-font"]) && typeof layer.layout["text-font"][0] === "string");
  return labelled?.layout["text-font"] ?? ["Open Sans Regular"];
}

function setData(state, source, features) {
  const data = collection(features);
  state.data.set(source, data);
  if (!state.ready || state.removed) return;
  if (source === "workers" && features.length >= CLUSTER_FROM !== state.clustered) {
    state.clustered = !state.clustered;
    state.map.getSource("workers")?.setClusterOptions({ cluster: state.clustered, clusterRadius: 44, clusterMaxZoom: 12 });
  }
  state.map.getSource(source)?.setData(data);
}

function drawGraticule(state) {
  if (!state.ready || state.removed || hasTiles(state.settings)) return;
  const bounds = state.map.getBounds();
  const lines = graticule([bounds.getWest(), Math.max(-85, bounds.getSouth()), bounds.getEast(), Math.min(85, bounds.getNorth())]);
  state.map.getSource("graticule")?.setData(lines);
}

function fit(map, coordinates, { padding = 48, maxZoom = 16, animate = false } = {}) {
  if (!coordinates.length) return;
  const [west, south, east, north] =
    coordinates.length === 4 && typeof coordinates[0] === "number" ? coordinates : boundsOf(coordinates);
  map.fitBounds(
    [
      [west, south],
      [east, north],
    ],
    { padding, maxZoom, duration: animate ? motion() : 0 },
  );
}

function motion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 500;
}

function listenForPicks(map, onPick) {
  const pickable = ["workers-dot", "chosen-dot", "clusters", "fixes-dot", "places-dot", "fences-fill"];
  const at = (event) => {
    const box = [
      [event.point.x - 4, event.point.y - 4],
      [event.point.x + 4, event.point.y + 4],
    ];
    const found = map.queryRenderedFeatures(box, { layers: pickable.filter((id) => map.getLayer(id)) });
    return found.sort((a, b) => pickable.indexOf(a.layer.id) - pickable.indexOf(b.layer.id))[0];
  };
  map.on("click", async (event) => {
    const feature = at(event);
    if (!feature) return onPick({});
    if (feature.layer.id !== "clusters") return onPick(feature.properties);
    const zoom = await map.getSource("workers").getClusterExpansionZoom(feature.properties.cluster_id);
    map.easeTo({ center: feature.geometry.coordinates, zoom: zoom + 0.3, duration: motion() });
  });
  hoverCard(map, at);
}

/** A name under the pointer: labels come only at close range, and a dot alone says nothing. */
function hoverCard(map, at) {
  const card = new library.Popup({ closeButton: false, closeOnClick: false, offset: 12, className: "hover-card" });
  map.on("mousemove", (event) => {
    const feature = at(event);
    map.getCanvas().style.cursor = feature ? "pointer" : "";
    const text = feature?.properties.cluster ? t("live.workers", { n: feature.properties.point_count }) : feature?.properties.title;
    if (!text) return card.remove();
    const where = feature.geometry.type === "Point" ? feature.geometry.coordinates : event.lngLat;
    card.setLngLat(where).setText(text).addTo(map);
  });
  map.on("mouseout", () => card.remove());
}
