// Answers by retraining: would more rows help, and which columns are needed? Says before what it costs.

import { get, send } from "../lib/api.js";
import { button, facts, fixedTable, h } from "../lib/dom.js";
import { duration, number, percent, plural, words } from "../lib/format.js";
import { figure, extent, plot } from "./plot.js";

const DIGITS = 3;
const VERDICTS = { worse_without: "worse without it", no_difference: "no clear difference", better_without: "better without it" };

export function retrainingPanel(jobId, signal) {
  const content = h("div", { "aria-live": "polite" }, button("Show the cost", plan));
  const showPlan = (...children) => content.replaceChildren(...children.filter(Boolean));

  async function plan() {
    const found = await get(`/v1/jobs/${jobId}/retraining`, signal);
    if (found.sweep) return await showSweep(found.sweep);
    showPlan(costs(found), button(`Train ${plural(found.jobs, "job")}`, async () => {
      const sweep = await send("POST", `/v1/jobs/${jobId}/retraining`, undefined, signal);
      await showSweep(sweep.id);
    }, { "data-needs": "submit" }));
  }

  async function showSweep(id) {
    const sweep = await get(`/v1/sweeps/${id}`, signal);
    const link = h("a", { href: `#/sweep/${id}` }, "the sweep that retrains this job");
    if (sweep.status === "running") return showPlan(h("p", {}, "Training: see ", link, ". "), button("Look again", () => showSweep(id)));
    const report = await get(`/v1/jobs/${jobId}/report?retrain=true`, signal);
    if (!report.retraining) return showPlan(h("p", {}, report.missing.find(({ section }) => section === "retraining")?.reason ?? "No answers yet."), h("p", {}, "See ", link, "."));
    showPlan(answers(report.retraining), h("p", {}, "See ", link, "."));
  }

  return h("section", { class: "report" }, h("h2", {}, "Answers by retraining"),
    h("p", {}, "Would more rows help, and which columns are needed? Networks are trained on 10 to 100% of the training rows, and without one column each."), content);
}

function costs(found) {
  return facts([
    ["Jobs", `${number(found.jobs)}, in ${plural(found.arrays, "array")}: ${plural(found.fractions.length, "share")} of the rows and ${plural(found.columns.length, "column")}, ${number(found.draws)} times each`],
    ["Epochs", `at most ${number(found.epochs)} together`],
    ["Time", found.estimated_seconds !== null && `about ${duration(found.estimated_seconds)} if each job trained alone; jobs of an array take less`],
    ["Left out", found.left_out.map(({ fraction, column, reason }) => `${column ?? (fraction === null ? "columns" : percent(fraction))}: ${reason}`).join("; ")],
  ]);
}

function answers(found) {
  return h("div", {}, h("ul", {}, found.sentences.map((sentence) => h("li", {}, sentence))),
    h("div", { class: "columns" }, found.learning_curve.length > 0 && learningCurve(found),
      fixedTable("Without a column", [
        { title: "Without", cell: (row) => row.column },
        { title: `Change of ${words(found.metric)}`, number: true, cell: ({ change }) => h("span", {}, `${change.mean > 0 ? "+" : ""}${number(change.mean, DIGITS)}`, change.standard_error !== null && h("small", {}, ` ± ${number(change.standard_error, DIGITS)}`)) },
        { title: "Verdict", nowrap: true, cell: (row) => VERDICTS[row.verdict] },
      ], found.columns)));
}

/** The mean of the metric for each share of the training rows, with two standard errors. */
function learningCurve({ learning_curve: points, metric, part }) {
  const ends = ({ mean, standard_error: error }) => [mean - 2 * (error ?? 0), mean + 2 * (error ?? 0)];
  const drawn = plot({ x: [0, 1], y: extent(points.flatMap(ends)) });
  drawn.yAxis();
  drawn.xAxis("share of the training rows", percent);
  drawn.line(points.map((point) => [point.fraction, point.mean]), "c1");
  for (const point of points) {
    drawn.line(ends(point).map((end) => [point.fraction, end]), "whisker");
    drawn.dot([point.fraction, point.mean], "c1", `${percent(point.fraction)}: ${number(point.mean, DIGITS)}`);
  }
  return figure(`Learning curve: ${words(metric)} of ${part} rows`, drawn, "Learning curve");
}
