// Drift: how the rows of a file differ from those that a version was trained on.

import { get, sendFile } from "../lib/api.js";
import { button, fixedTable, foldable, h } from "../lib/dom.js";
import { number, percent, plural } from "../lib/format.js";
import { fileForm } from "./file_form.js";
import { findingList } from "./findings.js";
import { figure, legend, plot } from "./plot.js";

const DIGITS = 3;
const MAX_OUTPUTS = 5;
const [BIN_HEIGHT, CHART_WIDTH, LABEL_WIDTH] = [24, 440, 190]; // pixels
const DRIFTS = { none: "none", moderate: "▲ moderate", large: "▲ large" };

/** `path`: of the routes that measure drift, of rows that are sent and of a sample of requests. */
export function driftView(path, signal) {
  const result = h("div", { "aria-live": "polite" });
  const measure = async (file) => {
    result.replaceChildren();
    result.replaceChildren(driftReport(await (await sendFile(path, file, signal)).json()));
  };
  const measureSample = async () => {
    result.replaceChildren();
    result.replaceChildren(driftReport(await get(path, signal)));
  };
  return h("div", {},
    h("p", {}, "Compares new rows with the training rows of this version. They need no target column, and nothing is stored."),
    fileForm("New rows", "Measure drift", measure),
    h("div", { class: "controls" }, button("Measure drift of sampled requests", measureSample)), result);
}

/** found: response of …/drift. */
function driftReport(found) {
  const drifted = found.columns.filter((column) => column.drift !== "none");
  const others = found.columns.filter((column) => column.drift === "none");
  return h("div", { class: "report" }, findingList(found.findings),
    h("p", {}, `${plural(found.compared_rows, "row")}${found.sampled_since ? ` of requests since ${new Date(found.sampled_since).toLocaleString()}` : ""} compared with ${plural(found.training_rows, "training row")}.`),
    h("section", {}, h("h2", {}, "Columns"), columnTable("Drift of columns", found.columns), binCharts(drifted)),
    h("section", {}, h("h2", {}, "Predictions"), columnTable("Drift of predictions", found.predictions), binCharts(found.predictions, "held-out rows")),
    found.moved && movedSection(found.moved),
    others.length > 0 && foldable("Columns without drift", binCharts(others)),
    found.missing.length > 0 && h("section", {}, h("h2", {}, "Left out"), h("ul", {}, found.missing.map(({ section, reason }) => h("li", {}, `${section}: ${reason}`)))));
}

function columnTable(caption, columns) {
  return fixedTable(caption, [
    { title: "Column", cell: (column) => column.column },
    { title: "Drift", nowrap: true, cell: (column) => (column.drift === "none" ? DRIFTS.none : h("strong", { class: column.drift === "large" ? "error" : "" }, DRIFTS[column.drift])) },
    { title: "Population stability index", number: true, cell: (column) => number(column.psi, DIGITS) },
    { title: "By chance, up to", number: true, cell: (column) => number(column.psi_limit, DIGITS) },
    { title: "Missing", number: true, cell: (column) => changeText(column.training_missing, column.missing) },
    { title: "Unseen", number: true, cell: (column) => (column.unseen === null ? "–" : percent(column.unseen)) },
    ...(columns.some((column) => column.unseen_texts.length) ? [{ title: "Unseen texts", cell: (column) => column.unseen_texts.join(", ") }] : []),
  ], columns);
}

function changeText(before, after) {
  return before === after ? percent(after) : `${percent(before)} → ${percent(after)}`;
}

/** `before`: the rows that new rows are compared with. */
function binCharts(columns, before = "training rows") {
  if (!columns.length) return null;
  return h("div", {}, legend([before, "new rows"]), h("div", { class: "charts" }, columns.map((column) => binChart(column, before))));
}

/** The shares of a column's bins: those of the rows before above those of new rows. */
function binChart({ column, bins }, before) {
  const highest = Math.max(...bins.flatMap(({ training, rows }) => [training, rows]));
  const drawn = plot({ x: [0, highest || 1], y: [0, bins.length], width: CHART_WIDTH, height: BIN_HEIGHT * bins.length + 54, left: LABEL_WIDTH });
  drawn.xGrid();
  drawn.xAxis("share of rows", percent);
  bins.forEach(({ label, training, rows }, place) => {
    const top = bins.length - place - 0.12;
    drawn.leftLabel(top - 0.38, label);
    drawn.bar([0, training], [top - 0.38, top], "c0", `${label}: ${percent(training)} of the ${before}`);
    drawn.bar([0, rows], [top - 0.76, top - 0.38], "c1", `${label}: ${percent(rows)} of the new rows`);
  });
  return figure(column, drawn, `Shares of ${column}`);
}

function movedSection({ outputs, training, rows, by }) {
  const shown = outputs.slice(0, MAX_OUTPUTS);
  return h("section", {}, h("h2", {}, "What moved the predictions"),
    fixedTable("Mean predictions", [
      { title: "Mean prediction", cell: (row) => row.name },
      { title: "Held-out rows", number: true, cell: (row) => number(row.before, DIGITS) },
      { title: "New rows", number: true, cell: (row) => number(row.after, DIGITS) },
    ], shown.map((name, place) => ({ name, before: training[place], after: rows[place] }))),
    h("p", {}, h("small", {}, "Change of the mean prediction by one column's drift: against the same rows with this column as it was in training. Columns that drift together may each have the same change.")),
    fixedTable("What moved the predictions", [
      { title: "Column", cell: (row) => row.column },
      ...shown.map((name, place) => ({ title: `Change of ${name}`, number: true, cell: (row) => signed(row.change[place]) })),
    ], by, "No column has drifted."));
}

function signed(value) {
  return `${value > 0 ? "+" : ""}${number(value, DIGITS)}`;
}
