// The report on a network or a model: findings, metrics, comparison with simple models, columns, errors.

import { facts, fixedTable, h } from "../lib/dom.js";
import { number, percent, plural } from "../lib/format.js";
import { findingList } from "./findings.js";
import { classMetricsSection, curvesSection, reliabilityChart, thresholdsSection } from "./report_classification.js";
import { effectsSection, importanceSection, slicesSection, worstRowsSection } from "./report_columns.js";
import { regressionMetricsSection, residualSections } from "./report_regression.js";
import { estimateCell, estimateColumns, estimateText } from "./estimates.js";

export const LOSSES = { log_loss: "log loss", rmse: "RMSE", mae: "MAE", pinball: "pinball loss", huber: "Huber loss", poisson_deviance: "Poisson deviance" };
const VERDICTS = { network_better: "network better", no_difference: "no significant difference", baseline_better: "this one is better" };
const METRICS = { accuracy: "Accuracy", mae: "MAE", r2: "R²" };
const SECTIONS = { baselines: "Comparison with simple models", importance: "Which columns matter", effects: "Effects of columns", slices: "Where it is wrong" };

/** report: response of GET …/report, or of POST …/evaluate, which has fewer sections.
 *
 * costs: {values, onChange} of the costs of false answers, which a reader may change; `first`: what follows the findings.
 */
export function reportView(report, { costs = null, first = null } = {}) {
  const { classification, regression } = report;
  return h("div", { class: "report" },
    findingList(report.findings), first,
    classification && classMetricsSection(classification),
    regression && regressionMetricsSection(regression),
    report.baselines && baselinesSection(report.baselines),
    classification && curvesSection(classification),
    classification?.thresholds && thresholdsSection(classification.thresholds, costs),
    regression && residualSections(regression),
    calibrationSection(report),
    report.importance && importanceSection(report.importance, LOSSES[report.importance.loss]),
    report.effects?.columns.length > 0 && effectsSection(report.effects, report.time_columns),
    report.slices && slicesSection(report.slices, report.time_columns),
    worstRowsSection(report),
    missingSection(report.missing));
}

/** "Measured on 34 test rows that it was not trained on; trained on 240 rows." */
export function evaluatedText({ evaluated: { part, rows, training }, members = [] }) {
  const several = members.length > 1;
  const unseen = several && part === "validation" ? ", each predicted by the members that were not trained on it" : " that it was not trained on";
  const trained = training === null ? "" : `; ${several ? "all members together were trained" : "trained"} on ${plural(training, "row")}`;
  return `Measured on ${number(rows)} ${part} rows${unseen}${trained}.`;
}

function baselinesSection(found) {
  const network = { name: "Network", description: "the best epoch", loss: found.network, metrics: found.network_metrics };
  const rows = [network, ...found.models];
  const loss = LOSSES[found.loss];
  const names = Object.keys(found.network_metrics);
  return h("section", {}, h("h2", {}, SECTIONS.baselines),
    fixedTable("Comparison with simple models", [
      { title: "Model", cell: (row) => (row === network ? h("strong", {}, row.name) : baselineName(row)) },
      ...estimateColumns(`${capitalized(loss)} (less is better)`, rows.map((row) => row.loss), (row) => row.loss, { fromZero: false, styleOf: (row) => (row === network ? "c1" : "c0") }),
      ...names.map((name) => ({ title: METRICS[name] ?? name, number: true, cell: (row) => number(row.metrics[name], 3) })),
      { title: "Difference to the network", number: true, cell: (row) => (row.difference ? estimateCell(row.difference) : "") },
      { title: "Verdict", nowrap: true, cell: (row) => (row.verdict === "baseline_better" ? h("strong", { class: "error" }, VERDICTS[row.verdict]) : VERDICTS[row.verdict]) },
    ], rows),
    h("p", {}, h("small", {}, `Simple models are trained on ${plural(found.training_rows, "training row")}${found.fits > 1 ? ` in each of ${found.fits} fits, such as folds, averaged as the networks are,` : ""} and scored on the same rows as the network. A difference above 0 means that the network is better.`)),
    found.missing && h("p", { class: "warning" }, found.missing));
}

function baselineName({ name, description }) {
  return h("span", { class: "model-name" }, capitalized(name.replaceAll("_", " ")), h("br"), h("small", {}, description));
}

/** Reliability of the probabilities, temperature, and coverage of sets or intervals. */
function calibrationSection({ classification, temperature, conformal, evaluated }) {
  const what = classification ? "Mean number of classes" : "Mean width";
  if (!classification && !conformal.length) return null;
  return h("section", {}, h("h2", {}, classification ? "Calibration" : "Prediction intervals"),
    h("div", { class: "columns" },
      classification && reliabilityChart(classification.reliability),
      h("div", {},
        classification && facts([
          ["Expected calibration error", estimateText(classification.reliability.expected_calibration_error)],
          ["Temperature", temperature && temperatureText(temperature)],
        ]),
        conformal.length > 0 && h("p", {}, `Conformal ${classification ? "sets of classes" : "intervals"}, calibrated on validation rows and measured on ${evaluated ? "test rows" : "these rows"}:`),
        conformal.length > 0 && fixedTable("Coverage", [
          { title: "Asked for", cell: (row) => percent(row.level) },
          { title: "Measured coverage", number: true, cell: (row) => estimateCell(row.coverage) },
          { title: what, number: true, cell: (row) => number(row.mean_size, 3) },
        ], conformal))));
}

function temperatureText({ temperature, reason, rows, log_loss: before, calibrated_log_loss: after }) {
  const effect = reason === "fitted" && before !== null ? `: log loss ${number(before, 3)} → ${number(after, 3)}` : "";
  return `${number(temperature, 3)} (${reason}), from ${plural(rows, "validation row")}${effect}`;
}

function missingSection(missing) {
  if (!missing.length) return null;
  return h("section", {}, h("h2", {}, "Not in this report"), facts(missing.map(({ section, reason }) => [SECTIONS[section] ?? capitalized(section), reason])));
}

function capitalized(text) {
  return text[0].toUpperCase() + text.slice(1);
}
