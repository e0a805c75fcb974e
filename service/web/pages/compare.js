// Several jobs side by side: overlaid training curves, results, parameter differences.

import { get, listAll } from "../lib/api.js";
import { field, h, setOptions, table } from "../lib/dom.js";
import { flatten, number, shortId, specValue } from "../lib/format.js";
import { poll } from "../lib/polling.js";
import { chart } from "../components/chart.js";
import { durationCell, jobLink, statusCell } from "../components/job_columns.js";

export const title = "Compare jobs";

const MAX_JOBS = 16;
const MAX_MARKER_TEXTS = 4; // more would overlap
const POLL_SECONDS = 3;
const LOSSES = ["val_loss", "train_loss"];

export async function show(root, { query, signal }) {
  const ids = [...new Set((query.get("ids") ?? "").split(",").filter(Boolean))];
  root.append(h("h1", {}, title), addJobForm(ids));
  if (ids.length > MAX_JOBS) throw new Error(`At most ${MAX_JOBS} jobs can be compared, not ${ids.length}`);
  if (!ids.length) return;
  const histories = new Map(ids.map((id) => [id, []]));
  let jobs = [];
  let metric = "val_loss";
  const metricSelect = h("select", { onchange: () => { metric = metricSelect.value; draw(); } });
  const curves = chart("Training curves", field("Metric", metricSelect));
  let results = {}; // {key, table} of what is shown
  const error = h("p", { class: "error", role: "alert" });
  const resultsView = h("div");
  const differencesView = h("div");
  root.append(error, curves.element, h("h2", {}, "Results"), resultsView, h("h2", {}, "Parameter differences"), differencesView);

  async function refresh() {
    await loadJobs();
    await Promise.all(jobs.map(loadHistory));
    const metrics = [...new Set([...LOSSES, ...jobs.flatMap((job) => Object.keys(job.best?.metrics ?? {}))])];
    setOptions(metricSelect, metrics, metric);
    const key = [metrics, jobs.map((job) => job.name)].join();
    if (results.key !== key) {
      results = { key, table: resultsTable(jobs) };
      resultsView.replaceChildren(results.table.element);
      differencesView.replaceChildren(differencesTable(jobs)); // specs are immutable
    }
    results.table.update(jobs);
    draw();
    return jobs.every((job) => job.finished_at);
  }

  async function loadJobs() {
    const settled = await Promise.allSettled(ids.map((id) => get(`/v1/jobs/${id}`, signal)));
    jobs = settled.filter((each) => each.status === "fulfilled").map((each) => each.value);
    const errors = settled.filter((each) => each.status === "rejected").map((each) => each.reason);
    if (errors.some((each) => each.retryable) || signal.aborted) throw errors[0];
    error.textContent = errors.map((each) => each.message).join("; ");
  }

  async function loadHistory(job) {
    const rows = histories.get(job.id);
    if (job.progress.epoch < rows.length) rows.length = 0; // a new attempt resumed from an earlier epoch
    if (job.progress.epoch > rows.length) {
      rows.push(...await listAll(`/v1/jobs/${job.id}/history?limit=1000&after_epoch=${rows.at(-1)?.epoch ?? 0}`, signal, Infinity, "after_epoch"));
    }
  }

  function draw() {
    const series = jobs.map((job) => ({
      name: displayName(job, jobs),
      points: histories.get(job.id).map((row) => [row.epoch, (LOSSES.includes(metric) ? row[metric] : row.metrics[metric]) ?? NaN]),
    }));
    const markers = jobs.filter((job) => job.best && Number.isFinite(job.best.metrics[metric]))
      .map((job) => ({ series: displayName(job, jobs), x: job.best.epoch, y: job.best.metrics[metric], text: jobs.length <= MAX_MARKER_TEXTS ? `epoch ${job.best.epoch}` : "" }));
    curves.update({ series, markers });
  }

  await poll(POLL_SECONDS, signal, refresh);
}

function addJobForm(ids) {
  const input = h("input", { placeholder: "job_…", size: 36 });
  return h("form", { class: "controls", onsubmit: (event) => {
    event.preventDefault();
    location.hash = `#/compare?ids=${[...ids, input.value.trim()].filter(Boolean).join(",")}`;
  } }, field("Add a job by ID", input), h("button", {}, "Add"));
}

/** The job's name, with its short ID where several share the name. */
function displayName(job, jobs) {
  const ambiguous = jobs.filter((other) => other.name === job.name).length > 1;
  return job.name === null ? shortId(job.id) : ambiguous ? `${job.name} (${shortId(job.id)})` : job.name;
}

function resultsTable(jobs) {
  const names = [...new Set(jobs.flatMap((job) => Object.keys(job.best?.metrics ?? {})))];
  return table("Results", [
    { title: "Job", cell: jobLink }, { title: "Status", cell: statusCell },
    { title: "Epochs", number: true, cell: (job) => number(job.progress.epoch) },
    { title: "Best epoch", number: true, cell: (job) => number(job.best?.epoch) },
    ...names.map((name) => ({ title: name, number: true, cell: (job) => number(job.best?.metrics[name]) })),
    { title: "Duration", number: true, cell: durationCell },
  ], (job) => job.id, "");
}

/** One row for each setting whose value differs between the jobs. */
function differencesTable(jobs) {
  const specs = jobs.map((job) => flatten(job.spec));
  const names = [...new Set(specs.flatMap((spec) => Object.keys(spec)))];
  const rows = names.filter((name) => new Set(specs.map((spec) => JSON.stringify(spec[name]))).size > 1);
  const list = table("Parameter differences", [
    { title: "Setting", cell: (name) => h("code", {}, name) },
    ...jobs.map((job, index) => ({ title: displayName(job, jobs), cell: (name) => (specs[index][name] === undefined ? "–" : specValue(specs[index][name])) })),
  ], (name) => name, jobs.length > 1 ? "All settings are the same." : "Add another job to compare.");
  list.update(rows);
  return list.element;
}
