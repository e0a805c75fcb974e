// Sections of a classifier's report: metrics, classes, confusion matrix, curves, thresholds.

import { field, fixedTable, foldable, h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { estimateCell, estimateText, metricsTable } from "./estimates.js";
import { figure, legend, plot } from "./plot.js";

const FEW_CLASSES = 6; // of a confusion matrix beside the metrics
const MANY_CLASSES = 20; // of one that is folded
const MAX_CURVES = 5;
const DIGITS = 3;
const BEST = { f1: "best F1", accuracy: "best accuracy", balanced_accuracy: "best balanced accuracy", cost: "lowest cost" };

/** [name, estimate] pairs. */
export function classMetrics(found) {
  return [
    ["Accuracy", found.accuracy], ["Balanced accuracy", found.balanced_accuracy], ["Log loss", found.log_loss], ["Brier score", found.brier_score],
    ["ROC AUC", found.roc_auc], ["Average precision", found.average_precision], ["Macro F1", found.macro.f1], ["Weighted F1", found.weighted.f1],
  ];
}

/** Metrics, confusion matrix and a table of the classes. */
export function classMetricsSection(found) {
  const matrix = confusionMatrix(found.confusion);
  const count = found.confusion.classes.length;
  return h("section", {}, h("h2", {}, "Metrics"),
    count <= FEW_CLASSES ? h("div", { class: "columns" }, metricsTable(classMetrics(found)), matrix) : metricsTable(classMetrics(found)),
    h("h2", {}, "Classes"), classTable(found.classes),
    count > FEW_CLASSES && foldable("Confusion matrix", matrix, count <= MANY_CLASSES));
}

/** Rows: true classes; each cell is as dark as its share of its row. */
function confusionMatrix({ classes, counts, grouped }) {
  const row = (name, cells) => {
    const total = cells.reduce((sum, count) => sum + count, 0) || 1;
    return h("tr", {}, h("th", { scope: "row" }, name), cells.map((count, column) =>
      h("td", { class: `number share s${Math.round((count / total) * 10)}`, title: `${name} predicted as ${classes[column]}: ${number(count)} of ${number(total)}` }, number(count))));
  };
  return h("figure", {}, h("figcaption", {}, "Confusion matrix: true class by predicted class"),
    h("div", { class: "table", tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, h("table", { class: classes.length > FEW_CLASSES ? "confusion large" : "confusion" },
      h("caption", { class: "visually-hidden" }, "Confusion matrix: rows are true classes, columns predicted classes"),
      h("thead", {}, h("tr", {}, h("td"), classes.map((name) => h("th", { scope: "col", class: "number" }, h("span", {}, name))))),
      h("tbody", {}, counts.map((cells, index) => row(classes[index], cells))))),
    grouped > 0 && h("p", {}, h("small", {}, `(other): ${number(grouped)} rarer classes.`)));
}

function classTable(classes) {
  const estimates = ["precision", "recall", "f1", "roc_auc"];
  const titles = { precision: "Precision", recall: "Recall", f1: "F1", roc_auc: "ROC AUC" };
  return fixedTable("Classes", [
    { title: "Class", cell: (row) => row.name },
    { title: "Rows", number: true, cell: (row) => number(row.support) },
    { title: "Predicted", number: true, cell: (row) => number(row.predicted) },
    ...estimates.map((name) => ({ title: titles[name], number: true, cell: (row) => estimateCell(row[name]) })),
  ], classes);
}

/** ROC and precision-recall curves. */
export function curvesSection(found) {
  const roc = plot({ x: [0, 1], y: [0, 1] });
  roc.yAxis();
  roc.xAxis("false positive rate");
  roc.line([[0, 0], [1, 1]], "dashed baseline");
  const precisionRecall = plot({ x: [0, 1], y: [0, 1] });
  precisionRecall.yAxis();
  precisionRecall.xAxis("recall");
  const names = drawnCurves(found.roc);
  names.forEach((name, index) => {
    const curve = found.roc.find((each) => each.name === name);
    roc.line(curve.false_positive_rate.map((rate, place) => [rate, curve.true_positive_rate[place]]), `c${index}`);
    const other = found.precision_recall.find((each) => each.name === name);
    if (other) precisionRecall.line(steps(other), `c${index}`);
  });
  return h("section", {}, h("h2", {}, "Curves"), legend(names.map((name) => (name === "(macro)" ? "mean of all classes" : name))),
    h("div", { class: "charts" },
      figure("ROC curve: true positive rate", roc, `ROC curve, area ${estimateText(found.roc_auc)}`),
      figure("Precision-recall curve: precision", precisionRecall, `Precision-recall curve, average precision ${estimateText(found.average_precision)}`)));
}

/** Names of the curves that are drawn, the mean of all classes first. */
function drawnCurves(curves) {
  const names = curves.map((curve) => curve.name);
  const mean = curves.length > 1 ? [names.at(-1)] : [];
  return [...mean, ...names.slice(0, curves.length > 1 ? -1 : 1)].slice(0, MAX_CURVES);
}

/** Precision holds from the recall of the point before. */
function steps({ recall, precision }) {
  return recall.flatMap((value, place) => [[recall[place - 1] ?? 0, precision[place]], [value, precision[place]]]);
}

/** Predicted probabilities against observed shares. */
export function reliabilityChart({ of, bins }) {
  const drawn = plot({ x: [0, 1], y: [0, 1] });
  drawn.yAxis();
  drawn.xAxis("mean predicted probability");
  drawn.line([[0, 0], [1, 1]], "dashed baseline");
  drawn.line(bins.map((bin) => [bin.mean_probability, bin.observed.value ?? 0]), "c1");
  for (const { rows, mean_probability: probability, observed } of bins) {
    if (observed.low !== null) drawn.line([[probability, observed.low], [probability, observed.high]], "whisker");
    drawn.dot([probability, observed.value ?? 0], "c1", `${number(rows)} rows: predicted ${number(probability, DIGITS)}, observed ${estimateText(observed)}`);
  }
  return figure(`Reliability of the probability of ${of === "(predicted class)" ? "the predicted class" : of}: observed share`, drawn);
}

/** Thresholds for two classes; `costs` as for `reportView`. */
export function thresholdsSection({ positive, rows, best }, costs) {
  const chosen = best.map(({ metric, at }) => ({ ...at, why: ` (${BEST[metric] ?? metric})` }));
  const half = rows.filter((row) => row.threshold === 0.5).map((row) => ({ ...row, why: " (default)" }));
  const all = [...rows.map((row) => ({ ...row, why: "" })), ...chosen].sort((a, b) => a.threshold - b.threshold);
  return h("section", {}, h("h2", {}, "Thresholds"),
    h("p", {}, `A row is predicted ${positive} if its probability is at least the threshold. The best thresholds were chosen on these rows; on new ones they are expected to do a little worse.`),
    costs && costsForm(positive, costs),
    thresholdTable("Best thresholds", [...half, ...chosen]),
    h("details", {}, h("summary", {}, "All thresholds"), thresholdTable("All thresholds", all)));
}

function thresholdTable(caption, rows) {
  const column = (title, name) => ({ title, number: true, cell: (row) => number(row[name].value, DIGITS) });
  const costs = rows.some((row) => row.cost !== null);
  return fixedTable(caption, [
    { title: "Threshold", nowrap: true, cell: (row) => `${number(row.threshold, DIGITS)}${row.why}` },
    column("Precision", "precision"), column("Recall", "recall"), column("F1", "f1"), column("Accuracy", "accuracy"), column("Predicted positive", "predicted_positive"),
    ...(costs ? [{ title: "Mean cost", number: true, cell: (row) => number(row.cost?.value, 4) }] : []),
  ], rows);
}

function costsForm(positive, { values, onChange }) {
  const input = (name) => h("input", { name, type: "number", min: 0, step: "any", required: true, value: values[name] });
  const [falsePositive, falseNegative] = [input("false_positive"), input("false_negative")];
  const submit = (event) => {
    event.preventDefault();
    onChange({ false_positive: Number(falsePositive.value), false_negative: Number(falseNegative.value) });
  };
  return h("form", { class: "controls", onsubmit: submit },
    field(`Cost of a wrong “${positive}”`, falsePositive), field(`Cost of a missed “${positive}”`, falseNegative), h("button", {}, "Find the cheapest threshold"));
}
