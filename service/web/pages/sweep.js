// One sweep: its search live, configurations with error bars, parallel coordinates, importance, heatmap, leaderboard.

import { get, listAll } from "../lib/api.js";
import { foldable, h, select } from "../lib/dom.js";
import { flatten, number } from "../lib/format.js";
import { poll } from "../lib/polling.js";
import { changedNames, lowerIsBetter, sweepPoints } from "../lib/sweep_points.js";
import { heatmap } from "../components/heatmap.js";
import { importancePanel } from "../components/importance.js";
import { configurationTable, leaderboard } from "../components/leaderboard.js";
import { parallelCoordinates } from "../components/parallel_coordinates.js";
import { searchPanel } from "../components/search_panel.js";
import { sweepHeader } from "../components/sweep_header.js";
import { sweepReplayPanel } from "../components/sweep_replay.js";

export const title = "Sweep";

const POLL_SECONDS = 3;
const MAX_ROWS = 2000; // jobs and configurations shown

export async function show(root, { id, signal }) {
  let sweep = await get(`/v1/sweeps/${id}`, signal);
  const decisions = [];
  const header = h("div");
  const tables = h("div");
  const search = searchPanel(signal);
  const parallel = parallelCoordinates();
  const importance = importancePanel(id, signal);
  const many = h("div", { hidden: true }, parallel.element, importance.element);
  let results = null; // views that depend on the fields in which the points differ
  root.append(header, search.element, many, tables, search.decisions,
    foldable("Replay searches and stopping rules", sweepReplayPanel(id, signal)));

  await poll(POLL_SECONDS, signal, async () => {
    sweep = await get(`/v1/sweeps/${id}`, signal);
    document.title = `${sweep.name ?? id} – bestepoch`;
    decisions.push(...await listAll(`/v1/sweeps/${id}/decisions?limit=1000&after=${decisions.length}`, signal));
    const rows = await listAll(`/v1/sweeps/${id}/results?limit=1000`, signal, MAX_ROWS);
    const summary = await listAll(`/v1/sweeps/${id}/summary?limit=1000`, signal, MAX_ROWS);
    const points = sweepPoints(summary, rows, decisions);
    await draw(rows, points);
    return sweep.status !== "running";
  });

  async function draw(rows, points) {
    const names = changedNames(sweep, points);
    const repeated = points.some(({ jobs }) => jobs > 1);
    const viewKey = JSON.stringify([names, repeated]);
    if (results?.key !== viewKey) {
      results = { key: viewKey, ...resultViews(sweep, names, repeated) };
      tables.replaceChildren(...results.elements);
    }
    const key = JSON.stringify([sweep.status, sweep.counts, sweep.published, sweep.error, rows.length]);
    if (header.dataset.key !== key) { // else focus stays
      header.dataset.key = key;
      const notes = [sweep.jobs > 1 && !repeated && "One run per configuration: differences may be chance.", sweep.jobs > MAX_ROWS && `Only the best ${number(MAX_ROWS)} are shown.`];
      header.replaceChildren(...sweepHeader(sweep, rows, notes.filter(Boolean), signal));
    }
    many.hidden = points.length < 2 || names.length === 0;
    parallel.update(sweep, points, names);
    if (!many.hidden) importance.update(sweep, points);
    results.update(rows, points);
    await search.update(sweep, points, decisions);
  }
}

/** Tables whose columns are the fields in which the points differ. */
function resultViews(sweep, names, repeated) {
  const board = leaderboard(sweep, names);
  const configurations = repeated ? configurationTable(names) : null;
  const map = names.length >= 2 ? heatmapSection(names) : null;
  const section = (heading, view) => view && h("section", {}, h("h2", {}, heading), view.element);
  return {
    elements: [section("Configurations (mean ± standard error)", configurations), section("Heatmap", map), section("Leaderboard", board)].filter(Boolean),
    update(rows, points) {
      board.update(rows.map((row, index) => ({ ...row, point: flatten(row.point), rank: row.value === null ? "–" : index + 1 })));
      configurations?.update(points);
      map?.update(points.map(({ point, spread }) => ({ point, value: spread })), sweep.monitor, lowerIsBetter(sweep.monitor));
    },
  };
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
