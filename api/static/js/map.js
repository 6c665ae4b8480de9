/**
 * The map: a quiet ground with a graticule, or the configured style or tiles, and on it fences, workers and tracks.
 *
 * No tile server and no glyph server is needed: without a `glyphs` address MapLibre draws letters with the browser's own fonts.
 * The layers are listed once, in `layers`, from bottom to top; data is set by source name and kept, so that a change of theme, which
 * replaces the whole style, puts it back.
 */

import { boundsOf, collection, graticule } from "./geo.js";
import { t } from "./i18n.js";
import { colour, onTheme } from "./theme.js";

const FONT = ["Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"];
const SOURCES = ["graticule", "fences", "places", "tails", "trail", "fixes", "workers", "chosen", "probe"];
const STATES = ["on", "off", "unknown", "silent"];
const CLUSTER_FROM = 300;
/** `pixels` is the radius at zoom 24; it halves with each zoom below. */
const METRIC_RADIUS = ["interpolate", ["exponential", 2], ["zoom"], 0, ["/", ["get", "pixels"], 2 ** 24], 24, ["get", "pixels"]];

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
    flyTo: (at, zoom) => map.easeTo({ center: at, zoom: zoom === undefined ? map.getZoom() : Math.max(map.getZoom(), zoom), duration: motion() }),
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
  const style = { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": colour("map-ground") } }] };
  if (settings.tile_url) {
    style.sources.tiles = { type: "raster", tiles: [settings.tile_url], tileSize: 256, maxzoom: 19 };
    style.layers.push({ id: "tiles", type: "raster", source: "tiles", paint: { "raster-saturation": -0.4, "raster-opacity": 0.85 } });
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
  const paint = palette();
  for (const name of STATES) map.addImage(`arrow-${name}`, arrow(paint[`state-${name}`], paint["map-halo"]), { pixelRatio: 2 });
  const font = map.getStyle().glyphs ? fontOfStyle(map) : FONT;
  for (const layer of layers(paint, font, hasTiles(state.settings))) if (!map.getLayer(layer.id)) map.addLayer(layer);
  state.ready = true;
  drawGraticule(state);
}

/** A style with a glyph server has only its own fonts. */
function fontOfStyle(map) {
  const labelled = map.getStyle().layers.find((layer) => Array.isArray(layer.layout?.["text-font"]) && typeof layer.layout["text-font"][0] === "string");
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
  const [west, south, east, north] = coordinates.length === 4 && typeof coordinates[0] === "number" ? coordinates : boundsOf(coordinates);
  map.fitBounds([[west, south], [east, north]], { padding, maxZoom, duration: animate ? motion() : 0 });
}

function motion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 500;
}

function listenForPicks(map, onPick) {
  const pickable = ["workers-dot", "chosen-dot", "clusters", "fixes-dot", "places-dot", "fences-fill"];
  const at = (event) => {
    const box = [[event.point.x - 4, event.point.y - 4], [event.point.x + 4, event.point.y + 4]];
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

function palette() {
  const names = ["ink", "muted", "panel", "accent", "map-line", "map-halo", "state-on", "state-off", "state-unknown", "state-silent", "state-idle", "flagged"];
  return Object.fromEntries(names.map((name) => [name, colour(name)]));
}

function layers(paint, font, tiled) {
  const byState = ["match", ["get", "state"], "on", paint["state-on"], "off", paint["state-off"], "unknown", paint["state-unknown"], "silent", paint["state-silent"], paint["state-idle"]];
  const idle = ["==", ["get", "state"], "idle"];
  const label = { "text-font": font, "text-size": 11, "text-anchor": "top", "text-offset": [0, 0.9], "text-max-width": 9 };
  const halo = { "text-color": paint.ink, "text-halo-color": paint["map-halo"], "text-halo-width": 1.4 };
  const dot = { "circle-color": byState, "circle-stroke-color": paint["map-halo"], "circle-opacity": ["get", "fade"], "circle-stroke-opacity": ["get", "fade"] };
  return [
    { id: "graticule", type: "line", source: "graticule", paint: { "line-color": paint["map-line"], "line-width": 1 }, layout: { visibility: tiled ? "none" : "visible" } },
    { id: "graticule-label", type: "symbol", source: "graticule", paint: { "text-color": paint.muted, "text-opacity": 0.75, "text-halo-color": paint["map-halo"], "text-halo-width": 1 }, layout: { "symbol-placement": "line", "symbol-spacing": 520, "text-field": ["get", "label"], "text-font": font, "text-size": 9.5, visibility: tiled ? "none" : "visible" } },
    { id: "fences-fill", type: "fill", source: "fences", paint: { "fill-color": byState, "fill-opacity": ["case", idle, 0.06, 0.2] } },
    { id: "fences-line", type: "line", source: "fences", paint: { "line-color": byState, "line-width": ["case", ["get", "selected"], 2.5, 1.2], "line-opacity": ["case", idle, 0.45, 1] } },
    { id: "places-dot", type: "circle", source: "places", maxzoom: 14.5, paint: { "circle-radius": ["interpolate", ["linear"], ["zoom"], 8, 1.6, 14, 3.2], "circle-color": paint["map-halo"], "circle-stroke-color": byState, "circle-stroke-width": ["case", idle, 1, 1.8], "circle-stroke-opacity": ["case", idle, 0.5, 1], "circle-opacity": ["case", idle, 0.6, 1] } },
    { id: "tails-line", type: "line", source: "tails", paint: { "line-color": byState, "line-width": 2, "line-opacity": 0.28 }, layout: { "line-cap": "round", "line-join": "round" } },
    { id: "trail-line", type: "line", source: "trail", paint: { "line-color": paint.accent, "line-width": 2.2, "line-opacity": 0.7 }, layout: { "line-cap": "round", "line-join": "round" } },
    { id: "fixes-dot", type: "circle", source: "fixes", minzoom: 10, paint: { "circle-radius": ["interpolate", ["linear"], ["zoom"], 12, 1.6, 17, 3.6], "circle-color": ["case", ["get", "flagged"], paint.flagged, paint.accent], "circle-stroke-color": paint["map-halo"], "circle-stroke-width": 0.8 } },
    { id: "places-label", type: "symbol", source: "places", minzoom: 14, layout: { ...label, "text-field": ["get", "title"], "text-offset": [0, 0.6] }, paint: { ...halo, "text-color": paint.muted } },
    { id: "workers-accuracy", type: "circle", source: "workers", minzoom: 14, filter: ["has", "pixels"], paint: { "circle-radius": METRIC_RADIUS, "circle-color": byState, "circle-opacity": 0.07, "circle-stroke-color": byState, "circle-stroke-width": 0.8, "circle-stroke-opacity": 0.3 } },
    { id: "chosen-accuracy", type: "circle", source: "chosen", filter: ["has", "pixels"], paint: { "circle-radius": METRIC_RADIUS, "circle-color": byState, "circle-opacity": 0.12, "circle-stroke-color": byState, "circle-stroke-width": 1, "circle-stroke-opacity": 0.6 } },
    { id: "workers-arrow", type: "symbol", source: "workers", filter: ["all", ["!", ["has", "point_count"]], ["has", "heading"]], layout: { "icon-image": ["concat", "arrow-", ["get", "state"]], "icon-rotate": ["get", "heading"], "icon-rotation-alignment": "map", "icon-allow-overlap": true, "icon-ignore-placement": true }, paint: { "icon-opacity": ["get", "fade"] } },
    { id: "workers-dot", type: "circle", source: "workers", filter: ["!", ["has", "point_count"]], paint: { ...dot, "circle-radius": ["interpolate", ["linear"], ["zoom"], 9, 4, 15, 6.5], "circle-stroke-width": 1.6 } },
    { id: "clusters", type: "circle", source: "workers", filter: ["has", "point_count"], paint: { "circle-color": paint.panel, "circle-stroke-color": paint.accent, "circle-stroke-width": 2, "circle-radius": ["interpolate", ["linear"], ["get", "point_count"], 2, 11, 50, 18, 500, 28] } },
    { id: "clusters-count", type: "symbol", source: "workers", filter: ["has", "point_count"], layout: { "text-field": ["to-string", ["get", "point_count"]], "text-font": font, "text-size": 11, "text-allow-overlap": true }, paint: { "text-color": paint.ink } },
    { id: "workers-label", type: "symbol", source: "workers", minzoom: 12.5, filter: ["!", ["has", "point_count"]], layout: { ...label, "text-field": ["get", "title"] }, paint: { ...halo, "text-opacity": ["get", "fade"] } },
    { id: "chosen-arrow", type: "symbol", source: "chosen", filter: ["has", "heading"], layout: { "icon-image": ["concat", "arrow-", ["get", "state"]], "icon-size": 1.3, "icon-rotate": ["get", "heading"], "icon-rotation-alignment": "map", "icon-allow-overlap": true, "icon-ignore-placement": true } },
    { id: "chosen-dot", type: "circle", source: "chosen", paint: { "circle-color": byState, "circle-radius": 8, "circle-stroke-color": paint.ink, "circle-stroke-width": 2.2 } },
    { id: "chosen-label", type: "symbol", source: "chosen", layout: { ...label, "text-size": 12, "text-field": ["get", "title"], "text-allow-overlap": true, "text-offset": [0, 1.1] }, paint: { ...halo, "text-halo-width": 2 } },
    { id: "probe-dot", type: "circle", source: "probe", paint: { "circle-radius": 7, "circle-color": "transparent", "circle-stroke-color": paint.ink, "circle-stroke-width": 2 } },
  ];
}

/** An arrow head that looks out from under the dot, pointing north until the map turns it. */
function arrow(fill, edge) {
  const size = 64;
  const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const pen = canvas.getContext("2d");
  pen.beginPath();
  pen.moveTo(size / 2, 6);
  pen.lineTo(size / 2 + 12, 30);
  pen.lineTo(size / 2 - 12, 30);
  pen.closePath();
  pen.fillStyle = fill;
  pen.strokeStyle = edge;
  pen.lineWidth = 2.5;
  pen.lineJoin = "round";
  pen.stroke();
  pen.fill();
  return pen.getImageData(0, 0, size, size);
}
