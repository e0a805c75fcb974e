// Means of a number over two settings, as coloured cells that say their number.

import { h } from "./dom.js";
import { brief, number } from "./format.js";

/** points: of a sweep's summary; `down`, `across`: dotted names; a lighter cell is better. */
export function heatMap(points, down, across, monitor, smallerIsBetter) {
  const cells = new Map(); // "row\ncolumn" -> values
  const [rows, columns] = [new Set(), new Set()];
  for (const { point, value } of points) {
    if (!(down in point) || !(across in point)) continue;
    const key = [JSON.stringify(point[down]), JSON.stringify(point[across])];
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
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, `${down} \\ ${across}`), ordered(columns).map((value) => h("th", { scope: "col" }, brief(JSON.parse(value)))))),
    h("tbody", {}, ordered(rows).map((row) => h("tr", {}, h("th", { scope: "row" }, brief(JSON.parse(row))), ordered(columns).map((column) => cell(row, column))))));
}

/** Numbers by size, all else as it came. */
function ordered(values) {
  const parsed = [...values];
  return parsed.every((value) => Number.isFinite(Number(value))) ? parsed.sort((a, b) => a - b) : parsed;
}
