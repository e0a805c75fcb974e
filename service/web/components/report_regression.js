// Sections of a regression's report: metrics, predictions against the truth, residuals, errors by decile.

import { fixedTable, h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { estimateCell, estimateColumns, metricsTable } from "./estimates.js";
import { extent, figure, plot } from "./plot.js";

const DIGITS = 3;

/** [name, estimate] pairs. */
export function regressionMetrics(found) {
  return [
    ["RMSE", found.rmse], ["Mean absolute error", found.mae], ["Median absolute error", found.median_absolute_error], ["R²", found.r2],
    ["Mean relative error (MAPE)", found.mape], ["Mean residual", found.mean_residual],
  ];
}

/** Metrics, and predictions against the truth. */
export function regressionMetricsSection(found) {
  return h("section", {}, h("h2", {}, "Metrics"), h("div", { class: "columns" }, metricsTable(regressionMetrics(found)), predictedActual(found.predicted_actual)));
}

/** Residuals, and errors by decile of the true value. */
export function residualSections(found) {
  return [
    h("section", {}, h("h2", {}, "Residuals"), h("div", { class: "charts" }, residualHistogram(found.residuals), residualsByPrediction(found.residuals_by_prediction))),
    h("section", {}, h("h2", {}, "Error by decile of the true value"), deciles(found.deciles)),
  ];
}

function predictedActual({ edges, counts }) {
  const ends = [edges[0], edges.at(-1)];
  const drawn = plot({ x: ends, y: ends });
  drawn.yAxis();
  drawn.xAxis("true value");
  const largest = Math.max(1, ...counts.flat());
  counts.forEach((row, i) => row.forEach((count, j) => {
    if (count) drawn.cell([edges[i], edges[i + 1]], [edges[j], edges[j + 1]], 0.15 + 0.85 * Math.sqrt(count / largest), `${number(count)} rows`);
  }));
  drawn.line([[ends[0], ends[0]], [ends[1], ends[1]]], "dashed baseline");
  return figure("Predicted against true value", drawn);
}

function residualHistogram({ edges, counts }) {
  const highest = Math.max(1, ...counts);
  const drawn = plot({ x: [edges[0], edges.at(-1)], y: [0, highest * 1.05] });
  drawn.yAxis();
  drawn.xAxis("residual (true minus predicted)");
  counts.forEach((count, place) => drawn.bar([edges[place], edges[place + 1]], [0, count], "c1", `${number(edges[place], DIGITS)} to ${number(edges[place + 1], DIGITS)}: ${number(count)} rows`));
  drawn.line([[0, 0], [0, highest]], "dashed baseline");
  return figure("Residuals: rows", drawn, "Histogram of residuals");
}

function residualsByPrediction(bins) {
  const [low, high] = extent([0, ...bins.flatMap((bin) => bin.quantiles)]);
  const middle = (bin) => (bin.low + bin.high) / 2;
  const ends = extent(bins.map(middle));
  const drawn = plot({ x: ends, y: [low, high] });
  drawn.yAxis();
  drawn.xAxis("prediction");
  drawn.area(bins.map((bin) => [middle(bin), bin.quantiles[0], bin.quantiles[4]]), "c1 pale");
  drawn.area(bins.map((bin) => [middle(bin), bin.quantiles[1], bin.quantiles[3]]), "c1");
  drawn.line([[ends[0], 0], [ends[1], 0]], "dashed baseline");
  drawn.line(bins.map((bin) => [middle(bin), bin.quantiles[2]]), "c1");
  return figure("Residuals by prediction: median, 50% and 90%", drawn);
}

function deciles(found) {
  return fixedTable("Error by decile", [
    { title: "True value", cell: (row) => `${number(row.low, DIGITS)} to ${number(row.high, DIGITS)}` },
    { title: "Rows", number: true, cell: (row) => number(row.rows) },
    ...estimateColumns("Mean absolute error", found.map((row) => row.mae), (row) => row.mae),
    { title: "Mean residual", number: true, cell: (row) => estimateCell(row.mean_residual) },
  ], found);
}
