// Heatmap of a metric over two hyperparameters; each cell also shows its value as text.

import { h } from "../lib/dom.js";
import { number, specValue } from "../lib/format.js";

const MAX_VALUES = 24; // rows or columns; more distinct numbers are binned
const BINS = 10;
const COLORS = 9; // .h0 to .h8 in style.css

/** configurations: of a sweep's summary; `rowName`, `columnName`: dotted spec names. Lighter cells are better. */
export function heatmap(configurations, rowName, columnName, monitor, lowerIsBetter) {
  const shown = configurations.filter(({ point }) => rowName in point && columnName in point);
  const [rowKey, columnKey] = [rowName, columnName].map((name) => keyFunction(shown.map(({ point }) => point[name])));
  if (!rowKey || !columnKey) return h("p", {}, "Too many distinct values for a heatmap.");
  const cells = new Map(); // "row\ncolumn" -> metric values
  const [rows, columns] = [new Set(), new Set()];
  for (const { point, value } of shown) {
    const [row, column] = [rowKey(point[rowName]), columnKey(point[columnName])];
    rows.add(row);
    columns.add(column);
    const key = `${row}\n${column}`;
    if (Number.isFinite(value?.mean)) cells.set(key, [...(cells.get(key) ?? []), value.mean]);
  }
  const means = new Map([...cells].map(([key, values]) => [key, values.reduce((a, b) => a + b) / values.length]));
  const [low, high] = [Math.min(...means.values()), Math.max(...means.values())];

  function cell(row, column) {
    const mean = means.get(`${row}\n${column}`);
    if (mean === undefined) return h("td", {}, "–");
    const goodness = high > low ? (lowerIsBetter ? high - mean : mean - low) / (high - low) : 1;
    return h("td", { class: `heat h${Math.round(goodness * (COLORS - 1))}` }, number(mean));
  }

  return h("table", { class: "heatmap" }, h("caption", {}, `Mean best ${monitor} (lighter is better)`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, `${rowName} \\ ${columnName}`), sorted(columns).map((value) => h("th", { scope: "col", class: "number" }, keyLabel(value))))),
    h("tbody", {}, sorted(rows).map((row) => h("tr", {}, h("th", { scope: "row" }, keyLabel(row)), sorted(columns).map((column) => cell(row, column))))));
}

/** Function from a value to its row or column key: the value's JSON, or its bin as [from, to]. Null: too many values. */
function keyFunction(values) {
  const distinct = new Set(values.map((value) => JSON.stringify(value)));
  if (distinct.size <= MAX_VALUES) return (value) => JSON.stringify(value);
  if (!values.every(Number.isFinite)) return null;
  const ascending = [...new Set(values)].sort((a, b) => a - b);
  const start = (bin) => Math.ceil((bin * ascending.length) / BINS);
  return (value) => {
    const bin = Math.min(BINS - 1, Math.floor((ascending.indexOf(value) * BINS) / ascending.length));
    return JSON.stringify([ascending[start(bin)], ascending[start(bin + 1) - 1]]);
  };
}

function keyLabel(key) {
  const value = JSON.parse(key);
  const isBin = Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);
  return isBin ? `${number(value[0])} to ${number(value[1])}` : specValue(value);
}

/** Numbers and bins in ascending order; other values in order of appearance. */
function sorted(keys) {
  const first = (key) => [JSON.parse(key)].flat()[0];
  const all = [...keys];
  return all.every((key) => Number.isFinite(first(key))) ? all.sort((a, b) => first(a) - first(b)) : all;
}
