// Tables of a sweep's results: its jobs, and its configurations averaged over seeds, folds and repeats, with error bars.

import { send } from "../lib/api.js";
import { button, h, svg, table, toast } from "../lib/dom.js";
import { duration, number, shortId, specValue, words } from "../lib/format.js";
import { statusBadge } from "./job_columns.js";
import { extent } from "./plot.js";

const VERDICTS = { best: "★ best", not_distinguishable: "≈ no clear difference", worse: "worse", unknown: "unknown" };
const [WIDTH, HEIGHT] = [150, 18]; // of an error bar, in pixels

/** The table of jobs; `names`: fields in which they differ. */
export function leaderboard(sweep, names) {
  return table("Leaderboard", [
    { title: "Rank", number: true, cell: (row) => String(row.rank) },
    { title: "Job", nowrap: true, cell: (row) => h("a", { href: `#/job/${row.job}`, title: row.job }, shortId(row.job)), text: (row) => row.job },
    { title: "Status", nowrap: true, cell: statusOf, text: (row) => `${row.status} ${row.stop_reason}` },
    { title: sweep.monitor, number: true, cell: (row) => number(row.value) },
    ...parameterColumns(names),
    ...(sweep.folds ? [{ title: "Fold", number: true, cell: (row) => String(row.point["split.fold"]) }] : []),
    ...(sweep.repeats > 1 ? [{ title: "Repeat", number: true, cell: (row) => String(row.point["split.repeat"]) }] : []),
    { title: "Seed", number: true, cell: (row) => ("seed" in row.point ? String(row.point.seed) : "–") },
    { title: "Best epoch", number: true, cell: (row) => number(row.best_epoch) },
    { title: "Epochs", number: true, cell: (row) => number(row.epochs) },
    { title: "Duration", number: true, cell: (row) => duration(row.seconds) },
  ], (row) => row.job, "");
}

function statusOf(row) {
  const revive = () => send("POST", `/v1/jobs/${row.job}/resume`).then(() => toast("Queued: the job trains on to the end of its own spec"));
  return h("span", { class: "row-actions" }, h("span", {}, statusBadge(row.status), row.stop_reason && row.stop_reason !== row.status && ` · ${words(row.stop_reason)}`),
    row.status === "pruned" && button("Resume", revive, { "data-needs": "submit", "aria-label": `Resume ${row.job}`, title: "Train on to the end of its own spec" }));
}

/** The table of configurations: points of lib/sweep_points.js. */
export function configurationTable(names) {
  let ends = [0, 1]; // of the error bars
  const list = table("Configurations", [
    { title: "Mean", number: true, cell: (row) => number(row.value) },
    { title: "± Standard error", number: true, cell: (row) => number(row.spread?.standard_error) },
    { title: "Error bar", cell: (row) => errorBar(row, ends), text: (row) => JSON.stringify([row.value, row.spread?.standard_error, ends]) },
    { title: "Versus best", nowrap: true, cell: (row) => versusBest(row.versus_best) },
    ...parameterColumns(names),
    { title: "Runs", number: true, cell: (row) => number(row.spread?.n ?? 0) },
    { title: "Best epoch", number: true, cell: (row) => rangeText(row.best_epoch) },
  ], (row) => row.key, "");
  return {
    element: list.element,
    update(points) {
      ends = extent(points.filter(({ value }) => value !== null).flatMap(({ value, spread }) => [value - (spread?.standard_error ?? 0), value + (spread?.standard_error ?? 0)]));
      list.update(points);
    },
  };
}

function parameterColumns(names) {
  return names.map((name) => ({ title: name, cell: (row) => (name in row.point ? specValue(row.point[name]) : "–") }));
}

/** The mean as a dot, with one standard error to both sides. */
function errorBar({ value, spread, versus_best: versus }, [low, high]) {
  if (value === null) return "";
  const across = (each) => (6 + ((each - low) / (high - low || 1)) * (WIDTH - 12)).toFixed(1);
  const error = spread?.standard_error;
  const style = versus?.verdict === "best" ? "c0" : "c1";
  return svg("svg", { class: "bar-cell", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    error && svg("line", { class: `line ${style}`, x1: across(value - error), x2: across(value + error), y1: HEIGHT / 2, y2: HEIGHT / 2 }),
    svg("circle", { class: `point ${style}`, cx: across(value), cy: HEIGHT / 2, r: versus?.verdict === "worse" ? 3 : 4.5 }));
}

/** Whether a configuration can be told from the best one, with the test as a tooltip. */
function versusBest(versus) {
  if (!versus) return "–";
  return h("span", { title: versus.reason }, VERDICTS[versus.verdict] ?? words(versus.verdict),
    versus.p_value !== null && h("small", {}, ` (p = ${number(versus.p_value, 2)})`));
}

function rangeText(range) {
  if (!range) return "–";
  return range.min === range.max ? number(range.min) : `${range.min} to ${range.max}`;
}
