// Means of a number over two settings, as coloured cells that say their number.

import { h } from "../lib/dom.js";
import { brief, number } from "../lib/format.js";

const MOST = 24; // rows or columns; of more numbers than that, each stands for several
const BINS = 10;

/** points: of a sweep's summary; `down`, `across`: dotted names; a lighter cell is better. */
export function heatMap(points, down, across, monitor, smallerIsBetter) {
  const shown = points.filter(({ point }) => down in point && across in point);
  const [byRow, byColumn] = [down, across].map((name) => axis(shown.map(({ point }) => point[name])));
  if (!byRow || !byColumn) return h("p", {}, "Too many different values for a map.");
  const cells = new Map(); // "row\ncolumn" -> values
  const [rows, columns] = [new Set(), new Set()];
  for (const { point, value } of shown) {
    const key = [byRow(point[down]), byColumn(point[across])];
    rows.add(key[0]);
    columns.add(key[1]);
    if (Number.isFinite(value?.mean)) cells.set(key.join("\n"), [...(cells.get(key.join("\n")) ?? []), value.mean]);
  }
  const means = new Map([...cells].map(([key, values]) => [key, values.reduce((a, b) => a + b) / values.length]));
  const [low, high] = [Math.min(...means.values()), Math.max(...means.values())];

  function cell(row, column) {
    const mean = means.get(`${row}\n${column}`);
    if (mean === undefined) return h("td", {}, "–");
    const good = high > low ? (smallerIsBetter ? high - mean : mean - low) / (high - low) : 1;
    return h("td", { class: `heat h${Math.round(good * 8)}` }, number(mean));
  }

  return h("table", { class: "map" }, h("caption", {}, `Mean best ${monitor}; brighter is better`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, `${down} \\ ${across}`), ordered(columns).map((value) => h("th", { scope: "col" }, label(value))))),
    h("tbody", {}, ordered(rows).map((row) => h("tr", {}, h("th", { scope: "row" }, label(row)), ordered(columns).map((column) => cell(row, column))))));
}

/** A value -> the JSON of the row or column that it belongs to: itself, or [from, to] of many numbers; null: too many. */
function axis(values) {
  const different = new Set(values.map((value) => JSON.stringify(value)));
  if (different.size <= MOST) return (value) => JSON.stringify(value);
  if (!values.every(Number.isFinite)) return null;
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  const first = (bin) => Math.ceil((bin * sorted.length) / BINS);
  return (value) => {
    const bin = Math.min(BINS - 1, Math.floor((sorted.indexOf(value) * BINS) / sorted.length));
    return JSON.stringify([sorted[first(bin)], sorted[first(bin + 1) - 1]]);
  };
}

function label(text) {
  const value = JSON.parse(text);
  const bin = Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);
  return bin ? `${number(value[0])} to ${number(value[1])}` : brief(value);
}

/** Numbers by size, all else as it came. */
function ordered(values) {
  const first = (text) => [JSON.parse(text)].flat()[0];
  const all = [...values];
  return all.every((text) => Number.isFinite(first(text))) ? all.sort((a, b) => first(a) - first(b)) : all;
}
