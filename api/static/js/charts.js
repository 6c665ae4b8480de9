/** Charts over days, drawn by uPlot in the colours of the style sheet. A chart redraws itself on a change of size or theme. */

import { h } from "./dom.js";
import { number } from "./format.js";
import { t } from "./i18n.js";
import { colour, onTheme } from "./theme.js";

let library = null;

/** Loads uPlot once; null when its files are not built. */
async function plotter() {
  library ??= await import("../vendor/uPlot.mjs").then(
    (module) => module.default,
    () => null,
  );
  return library;
}

/** Shares by day with the target as a line. `series`: `[{label, values, colour}]`, values 0 to 1 or null. */
export function shareChart({ days, series, target }) {
  const axisFloor = (low) => Math.max(0, Math.min(0.9, Math.floor((low - 0.02) * 10) / 10));
  return chart((paint) => ({
    data: [days.map((_, index) => index), ...series.map(({ values }) => values)],
    options: {
      ...frame(days, paint, (value) => `${number(value * 100)} %`),
      scales: { x: xScale(days), y: { range: (_, low) => [axisFloor(low ?? 0.9), 1.005] } },
      series: [
        {},
        ...series.map(({ label, colour: name }) => ({
          label,
          stroke: paint(name),
          width: 2,
          points: { show: true, size: 6, fill: paint(name) },
          spanGaps: true,
        })),
      ],
      hooks: { draw: [(plot) => targetLine(plot, target, paint("ink"))] },
    },
  }));
}

/** Hours by day, stacked. `series`: `[{label, values, colour}]` from the bottom up. */
export function stackChart({ days, series }) {
  const sums = series.map((_, upTo) =>
    days.map((_, at) => series.slice(0, upTo + 1).reduce((sum, { values }) => sum + values[at], 0)),
  );
  const top = Math.max(0.1, ...(sums.at(-1) ?? [0]));
  return chart((paint, uPlot) => ({
    // Tallest first: each lower sum is drawn over it, and what stays visible is the piece.
    data: [days.map((_, index) => index), ...sums.toReversed()],
    options: {
      ...frame(days, paint, (value) => `${number(value, top < 5 ? 1 : 0)} ${t("coverage.hours")}`),
      scales: { x: xScale(days), y: { range: [0, top * 1.08] } },
      series: [
        {},
        ...series.toReversed().map(({ label, colour: name }) => ({
          label,
          stroke: paint(name),
          fill: paint(name),
          width: 0,
          paths: uPlot.paths.bars({ size: [0.62, 46] }),
          points: { show: false },
        })),
      ],
    },
  }));
}

function chart(describe) {
  const element = h("div", { class: "chart" });
  let plot = null;
  const draw = async () => {
    const uPlot = await plotter();
    plot?.destroy();
    plot = null;
    if (!uPlot || !element.isConnected || element.clientWidth < 50) return;
    const { data, options } = describe(colour, uPlot);
    plot = new uPlot({ ...options, width: element.clientWidth, height: element.clientHeight }, data, element);
  };
  const observer = new ResizeObserver(draw);
  observer.observe(element);
  const offTheme = onTheme(draw);
  return {
    element,
    stop() {
      observer.disconnect();
      offTheme();
      plot?.destroy();
      plot = null;
    },
  };
}

function frame(days, paint, ofValue) {
  const axis = {
    stroke: paint("muted"),
    grid: { stroke: paint("line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, Noto Sans, sans-serif",
  };
  return {
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 8, 0, 0],
    axes: [
      {
        ...axis,
        grid: { show: false },
        splits: (plot) => everyFew(days, plot.width),
        values: (_, splits) => splits.map((index) => days[index] ?? ""),
        size: 26,
      },
      { ...axis, size: 58, values: (_, splits) => splits.map(ofValue) },
    ],
  };
}

function everyFew(days, width) {
  const step = Math.max(1, Math.ceil(days.length / Math.max(1, Math.floor(width / 62))));
  return days.map((_, index) => index).filter((index) => index % step === 0);
}

function xScale(days) {
  return { time: false, range: [-0.6, days.length - 0.4] };
}

function targetLine(plot, target, ink) {
  const y = Math.round(plot.valToPos(target, "y", true)) + 0.5;
  const pen = plot.ctx;
  pen.save();
  pen.strokeStyle = ink;
  pen.lineWidth = devicePixelRatio;
  pen.setLineDash([5, 4]);
  pen.beginPath();
  pen.moveTo(plot.bbox.left, y);
  pen.lineTo(plot.bbox.left + plot.bbox.width, y);
  pen.stroke();
  pen.restore();
}
