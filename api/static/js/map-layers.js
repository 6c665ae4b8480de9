/** The layers of our things on the map, from bottom to top, in the colours of the style sheet. Each `source` is one of `map.js`. */

import { colour } from "./theme.js";

/** Drawn by the browser, where the style has no glyph server. */
export const FONT = ["Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"];
const STATES = ["on", "off", "unknown", "silent"];
/** `pixels` is the radius at zoom 24; it halves with each zoom below. */
const METRIC_RADIUS = ["interpolate", ["exponential", 2], ["zoom"], 0, ["/", ["get", "pixels"], 2 ** 24], 24, ["get", "pixels"]];

/** The images that the layers name: an arrow for each state. */
export function markers() {
  const edge = colour("map-halo");
  return STATES.map((state) => [`arrow-${state}`, arrow(colour(`state-${state}`), edge)]);
}

function palette() {
  const names = [
    "ink",
    "muted",
    "panel",
    "accent",
    "map-line",
    "map-halo",
    "state-on",
    "state-off",
    "state-unknown",
    "state-silent",
    "state-idle",
    "flagged",
  ];
  return Object.fromEntries(names.map((name) => [name, colour(name)]));
}

/** `font` is a list of names; over tiles the graticule is left out. */
export function layers(font, tiled) {
  const paint = palette();
  const byState = [
    "match",
    ["get", "state"],
    "on",
    paint["state-on"],
    "off",
    paint["state-off"],
    "unknown",
    paint["state-unknown"],
    "silent",
    paint["state-silent"],
    paint["state-idle"],
  ];
  const idle = ["==", ["get", "state"], "idle"];
  const label = { "text-font": font, "text-size": 11, "text-anchor": "top", "text-offset": [0, 0.9], "text-max-width": 9 };
  const halo = { "text-color": paint.ink, "text-halo-color": paint["map-halo"], "text-halo-width": 1.4 };
  const dot = {
    "circle-color": byState,
    "circle-stroke-color": paint["map-halo"],
    "circle-opacity": ["get", "fade"],
    "circle-stroke-opacity": ["get", "fade"],
  };
  return [
    {
      id: "graticule",
      type: "line",
      source: "graticule",
      paint: { "line-color": paint["map-line"], "line-width": 1 },
      layout: { visibility: tiled ? "none" : "visible" },
    },
    {
      id: "graticule-label",
      type: "symbol",
      source: "graticule",
      paint: { "text-color": paint.muted, "text-opacity": 0.75, "text-halo-color": paint["map-halo"], "text-halo-width": 1 },
      layout: {
        "symbol-placement": "line",
        "symbol-spacing": 520,
        "text-field": ["get", "label"],
        "text-font": font,
        "text-size": 9.5,
        visibility: tiled ? "none" : "visible",
      },
    },
    {
      id: "fences-fill",
      type: "fill",
      source: "fences",
      paint: { "fill-color": byState, "fill-opacity": ["case", idle, 0.06, 0.2] },
    },
    {
      id: "fences-line",
      type: "line",
      source: "fences",
      paint: {
        "line-color": byState,
        "line-width": ["case", ["get", "selected"], 2.5, 1.2],
        "line-opacity": ["case", idle, 0.45, 1],
      },
    },
    {
      id: "places-dot",
      type: "circle",
      source: "places",
      maxzoom: 14.5,
      paint: {
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 8, 1.6, 14, 3.2],
        "circle-color": paint["map-halo"],
        "circle-stroke-color": byState,
        "circle-stroke-width": ["case", idle, 1, 1.8],
        "circle-stroke-opacity": ["case", idle, 0.5, 1],
        "circle-opacity": ["case", idle, 0.6, 1],
      },
    },
    {
      id: "tails-line",
      type: "line",
      source: "tails",
      paint: { "line-color": byState, "line-width": 2, "line-opacity": 0.28 },
      layout: { "line-cap": "round", "line-join": "round" },
    },
    {
      id: "trail-line",
      type: "line",
      source: "trail",
      // Close by, the fixes themselves tell the way and the line between them is noise.
      paint: {
        "line-color": paint.accent,
        "line-width": ["interpolate", ["linear"], ["zoom"], 15, 2.2, 18, 1],
        "line-opacity": 0.6,
      },
      layout: { "line-cap": "round", "line-join": "round" },
    },
    {
      id: "fixes-dot",
      type: "circle",
      source: "fixes",
      minzoom: 10,
      paint: {
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 12, 1.4, 17, 2.8],
        "circle-color": ["case", ["get", "flagged"], paint.flagged, paint.accent],
        "circle-stroke-color": paint["map-halo"],
        "circle-stroke-width": 0.8,
      },
    },
    {
      id: "places-label",
      type: "symbol",
      source: "places",
      minzoom: 14,
      // Where nobody is expected, a name is only read from close by.
      layout: {
        ...label,
        "text-field": ["step", ["zoom"], ["case", idle, "", ["get", "title"]], 15.5, ["get", "title"]],
        "text-offset": [0, 0.6],
      },
      paint: { ...halo, "text-color": paint.muted },
    },
    {
      id: "workers-accuracy",
      type: "circle",
      source: "workers",
      minzoom: 14,
      filter: ["has", "pixels"],
      paint: {
        "circle-radius": METRIC_RADIUS,
        "circle-color": byState,
        "circle-opacity": 0.07,
        "circle-stroke-color": byState,
        "circle-stroke-width": 0.8,
        "circle-stroke-opacity": 0.3,
      },
    },
    {
      id: "chosen-accuracy",
      type: "circle",
      source: "chosen",
      filter: ["has", "pixels"],
      paint: {
        "circle-radius": METRIC_RADIUS,
        "circle-color": byState,
        "circle-opacity": 0.12,
        "circle-stroke-color": byState,
        "circle-stroke-width": 1,
        "circle-stroke-opacity": 0.6,
      },
    },
    {
      id: "workers-arrow",
      type: "symbol",
      source: "workers",
      filter: ["all", ["!", ["has", "point_count"]], ["has", "heading"]],
      layout: {
        "icon-image": ["concat", "arrow-", ["get", "state"]],
        "icon-rotate": ["get", "heading"],
        "icon-rotation-alignment": "map",
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
      },
      paint: { "icon-opacity": ["get", "fade"] },
    },
    {
      id: "workers-dot",
      type: "circle",
      source: "workers",
      filter: ["!", ["has", "point_count"]],
      paint: { ...dot, "circle-radius": ["interpolate", ["linear"], ["zoom"], 9, 4, 15, 6.5], "circle-stroke-width": 1.6 },
    },
    {
      id: "clusters",
      type: "circle",
      source: "workers",
      filter: ["has", "point_count"],
      paint: {
        "circle-color": paint.panel,
        "circle-stroke-color": paint.accent,
        "circle-stroke-width": 2,
        "circle-radius": ["interpolate", ["linear"], ["get", "point_count"], 2, 11, 50, 18, 500, 28],
      },
    },
    {
      id: "clusters-count",
      type: "symbol",
      source: "workers",
      filter: ["has", "point_count"],
      layout: {
        "text-field": ["to-string", ["get", "point_count"]],
        "text-font": font,
        "text-size": 11,
        "text-allow-overlap": true,
      },
      paint: { "text-color": paint.ink },
    },
    {
      id: "workers-label",
      type: "symbol",
      source: "workers",
      minzoom: 12.5,
      filter: ["!", ["has", "point_count"]],
      layout: { ...label, "text-field": ["get", "title"] },
      paint: { ...halo, "text-opacity": ["get", "fade"] },
    },
    {
      id: "chosen-arrow",
      type: "symbol",
      source: "chosen",
      filter: ["has", "heading"],
      layout: {
        "icon-image": ["concat", "arrow-", ["get", "state"]],
        "icon-size": 1.3,
        "icon-rotate": ["get", "heading"],
        "icon-rotation-alignment": "map",
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
      },
    },
    {
      id: "chosen-dot",
      type: "circle",
      source: "chosen",
      paint: { "circle-color": byState, "circle-radius": 8, "circle-stroke-color": paint.ink, "circle-stroke-width": 2.2 },
    },
    {
      id: "chosen-label",
      type: "symbol",
      source: "chosen",
      layout: { ...label, "text-size": 12, "text-field": ["get", "title"], "text-allow-overlap": true, "text-offset": [0, 1.1] },
      paint: { ...halo, "text-halo-width": 2 },
    },
    {
      id: "probe-dot",
      type: "circle",
      source: "probe",
      paint: { "circle-radius": 7, "circle-color": "transparent", "circle-stroke-color": paint.ink, "circle-stroke-width": 2 },
    },
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
