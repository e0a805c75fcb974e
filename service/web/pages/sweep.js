// One sweep: leaderboard, configurations aggregated over seeds, folds and repeats, heatmap of two parameters.

import { download, get, listAll, send } from "../lib/api.js";
import { button, h, select, table, toast } from "../lib/dom.js";
import { duration, number, plural, shortId, specValue, words } from "../lib/format.js";
import { poll } from "../lib/polling.js";
import { heatmap } from "../components/heatmap.js";
import { statusBadge } from "../components/job_columns.js";
import { publishButton } from "../components/publish_dialog.js";
import { jobCounts } from "./sweeps.js";

export const title = "Sweep";

const POLL_SECONDS = 3;
const MAX_ROWS = 2000; // jobs and configurations shown
const MAX_COMPARED = 8;
const VERDICTS = { not_distinguishable: "no clear difference" };
const LOWER_IS_BETTER = /loss|mae|rmse/;

export async function show(root, { id, signal }) {
  let sweep = await get(`/v1/sweeps/${id}`, signal);
  const header = h("div");
  const changed = Object.keys(sweep.grid ?? Object.assign({}, ...(sweep.points ?? [])));
  const names = changed.filter((name) => name !== "seed");
  const board = leaderboard(sweep, names);
  const repeated = sweep.replicates > 1 || sweep.folds || changed.includes("seed");
  const configurations = repeated ? configurationTable(names) : null;
  const map = names.length >= 2 ? heatmapSection(names) : null;
  root.append(header, map ? h("section", {}, h("h2", {}, "Heatmap"), map.element) : "",
    configurations ? h("section", {}, h("h2", {}, "Configurations (mean ± standard error)"), configurations.element) : "",
    h("h2", {}, "Leaderboard"), board.element);

  await poll(POLL_SECONDS, signal, async () => {
    sweep = await get(`/v1/sweeps/${id}`, signal);
    document.title = `${sweep.name ?? id} – bestepoch`;
    const results = await listAll(`/v1/sweeps/${id}/results?limit=1000`, signal, MAX_ROWS);
    const summary = configurations || map ? await listAll(`/v1/sweeps/${id}/summary?limit=1000`, signal, MAX_ROWS) : [];
    draw(results, summary);
    return sweep.status !== "running";
  });

  function draw(results, summary) {
    const key = JSON.stringify([sweep.status, sweep.counts, results.length]);
    if (header.dataset.key !== key) {
      header.dataset.key = key;
      header.replaceChildren(h("h1", {}, sweep.name ?? id, " ", statusBadge(sweep.status)), controls(sweep, results, signal),
        h("p", {}, `${plural(sweep.jobs, "job")} (${jobCounts(sweep)}), ranked by ${sweep.monitor}.`,
          sweep.jobs > 1 && !repeated ? " One run per configuration: differences may be chance." : "",
          sweep.jobs > MAX_ROWS ? ` Only the best ${number(MAX_ROWS)} are shown.` : ""));
    }
    board.update(results.map((row, index) => ({ ...row, rank: row.value === null ? "–" : index + 1 })));
    configurations?.update(summary);
    map?.update(summary, sweep.monitor, LOWER_IS_BETTER.test(sweep.monitor));
  }
}

function controls(sweep, results, signal) {
  const top = results.filter((row) => row.value !== null).slice(0, MAX_COMPARED).map((row) => row.job);
  return h("div", { class: "controls" },
    top.length > 1 && h("a", { class: "button", href: `#/compare?ids=${top.join(",")}` }, `Compare top ${top.length}`),
    h("a", { class: "button", href: `#/jobs?sweep=${sweep.id}` }, "Show jobs"),
    button("Download CSV", () => download(`/v1/sweeps/${sweep.id}/results`, "text/csv")),
    sweep.status !== "running" && sweep.best && publishButton({ sweep: sweep.id }),
    sweep.status === "running" && button("Cancel sweep", async () => {
      if (!confirm("Cancel all unfinished jobs of this sweep?")) return;
      await send("POST", `/v1/sweeps/${sweep.id}/cancel`, undefined, signal);
      toast("Sweep cancelled");
    }, { "data-needs": "submit" }));
}

function parameterColumns(names) {
  return names.map((name) => ({ title: name, cell: (row) => (name in row.point ? specValue(row.point[name]) : "–") }));
}

function leaderboard(sweep, names) {
  return table("Leaderboard", [
    { title: "Rank", number: true, cell: (row) => String(row.rank) },
    { title: "Job", nowrap: true, cell: (row) => h("a", { href: `#/job/${row.job}`, title: row.job }, shortId(row.job)), text: (row) => row.job },
    { title: "Status", nowrap: true, cell: (row) => h("span", {}, statusBadge(row.status), row.stop_reason && row.stop_reason !== row.status && ` · ${words(row.stop_reason)}`) },
    ...parameterColumns(names),
    ...(sweep.folds ? [{ title: "Fold", number: true, cell: (row) => String(row.point["split.fold"]) }] : []),
    ...(sweep.repeats > 1 ? [{ title: "Repeat", number: true, cell: (row) => String(row.point["split.repeat"]) }] : []),
    { title: "Seed", number: true, cell: (row) => ("seed" in row.point ? String(row.point.seed) : "–") },
    { title: sweep.monitor, number: true, cell: (row) => number(row.value) },
    { title: "Best epoch", number: true, cell: (row) => number(row.best_epoch) },
    { title: "Epochs", number: true, cell: (row) => number(row.epochs) },
    { title: "Duration", number: true, cell: (row) => duration(row.seconds) },
  ], (row) => row.job, "");
}

function configurationTable(names) {
  return table("Configurations", [
    ...parameterColumns(names),
    { title: "Mean", number: true, cell: (row) => number(row.value?.mean) },
    { title: "± Standard error", number: true, cell: (row) => number(row.value?.standard_error) },
    { title: "Runs", number: true, cell: (row) => number(row.value?.n ?? 0) },
    { title: "Best epoch", number: true, cell: (row) => rangeText(row.best_epoch) },
    { title: "Versus best", nowrap: true, cell: (row) => versusBest(row.versus_best) },
  ], (row) => JSON.stringify(row.point), "");
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

/** Heatmap of two chosen parameters; configurations that differ in other parameters are averaged. */
function heatmapSection(names) {
  let drawn = [[], "", true]; // arguments of the last update
  const place = h("div", { class: "table", tabindex: 0, role: "region", "aria-label": "Heatmap" });
  const draw = () => place.replaceChildren(heatmap(drawn[0], rows.value, columns.value, drawn[1], drawn[2]));
  const rows = select(names, { value: names[0], onchange: draw });
  const columns = select(names, { value: names[1], onchange: draw });
  return {
    element: h("div", {}, h("div", { class: "controls" }, h("label", {}, "Rows ", rows), h("label", {}, "Columns ", columns)), place),
    update(...next) {
      if (JSON.stringify(next) === JSON.stringify(drawn)) return;
      drawn = next;
      draw();
    },
  };
}
