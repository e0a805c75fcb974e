// Numbers with confidence intervals: as text, as columns of tables, and as bars with whiskers.

import { fixedTable, h, svg } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { extent } from "./plot.js";

const [WIDTH, HEIGHT] = [150, 18]; // of a bar, in pixels
const DIGITS = 3;

/** "0.97 (0.93 to 0.99)". */
export function estimateText({ value, low, high }) {
  const interval = low === null || high === null ? "" : ` (${number(low, DIGITS)} to ${number(high, DIGITS)})`;
  return `${number(value, DIGITS)}${interval}`;
}

/** As `estimateText`, with the interval in a muted colour. */
export function estimateCell({ value, low, high }) {
  const interval = low === null || high === null ? "" : h("small", {}, ` (${number(low, DIGITS)} to ${number(high, DIGITS)})`);
  return h("span", {}, number(value, DIGITS), interval);
}

/** metrics: [name, estimate] pairs. */
export function metricsTable(metrics) {
  return fixedTable("Metrics", [
    { title: "Metric", cell: ([name]) => name },
    { title: "Value (95% interval)", number: true, cell: ([, estimate]) => estimateCell(estimate) },
  ], metrics);
}

/** Columns of a table: a bar from 0 with its whisker, or (`fromZero` false) a dot, and the number in words. */
export function estimateColumns(title, estimates, estimateOf, { fromZero = true, styleOf = () => "c1" } = {}) {
  const ends = range(estimates, fromZero);
  return [
    { title, cell: (row) => bar(estimateOf(row), ends, fromZero, styleOf(row)) },
    { title: "Value (95% interval)", number: true, cell: (row) => estimateCell(estimateOf(row)) },
  ];
}

function range(estimates, fromZero) {
  const [low, high] = extent(estimates.flatMap((each) => [each.value, each.low, each.high]).filter((each) => each !== null));
  const padding = (high - low || 1) * 0.08;
  return fromZero ? [Math.min(low, 0), Math.max(high, 0)] : [low - padding, high + padding];
}

function bar({ value, low, high }, [from, to], fromZero, style) {
  const across = (each) => (4 + ((each - from) / (to - from || 1)) * (WIDTH - 8)).toFixed(1);
  const parts = [];
  if (fromZero) parts.push(svg("line", { class: "zero", x1: across(0), x2: across(0), y1: 0, y2: HEIGHT }));
  if (value !== null && fromZero) {
    const [left, right] = [across(0), across(value)].map(Number).sort((a, b) => a - b);
    parts.push(svg("rect", { class: `bar ${style}`, x: left, y: 4, width: Math.max(0.5, right - left), height: HEIGHT - 8 }));
  }
  if (low !== null && high !== null) parts.push(svg("line", { class: fromZero ? "whisker" : `line ${style}`, x1: across(low), x2: across(high), y1: HEIGHT / 2, y2: HEIGHT / 2 }));
  if (value !== null && !fromZero) parts.push(svg("circle", { class: `point ${style}`, cx: across(value), cy: HEIGHT / 2, r: 4 }));
  return svg("svg", { class: "bar-cell", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" }, parts);
}
