// One sweep: its jobs with the best first, its points over seeds and folds, and a map of two of its settings.

import { all, get, save, send } from "../lib/api.js";
import { button, h, say, select, table } from "../lib/dom.js";
import { heatMap } from "../components/heatmap.js";
import { brief, number, seconds } from "../lib/format.js";
import { status } from "../components/job_columns.js";
import { repeat } from "../lib/polling.js";
import { countsOf } from "./sweeps.js";

export const title = "Sweep";

const SECONDS = 3;
const MOST = 2000; // jobs and points shown
const SMALLER = /loss|mae|rmse/;

export async function show(root, { id, signal }) {
  let sweep = await get(`/v1/sweeps/${id}`, signal);
  const head = h("div");
  const names = Object.keys(sweep.grid ?? Object.assign({}, ...(sweep.points ?? []))).filter((name) => name !== "seed");
  const board = leaderboard(sweep, names);
  const points = sweep.replicates > 1 || sweep.folds ? pointsTable(names) : null;
  const map = names.length >= 2 ? mapOf(names) : null;
  root.append(head, map ? h("section", {}, h("h2", {}, "Map"), map.element) : "",
    points ? h("section", {}, h("h2", {}, "Points over seeds and folds"), points.element) : "",
    h("h2", {}, "Jobs, best first"), board.element);

  await repeat(SECONDS, signal, async () => {
    sweep = await get(`/v1/sweeps/${id}`, signal);
    document.title = `${sweep.name ?? id} – bestepoch`;
    const results = await all(`/v1/sweeps/${id}/results?limit=1000`, signal, MOST);
    const summary = points || map ? await all(`/v1/sweeps/${id}/summary?limit=1000`, signal, MOST) : [];
    draw(results, summary);
    return sweep.status !== "running";
  });

  function draw(results, summary) {
    const text = JSON.stringify([sweep.status, sweep.counts, results.length]);
    if (head.dataset.text !== text) {
      head.dataset.text = text;
      head.replaceChildren(h("h1", {}, sweep.name ?? id, " ", status(sweep.status)), controls(sweep, results, signal),
        h("p", {}, `${number(sweep.jobs)} jobs: ${countsOf(sweep)}. Compared by ${sweep.monitor}.`,
          sweep.jobs > MOST ? ` The best ${number(MOST)} are shown.` : ""));
    }
    board.update(results.map((row, index) => ({ ...row, place: row.value === null ? "" : index + 1 })));
    points?.update(summary);
    map?.update(summary, sweep.monitor, SMALLER.test(sweep.monitor));
  }
}

function controls(sweep, results, signal) {
  const top = results.filter((row) => row.value !== null).slice(0, 8).map((row) => row.job);
  return h("div", { class: "controls" },
    top.length > 1 && h("a", { class: "button", href: `#/compare?ids=${top.join(",")}` }, `Compare the best ${top.length}`),
    h("a", { class: "button", href: `#/jobs?sweep=${sweep.id}` }, "Its jobs"),
    button("Results as CSV", () => save(`/v1/sweeps/${sweep.id}/results`, "text/csv")),
    sweep.status === "running" && button("Cancel the sweep", async () => {
      if (!confirm("Cancel all jobs of this sweep that have not ended?")) return;
      await send("POST", `/v1/sweeps/${sweep.id}/cancel`, undefined, signal);
      say("the sweep is cancelled");
    }, { "data-needs": "submit" }));
}

function leaderboard(sweep, names) {
  return table("Leaderboard", [
    { title: "Place", number: true, cell: (row) => String(row.place) },
    { title: "Job", cell: (row) => h("a", { href: `#/job/${row.job}`, title: row.job }, `…${row.job.slice(-16, -8)}`), text: (row) => row.job },
    { title: "Status", cell: (row) => h("span", {}, status(row.status), ` ${row.stop_reason ?? ""}`) },
    ...names.map((name) => ({ title: name, cell: (row) => (name in row.point ? brief(row.point[name]) : "–") })),
    { title: "Seed", number: true, cell: (row) => ("seed" in row.point ? String(row.point.seed) : "") },
    { title: sweep.monitor, number: true, cell: (row) => number(row.value) },
    { title: "Best epoch", number: true, cell: (row) => number(row.best_epoch) },
    { title: "Epochs", number: true, cell: (row) => number(row.epochs) },
    { title: "Trained", number: true, cell: (row) => seconds(row.seconds) },
  ], (row) => row.job, "");
}

function pointsTable(names) {
  return table("Points", [
    ...names.map((name) => ({ title: name, cell: (row) => (name in row.point ? brief(row.point[name]) : "–") })),
    { title: "Mean", number: true, cell: (row) => number(row.value?.mean) },
    { title: "Deviation", number: true, cell: (row) => number(row.value?.std) },
    { title: "Of", number: true, cell: (row) => number(row.value?.n ?? 0) },
    { title: "Best epochs", cell: (row) => (row.best_epoch ? `${row.best_epoch.min} to ${row.best_epoch.max}` : "") },
  ], (row) => JSON.stringify(row.point), "");
}

/** Two settings against each other; points that differ in others are averaged. */
function mapOf(names) {
  let drawn = [[], "", true];
  const place = h("div", { class: "table", tabindex: 0, role: "region", "aria-label": "Map of two settings" });
  const draw = () => place.replaceChildren(heatMap(drawn[0], down.value, across.value, drawn[1], drawn[2]));
  const down = select(names, { value: names[0], onchange: draw, "aria-label": "Down" });
  const across = select(names, { value: names[1], onchange: draw, "aria-label": "Across" });
  return {
    element: h("div", {}, h("div", { class: "controls" }, h("label", {}, "Down ", down), h("label", {}, "Across ", across)), place),
    update(...next) {
      if (JSON.stringify(next) === JSON.stringify(drawn)) return;
      drawn = next;
      draw();
    },
  };
}
