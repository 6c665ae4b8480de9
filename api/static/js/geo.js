/**
 * Geometry for drawing: fences as polygons, bounds, a graticule. Degrees in, degrees out; metres by a local projection.
 */

const METRES_PER_DEGREE = 111_195;
const CIRCLE_STEPS = 48;
/** Metres per pixel at zoom 0 on the equator, with tiles of 512 pixels. */
const METRES_PER_PIXEL = 78_271.517;

/** A site's fence as a Polygon or MultiPolygon: a Point with a radius becomes its circle. */
export function fence(site) {
  if (site.geometry.type !== "Point") return site.geometry;
  const [lon, lat] = site.geometry.coordinates;
  return { type: "Polygon", coordinates: [circle(lon, lat, site.properties?.radius_m ?? 50)] };
}

export function circle(lon, lat, radius) {
  const dy = radius / METRES_PER_DEGREE;
  const dx = dy / Math.max(0.01, Math.cos((lat * Math.PI) / 180));
  return Array.from({ length: CIRCLE_STEPS + 1 }, (_, step) => {
    const angle = (2 * Math.PI * (step % CIRCLE_STEPS)) / CIRCLE_STEPS;
    return [lon + dx * Math.cos(angle), lat + dy * Math.sin(angle)];
  });
}

export function centre(geometry) {
  const [west, south, east, north] = boundsOf(points(geometry));
  return [(west + east) / 2, (south + north) / 2];
}

export function points(geometry) {
  if (geometry.type === "Point") return [geometry.coordinates];
  return geometry.coordinates.flat(geometry.type === "MultiPolygon" ? 2 : 1);
}

export function boundsOf(coordinates) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [lon, lat] of coordinates) {
    box[0] = Math.min(box[0], lon);
    box[1] = Math.min(box[1], lat);
    box[2] = Math.max(box[2], lon);
    box[3] = Math.max(box[3], lat);
  }
  return box;
}

/** The box that holds all but the outermost two per cent each way: one phone at 0°, 0° must not shrink a city to a dot. */
export function mostOf(coordinates) {
  if (coordinates.length < 20) return boundsOf(coordinates);
  const sorted = (index) => coordinates.map((point) => point[index]).sort((a, b) => a - b);
  const cut = Math.floor(coordinates.length * 0.02);
  const [lons, lats] = [sorted(0), sorted(1)];
  return [lons[cut], lats[cut], lons.at(-1 - cut), lats.at(-1 - cut)];
}

export function distance([lonA, latA], [lonB, latB]) {
  const dy = (latB - latA) * METRES_PER_DEGREE;
  const dx = (lonB - lonA) * METRES_PER_DEGREE * Math.cos((((latA + latB) / 2) * Math.PI) / 180);
  return Math.hypot(dx, dy);
}

/** Pixels of a distance at zoom 24: a style expression halves it for each zoom below. */
export function pixelsAtZoom24(metres, lat) {
  return metres / ((METRES_PER_PIXEL * Math.cos((lat * Math.PI) / 180)) / 2 ** 24);
}

/** Meridians and parallels at a round distance that suits the box, as lines that carry their own label. */
export function graticule([west, south, east, north]) {
  const step = roundStep(Math.max(east - west, north - south) / 6);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const lines = [];
  for (const lon of multiples(west, east, step)) {
    lines.push(
      line(
        [
          [lon, south],
          [lon, north],
        ],
        `${Math.abs(lon).toFixed(digits)}°${lon < 0 ? "W" : "E"}`,
      ),
    );
  }
  for (const lat of multiples(south, north, step)) {
    lines.push(
      line(
        [
          [west, lat],
          [east, lat],
        ],
        `${Math.abs(lat).toFixed(digits)}°${lat < 0 ? "S" : "N"}`,
      ),
    );
  }
  return collection(lines);
}

export function collection(features) {
  return { type: "FeatureCollection", features };
}

export function line(coordinates, label, properties = {}) {
  return { type: "Feature", geometry: { type: "LineString", coordinates }, properties: { ...properties, label } };
}

export function point(coordinates, properties) {
  return { type: "Feature", geometry: { type: "Point", coordinates }, properties };
}

function roundStep(wanted) {
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].find((factor) => factor * power >= wanted) * power;
}

function multiples(from, to, step) {
  const found = [];
  for (let n = Math.ceil(from / step); n * step <= to && found.length < 60; n++) found.push(n * step);
  return found;
}
