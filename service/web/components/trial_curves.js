// Curves of a search's trials: the monitored metric by epoch, each ends where its trial was pruned or has ended.

import { listAll } from "../lib/api.js";
import { h, svg } from "../lib/dom.js";
import { number, plural, shortId, tickLabel } from "../lib/format.js";
import { lowerIsBetter, pointName, statusText } from "../lib/sweep_points.js";
import { linearTicks } from "../lib/ticks.js";
import { linePicker } from "./line_picker.js";
import { lineLegend, lineStyle } from "./parallel_coordinates.js";

const MAX_CURVES = 100; // the best ones
const PARALLEL_REQUESTS = 4; // browsers have six connections per host
const HEIGHT = 320;
const MARGIN = { left: 60, right: 34, top: 30, bottom: 38 };
const SHOWN = 0.9; // share of the values that the axis spans; worse ones are drawn at its edge
const LOSSES = ["val_loss", "train_loss"];

/** `update(sweep, points, rungs)`: loads what is new of each curve, and draws; rungs: epochs at which trials were judged. */
export function trialCurves(signal, onPick) {
  const histories = new Map(); // job -> [[epoch, value], …]
  const picker = linePicker("Curves of the trials", onPick);
  const note = h("p", {}, "");

  async function update(sweep, points, rungs) {
    const shown = points.filter(({ own }) => own.some((job) => job.epochs > 0)).slice(0, MAX_CURVES);
    const stale = shown.map(({ own }) => own[0]).filter((job) => (histories.get(job.job)?.length ?? 0) < job.epochs);
    for (let start = 0; start < stale.length; start += PARALLEL_REQUESTS) {
      await Promise.all(stale.slice(start, start + PARALLEL_REQUESTS).map((job) => load(job.job, sweep.monitor)));
    }
    const text = [points.length > shown.length && shown.length === MAX_CURVES && `The best ${MAX_CURVES} of ${plural(points.length, "trial")}.`,
      shown.some(({ own }) => own.length > 1) && "Of each trial its first job."].filter(Boolean).join(" ");
    if (note.textContent !== text) note.textContent = text;
    const curves = shown.map((point) => ({ point, curve: histories.get(point.own[0].job) ?? [] })).filter(({ curve }) => curve.length);
    picker.update((width) => layoutOf(sweep, curves, rungs, width));
  }

  async function load(job, monitor) {
    const known = histories.get(job) ?? [];
    const rows = await listAll(`/v1/jobs/${job}/history?limit=1000&after_epoch=${known.at(-1)?.[0] ?? 0}`, signal, Infinity, "after_epoch");
    histories.set(job, [...known, ...rows.map((row) => [row.epoch, (LOSSES.includes(monitor) ? row[monitor] : row.metrics[monitor]) ?? NaN])]);
  }

  return { element: h("div", {}, note, picker.element, lineLegend()), update, pick: picker.pick, curveOf: (job) => histories.get(job) ?? [] };
}

function layoutOf(sweep, curves, rungs, width) {
  const values = curves.flatMap(({ curve }) => curve.map(([, value]) => value)).filter(Number.isFinite).sort((a, b) => a - b);
  const lower = lowerIsBetter(sweep.monitor);
  const cut = Math.floor(values.length * SHOWN);
  const [low, high] = lower ? [values[0] ?? 0, values[cut] ?? 1] : [values.at(-1 - cut) ?? 0, values.at(-1) ?? 1];
  const last = Math.max(1, ...curves.map(({ curve }) => curve.at(-1)[0]));
  const x = (epoch) => MARGIN.left + ((epoch - 1) / (last - 1 || 1)) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => HEIGHT - MARGIN.bottom - ((Math.min(high, Math.max(low, value)) - low) / (high - low || 1)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const lines = curves.map(({ point, curve }) => ({
    key: point.key, points: curve.filter(([, value]) => Number.isFinite(value)).map(([epoch, value]) => [x(epoch), y(value)]), ...lineStyle(point),
    name: nameOf(sweep, point),
    describe: () => [h("a", { href: `#/job/${point.own[0].job}` }, shortId(point.own[0].job)), ` ${nameOf(sweep, point)}`],
  })).filter(({ points }) => points.length);
  return { width, height: HEIGHT, lines, below: [...yAxis(low, high, y, width), ...xAxis(last, x, width), ...rungLines(rungs.filter((epochs) => epochs <= last), x)] };
}

function yAxis(low, high, y, width) {
  return linearTicks(low, high, 5).flatMap((value) => [svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
    svg("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, tickLabel(value))]);
}

function xAxis(last, x, width) {
  return [...linearTicks(1, last, Math.max(2, Math.floor(width / 90))).filter(Number.isInteger).map((epoch) =>
    svg("text", { x: x(epoch), y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }, number(epoch))),
  svg("text", { x: width - MARGIN.right, y: HEIGHT - 2, "text-anchor": "end" }, "epoch")];
}

function rungLines(rungs, x) {
  return rungs.flatMap((epochs, index) => [svg("line", { class: "rung-line", x1: x(epochs), x2: x(epochs), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
    svg("text", { x: x(epochs) + 3, y: MARGIN.top - 8 - 12 * (index % 2) }, `epoch ${epochs}`)]);
}

function nameOf(sweep, point) {
  return `${pointName(point)} · ${sweep.monitor} ${number(point.value)} · ${statusText(point)}`;
}
