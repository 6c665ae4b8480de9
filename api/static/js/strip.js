/**
 * The timeline strip: a visit's plan, presence, evidence and coverage on one axis of time.
 *
 *     planned    ├──────────────────────────┤
 *     presence   ░░░░│██████████████████│░░░░      with whiskers: the 90 % interval of arrival and departure
 *     evidence   ╷ ╷ ╷╷╷╷▲╷╷ ╷╷◆╷╷╷  ╷╷╷▼ ╷ ╷      a tick a fix, marks for checks and device events
 *     coverage   █████████████▒▒▒▒█████████████    seen, or a gap in the colour of its cause
 *
 * It says what lies under the pointer, and tells `onTime(at | null)` so that a map can show where that was.
 */

import { h, replace, svg } from "./dom.js";
import { now } from "./fleet.js";
import { clock, clockWithSeconds, duration, instant, metres } from "./format.js";
import { t } from "./i18n.js";
import { CAUSES } from "./widgets.js";

const MARGIN_MS = 10 * 60_000;
const LABEL_PX = 76;
const ROWS = { planned: [20, 10], presence: [42, 18], evidence: [72, 18], coverage: [100, 12] };
const HEIGHT_PX = 120;
const TICK_STEPS_MIN = [5, 10, 15, 30, 60, 120, 240, 480];
const NEAR_PX = 5;
const EVENTS_SHOWN = new Set([
  "lock",
  "unlock",
  "open",
  "close",
  "motion",
  "occupied",
  "vacant",
  "sos",
  "tamper",
  "leak",
  "smoke",
  "power",
]);

/** The time that is worth looking at: the plan and what was found, with a margin. */
export function windowOf(visit) {
  const outcome = visit.outcome ?? {};
  const edges = [visit.starts_at, visit.ends_at, outcome.arrived_at?.earliest, outcome.left_at?.latest]
    .filter(Boolean)
    .map(Date.parse);
  return { from: Math.min(...edges) - MARGIN_MS, to: Math.max(...edges) + MARGIN_MS };
}

/**
 * A strip that redraws itself when its width changes. `evidence`: `{fixes: [{atMs, accuracy_m, flags}], marks: [{atMs, kind, what}]}`.
 */
export function timelineStrip({ visit, evidence, zone, onTime = () => {} }) {
  const tip = h("div", { class: "tip", hidden: true });
  const figure = h("figure", { class: "strip" });
  const model = { visit, evidence, zone, tip, figure, onTime, ...windowOf(visit) };
  const observer = new ResizeObserver(([entry]) => draw(model, entry.contentRect.width));
  observer.observe(figure);
  return { element: figure, stop: () => observer.disconnect() };
}

function draw(model, width) {
  if (width < 60) return;
  const left = width > 520 ? LABEL_PX : 0;
  const scale = (width - left - 8) / (model.to - model.from);
  model.x = (at) => left + (Math.max(model.from, Math.min(model.to, at)) - model.from) * scale;
  model.left = left;
  model.width = width;
  const image = svg("svg", { height: HEIGHT_PX, viewBox: `0 0 ${width} ${HEIGHT_PX}`, role: "img", "aria-label": summary(model) });
  image.append(
    ...axis(model),
    ...labels(left),
    ...plan(model),
    ...presence(model),
    ...coverage(model),
    ...ticks(model),
    ...marks(model),
    ...moments(model),
    ...nowLine(model),
  );
  const cross = svg("line", { class: "cross", y1: 16, y2: HEIGHT_PX - 6, visibility: "hidden" });
  image.append(cross);
  listen(model, image, cross);
  replace(model.figure, image, model.tip, legend(model));
}

function summary({ visit, zone }) {
  const outcome = visit.outcome ?? {};
  const gaps = (outcome.gaps ?? []).map(
    (gap) => `${clock(Date.parse(gap.start), zone)}–${clock(Date.parse(gap.end), zone)} ${t(`cause.${gap.cause}`)}`,
  );
  return [
    `${t("strip.planned")} ${clock(Date.parse(visit.starts_at), zone)}–${clock(Date.parse(visit.ends_at), zone)}`,
    t(`verdict.${outcome.verdict ?? "pending"}`),
    ...gaps,
  ].join("; ");
}

function axis(model) {
  const wanted = Math.max(4, (model.width - model.left) / 90);
  const step = (TICK_STEPS_MIN.find((minutes) => (model.to - model.from) / (minutes * 60_000) <= wanted) ?? 1440) * 60_000;
  const found = [];
  for (let at = Math.ceil(model.from / step) * step; at <= model.to; at += step) {
    found.push(svg("line", { class: "axis", x1: model.x(at), x2: model.x(at), y1: 16, y2: HEIGHT_PX - 6 }));
    found.push(svg("text", { x: model.x(at), y: 10, "text-anchor": "middle" }, clock(at, model.zone)));
  }
  return found;
}

function labels(left) {
  if (!left) return [];
  return Object.entries(ROWS).map(([row, [top, height]]) =>
    svg("text", { class: "row-label", x: 0, y: top + height / 2 + 4 }, t(`strip.${row}`)),
  );
}

function bar(model, row, start, end, attributes) {
  const [y, height] = ROWS[row];
  const x = model.x(start);
  return svg("rect", { x, y, width: Math.max(1, model.x(end) - x), height, ...attributes });
}

function plan(model) {
  return [bar(model, "planned", Date.parse(model.visit.starts_at), Date.parse(model.visit.ends_at), { class: "plan", rx: 2 })];
}

function presence(model) {
  const base = bar(model, "presence", model.from, model.to, { class: "base" });
  return [
    base,
    ...(model.visit.outcome?.presence ?? []).map((span) =>
      bar(model, "presence", Date.parse(span.start), Date.parse(span.end), { "data-presence": span.state }),
    ),
  ];
}

/** What is seen is the counted time less the gaps; what has not happened yet is neither. */
function coverage(model) {
  const outcome = model.visit.outcome ?? {};
  const base = bar(model, "coverage", model.from, model.to, { class: "base" });
  const seen = counted(model).map(([start, end]) => bar(model, "coverage", start, end, { class: "seen" }));
  const gaps = (outcome.gaps ?? []).map((gap) =>
    bar(model, "coverage", Date.parse(gap.start), Date.parse(gap.end), { "data-cause": gap.cause }),
  );
  return [base, ...seen, ...gaps];
}

/** The denominator of coverage: the plan and the stay, as far as they have passed. */
function counted({ visit }) {
  const outcome = visit.outcome ?? {};
  const time = now();
  const spans = [[Date.parse(visit.starts_at), Date.parse(visit.ends_at)]];
  if (outcome.arrived_at)
    spans.push([
      Date.parse(outcome.arrived_at.best),
      outcome.left_at ? Date.parse(outcome.left_at.best) : Math.max(time, Date.parse(visit.ends_at)),
    ]);
  return outcome.coverage === null || outcome.coverage === undefined
    ? []
    : spans.map(([start, end]) => [start, Math.min(end, time)]).filter(([start, end]) => end > start);
}

function ticks(model) {
  const [top, height] = ROWS.evidence;
  const line = (fix) => {
    const x = model.x(fix.atMs).toFixed(1);
    // A good fix is a tall tick: accuracy is read as height, 5 m and better full, a kilometre a stub.
    const share = Math.max(0.25, Math.min(1, 1 - Math.log10(Math.max(5, fix.accuracy_m ?? 50) / 5) / 2.6));
    return svg("line", {
      class: fix.flags.length ? "fix flagged" : "fix",
      x1: x,
      x2: x,
      y1: top + height * (1 - share),
      y2: top + height,
    });
  };
  return model.evidence.fixes.filter((fix) => fix.atMs >= model.from && fix.atMs < model.to).map(line);
}

function marks(model) {
  const [top, height] = ROWS.evidence;
  return model.evidence.marks
    .filter((mark) => mark.atMs >= model.from && mark.atMs < model.to && (mark.what === "check" || EVENTS_SHOWN.has(mark.kind)))
    .map((mark) => {
      const [x, y] = [model.x(mark.atMs), top - 1];
      const shapes = {
        in: `M${x - 5} ${y - 4}h10l-5 8z`,
        out: `M${x - 5} ${y + 4}h10l-5-8z`,
        event: `M${x} ${top + height - 4}l4 4-4 4-4-4z`,
      };
      return svg("path", {
        class: mark.what === "check" ? "mark" : "mark event",
        d: shapes[mark.what === "check" ? mark.kind : "event"],
      });
    });
}

/** Whiskers from the earliest to the latest moment, a thick line at the best. An open end runs out of the picture and has no cap. */
function moments(model) {
  const [top, height] = ROWS.presence;
  const middle = top + height / 2;
  return [model.visit.outcome?.arrived_at, model.visit.outcome?.left_at].filter(Boolean).flatMap((moment) => {
    const best = model.x(Date.parse(moment.best));
    const early = moment.earliest === null ? model.x(model.from) : model.x(Date.parse(moment.earliest));
    const late = moment.latest === null ? model.x(model.to) : model.x(Date.parse(moment.latest));
    const cap = (bound, x) => (bound === null ? "" : `M${x} ${middle - 4}v8`);
    const path = `${cap(moment.earliest, early)}M${early} ${middle}H${late}${cap(moment.latest, late)}`;
    return [
      svg("path", { class: "whisker", d: path }),
      svg("line", { class: "best", x1: best, x2: best, y1: top - 3, y2: top + height + 3 }),
    ];
  });
}

function nowLine(model) {
  const time = now();
  return time > model.from && time < model.to
    ? [svg("line", { class: "now", x1: model.x(time), x2: model.x(time), y1: 16, y2: HEIGHT_PX - 6 })]
    : [];
}

function listen(model, image, cross) {
  image.addEventListener("pointermove", (event) => {
    const x = event.clientX - image.getBoundingClientRect().left;
    if (x < model.left) return leave();
    const at = model.from + ((x - model.left) / (model.width - model.left - 8)) * (model.to - model.from);
    for (const name of ["x1", "x2"]) cross.setAttribute(name, x);
    cross.setAttribute("visibility", "visible");
    model.tip.hidden = false;
    replace(model.tip, describe(model, at, x));
    model.tip.style.top = `${HEIGHT_PX}px`;
    model.tip.style.left = `${Math.min(x + 8, model.width - model.tip.offsetWidth)}px`;
    model.onTime(at);
  });
  const leave = () => {
    cross.setAttribute("visibility", "hidden");
    model.tip.hidden = true;
    model.onTime(null);
  };
  image.addEventListener("pointerleave", leave);
}

function describe(model, at, x) {
  const outcome = model.visit.outcome ?? {};
  const holds = (span) => Date.parse(span.start) <= at && at < Date.parse(span.end);
  const span = (outcome.presence ?? []).find(holds);
  const gap = (outcome.gaps ?? []).find(holds);
  const seen = !gap && counted(model).some(([start, end]) => start <= at && at < end);
  const near = nearest(model, x);
  return [
    h("b", {}, clockWithSeconds(at, model.zone)),
    span && h("div", {}, t(`presence.${span.state}`)),
    gap && h("div", {}, `${t(`cause.${gap.cause}`)} · ${duration((instant(gap.end) - instant(gap.start)) / 1000)}`),
    seen && h("div", {}, t("strip.monitored")),
    near && h("div", {}, near),
  ];
}

function nearest(model, x) {
  const byDistance = (things) => things.map((thing) => [Math.abs(model.x(thing.atMs) - x), thing]).sort((a, b) => a[0] - b[0])[0];
  const mark = byDistance(model.evidence.marks);
  if (mark && mark[0] <= NEAR_PX)
    return `${t(`event.${mark[1].kind}`, { value: mark[1].value ?? "" })} ${clockWithSeconds(mark[1].atMs, model.zone)}`;
  const fix = byDistance(model.evidence.fixes);
  if (!fix || fix[0] > NEAR_PX) return null;
  const accuracy =
    fix[1].accuracy_m === null || fix[1].accuracy_m === undefined ? "" : t("strip.accuracy", { m: metres(fix[1].accuracy_m) });
  return [t("strip.fix"), accuracy, ...fix[1].flags.map((flag) => t(`flag.${flag}`))].filter(Boolean).join(" · ");
}

function legend({ visit }) {
  const there = new Set((visit.outcome?.gaps ?? []).map((gap) => gap.cause));
  const swatch = (style, text) => h("li", {}, h("i", { style }), text);
  return h(
    "ul",
    { class: "legend" },
    swatch({ background: "var(--state-on)" }, t("presence.on")),
    swatch({ background: "color-mix(in srgb, var(--state-off) 45%, var(--panel))" }, t("presence.off")),
    swatch({ background: "color-mix(in srgb, var(--state-unknown) 35%, var(--panel))" }, t("presence.unknown")),
    swatch({ background: "var(--accent)" }, t("strip.fix")),
    swatch({ background: "var(--flagged)" }, t("strip.flagged")),
    swatch({ background: "var(--seen)" }, t("strip.monitored")),
    CAUSES.filter((cause) => there.has(cause)).map((cause) => h("li", {}, h("i", { "data-cause": cause }), t(`cause.${cause}`))),
  );
}
