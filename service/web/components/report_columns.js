// Sections of a report about columns and rows: importance, effects, slices with larger errors, worst rows.

import { fixedTable, h } from "../lib/dom.js";
import { dataValue, dateText, number, plural, tickLabel } from "../lib/format.js";
import { estimateColumns } from "./estimates.js";
import { extent, figure, legend, plot } from "./plot.js";

const MAX_IMPORTANT = 20;
const MAX_OUTPUTS = 5;
const [EFFECT_WIDTH, EFFECT_HEIGHT] = [360, 220];
const BAR_ROW = 26; // pixels
const SHOWN_ROWS = 20; // of the worst rows
const SHOWN_COLUMNS = 6;
const DIGITS = 3;

export function importanceSection(found, loss) {
  const rows = found.columns.slice(0, MAX_IMPORTANT);
  return h("section", {}, h("h2", {}, "Which columns matter"),
    h("p", {}, `By how much the ${loss} increases when a column's values are shuffled between ${plural(found.rows, "row")}, ${number(found.repeats)} times. Columns that tell each other are also shuffled together: alone, each may look unimportant because the network has the other.`),
    fixedTable("Importance of columns", [
      { title: "Column", cell: (row) => row.columns.join(" + ") },
      ...estimateColumns(`Increase of the ${loss}`, rows.map((row) => row.increase), (row) => row.increase, { styleOf: (row) => (row.columns.length > 1 ? "c2" : "c1") }),
    ], rows));
}

export function effectsSection({ outputs, columns }, times) {
  const drawn = outputs.slice(0, MAX_OUTPUTS);
  const what = outputs.length === 1 ? outputs[0] : `the probabilities of ${drawn.join(", ")}`;
  return h("section", {}, h("h2", {}, "Effects of columns"),
    h("p", {}, `How the prediction of ${what} changes with one column: accumulated local effects for numbers, and for texts the mean prediction if every row had this text. 0 is the mean of all rows.`),
    legend(drawn), h("div", { class: "charts" }, columns.map((column) => effectChart(column, drawn.length, times.includes(column.column)))));
}

function effectChart({ column, method, points }, outputs, isTime) {
  const ends = extent([0, ...points.flatMap((point) => point.effect.slice(0, outputs))]);
  const style = (output) => (outputs === 1 ? "c1" : `c${output}`);
  if (method === "replaced" || typeof points[0].value !== "number") return figure(column, effectBars(points, ends, outputs, style), `Effect of ${column}`);
  const drawn = plot({ x: [points[0].value, points.at(-1).value], y: ends, width: EFFECT_WIDTH, height: EFFECT_HEIGHT });
  drawn.yAxis();
  drawn.xAxis(column, isTime ? (seconds) => dateText(Math.round(seconds / 86400) * 86400) : tickLabel);
  for (let output = 0; output < outputs; output++) drawn.line(points.map((point) => [point.value, point.effect[output]]), style(output));
  return figure(column, drawn, `Effect of ${column}`);
}

function effectBars(points, ends, outputs, style) {
  const drawn = plot({ x: ends, y: [0, points.length], width: EFFECT_WIDTH, height: Math.max(EFFECT_HEIGHT, BAR_ROW * points.length + 50), left: 120 });
  drawn.xGrid();
  drawn.xAxis("effect");
  points.forEach(({ value, effect }, place) => {
    const top = points.length - place - 0.15;
    const thickness = 0.7 / outputs;
    drawn.leftLabel(top - 0.35, dataValue(value));
    for (let output = 0; output < outputs; output++) {
      const y = top - output * thickness;
      drawn.bar([0, effect[output]], [y - thickness, y], style(output), `${dataValue(value)}: ${number(effect[output], DIGITS)}`);
    }
  });
  return drawn;
}

export function slicesSection(found, times) {
  if (!found.looked_at) return h("section", {}, h("h2", {}, "Where it is wrong"), h("p", {}, `No slice of one column has at least ${plural(found.min_rows, "row")} inside and outside.`));
  const text = `${plural(found.looked_at, "slice")} of one column and ${plural(found.pairs, "pair")}, of at least ${plural(found.min_rows, "row")}, were looked at; p-values are corrected for their number.`;
  return h("section", {}, h("h2", {}, "Where it is wrong"), h("p", {}, text),
    fixedTable("Slices with larger errors", [
      { title: "Where", cell: (row) => row.conditions.map((each) => conditionText(each, times)).join(" and ") },
      { title: "Rows", number: true, cell: (row) => number(row.rows) },
      { title: "Mean loss", number: true, cell: (row) => number(row.mean_loss, DIGITS) },
      { title: "Mean loss elsewhere", number: true, cell: (row) => number(row.rest_mean_loss, DIGITS) },
      { title: "p-value", number: true, cell: (row) => number(row.corrected_p_value, 2) },
    ], found.slices, "In none of them is the error significantly larger."));
}

/** "island = Biscoe", "3 ≤ mass < 4", "sex is missing". */
function conditionText({ column, value, low, high, missing }, times) {
  const end = (each) => dataValue(each, times.includes(column));
  if (missing) return `${column} is missing`;
  if (low !== null && high !== null) return `${end(low)} ≤ ${column} < ${end(high)}`;
  if (low !== null) return `${column} ≥ ${end(low)}`;
  if (high !== null) return `${column} < ${end(high)}`;
  return `${column} = ${end(value)}`;
}

export function worstRowsSection({ worst, task, loss, time_columns: times }) {
  const ofClass = task === "classification";
  const columns = worst.columns.slice(0, SHOWN_COLUMNS);
  const rows = worst.rows.slice(0, SHOWN_ROWS);
  const score = ofClass ? "Probability of the true class" : ({ rmse: "Squared error", mae: "Absolute error" }[loss] ?? "Loss");
  return h("section", {}, h("h2", {}, "Worst rows"),
    h("p", {}, `The ${plural(rows.length, "row")} with the largest loss, numbered from 0 as in the data set, and their important columns.`),
    fixedTable("Worst rows", [
      { title: "Row", number: true, cell: (row) => String(row.row) },
      { title: "True", nowrap: true, number: !ofClass, cell: (row) => dataValue(row.truth) },
      { title: "Predicted", nowrap: true, number: !ofClass, cell: (row) => dataValue(row.prediction) },
      { title: score, number: true, cell: (row) => number(ofClass ? row.probability : row.loss, DIGITS) },
      ...columns.map((name) => ({ title: name, nowrap: true, number: rows.some((row) => typeof row.values[name] === "number"), cell: (row) => dataValue(row.values[name], times.includes(name)) })),
    ], rows));
}
