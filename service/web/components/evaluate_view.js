// Evaluation of a version on new labelled rows, beside the rows that were held out in training.

import { sendFile } from "../lib/api.js";
import { fixedTable, h } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { estimateCell } from "./estimates.js";
import { fileForm } from "./file_form.js";
import { LOSSES, reportView } from "./report.js";
import { classMetrics } from "./report_classification.js";
import { regressionMetrics } from "./report_regression.js";

/** `path`: of the route that evaluates. */
export function evaluateView(path, signal) {
  const result = h("div", { "aria-live": "polite" });
  const evaluate = async (file) => {
    result.replaceChildren();
    result.replaceChildren(...evaluation(await (await sendFile(path, file, signal)).json()));
  };
  return h("div", {},
    h("p", {}, "How good this version is on new rows whose target is known, such as last month's. Nothing is stored."),
    fileForm("Labelled rows", "Evaluate", evaluate), result);
}

function evaluation(found) {
  return [h("p", {}, `${plural(found.rows, "row")} evaluated.`), reportView(found, { first: found.compared_with && comparison(found) })];
}

function comparison(found) {
  const before = new Map(metricsOf(found.compared_with));
  const rows = metricsOf(found).map(([name, estimate]) => ({ name, now: estimate, before: before.get(name) }));
  return h("section", {}, h("h2", {}, "Compared with training"),
    fixedTable("Compared with training", [
      { title: "Metric (95% interval)", cell: (row) => row.name },
      { title: "These rows", number: true, cell: (row) => estimateCell(row.now) },
      { title: `Held-out ${found.compared_with.part} rows`, number: true, cell: (row) => estimateCell(row.before) },
    ], rows),
    found.difference && h("p", {}, `Difference of the ${LOSSES[found.loss]}, above 0 where these rows are worse: `, estimateCell(found.difference)));
}

function metricsOf({ classification, regression }) {
  return classification ? classMetrics(classification) : regressionMetrics(regression);
}
