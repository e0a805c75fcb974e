// Several jobs side by side: their curves laid over one another, and what differs in their specs.

import { all, get } from "../lib/api.js";
import { chart } from "../components/chart.js";
import { field, h, offer, table } from "../lib/dom.js";
import { brief, flat, number } from "../lib/format.js";
import { jobLink, standing, status, trained } from "../components/job_columns.js";
import { repeat } from "../lib/polling.js";

export const title = "Compare";

const MOST = 16;
const SECONDS = 3;
const LOSSES = ["val_loss", "train_loss"];

export async function show(root, { query, signal }) {
  const ids = [...new Set((query.get("ids") ?? "").split(",").filter(Boolean))];
  root.append(h("h1", {}, "Compare"), adding(ids));
  if (ids.length > MOST) throw new Error(`at most ${MOST} jobs can be compared; these are ${ids.length}`);
  if (!ids.length) return;
  const histories = new Map(ids.map((id) => [id, []]));
  let jobs = [];
  let metric = "val_loss";
  const choice = h("select", { onchange: () => { metric = choice.value; draw(); } });
  const curves = chart("The jobs' curves", field("Shown", choice));
  let shown = {};
  const missing = h("p", { class: "wrong", role: "alert" });
  const outcomes = h("div");
  const differences = h("div");
  root.append(missing, curves.element, outcomes, h("h2", {}, "What differs"), differences);

  async function refresh() {
    const found = await Promise.allSettled(ids.map((id) => get(`/v1/jobs/${id}`, signal)));
    jobs = found.filter((each) => each.status === "fulfilled").map((each) => each.value);
    const refused = found.filter((each) => each.status === "rejected").map((each) => each.reason);
    if (refused.some((error) => error.passing) || signal.aborted) throw refused[0];
    missing.textContent = refused.map((error) => error.message).join("; ");
    await Promise.all(jobs.map(async (job) => {
      const rows = histories.get(job.id);
      if (job.progress.epoch < rows.length) rows.length = 0; // tried again from an earlier epoch
      if (job.progress.epoch > rows.length) {
        rows.push(...await all(`/v1/jobs/${job.id}/history?limit=1000&after_epoch=${rows.at(-1)?.epoch ?? 0}`, signal, Infinity, "after_epoch"));
      }
    }));
    const metrics = [...new Set([...LOSSES, ...jobs.flatMap((job) => Object.keys(job.best?.metrics ?? {}))])];
    offer(choice, metrics, metric);
    const key = [metrics, jobs.map((job) => job.name)].join();
    if (shown.key !== key) {
      shown = { key, table: outcomesOf(jobs) };
      outcomes.replaceChildren(shown.table.element);
      differences.replaceChildren(differencesOf(jobs)); // specs never change
    }
    shown.table.update(jobs);
    draw();
    return jobs.every((job) => job.finished_at);
  }

  function draw() {
    const series = jobs.map((job) => ({
      name: nameOf(job, jobs),
      points: histories.get(job.id).map((row) => [row.epoch, (LOSSES.includes(metric) ? row[metric] : row.metrics[metric]) ?? NaN]),
    }));
    const marks = jobs.filter((job) => job.best && Number.isFinite(job.best.metrics[metric]))
      .map((job) => ({ series: nameOf(job, jobs), x: job.best.epoch, y: job.best.metrics[metric], text: jobs.length < 5 ? `epoch ${job.best.epoch}` : "" }));
    curves.update({ series, marks });
  }

  await repeat(SECONDS, signal, refresh);
}

/** One more job, by its id. */
function adding(ids) {
  const more = h("input", { placeholder: "job_…", size: 36 });
  return h("form", { class: "controls", onsubmit: (event) => {
    event.preventDefault();
    location.hash = `#/compare?ids=${[...ids, more.value.trim()].filter(Boolean).join(",")}`;
  } }, field("One more job, by its id", more), h("button", {}, "Add"));
}

function nameOf(job, jobs) {
  const same = jobs.filter((other) => other.name === job.name).length > 1;
  return job.name === null ? job.id : same ? `${job.name} ${job.id.slice(-6)}` : job.name;
}

function outcomesOf(jobs) {
  const names = [...new Set(jobs.flatMap((job) => Object.keys(job.best?.metrics ?? {})))];
  return table("Outcomes", [
    { title: "Job", cell: jobLink }, { title: "Status", cell: (job) => h("span", {}, status(job.status), ` ${standing(job)}`) },
    { title: "Epochs", number: true, cell: (job) => number(job.progress.epoch) },
    { title: "Best epoch", number: true, cell: (job) => number(job.best?.epoch) },
    ...names.map((name) => ({ title: name, number: true, cell: (job) => number(job.best?.metrics[name]) })),
    { title: "Trained", number: true, cell: trained },
  ], (job) => job.id, "");
}

/** A line for each setting that is not the same in all. */
function differencesOf(jobs) {
  const specs = jobs.map((job) => flat(job.spec));
  const names = [...new Set(specs.flatMap((spec) => Object.keys(spec)))];
  const rows = names.filter((name) => new Set(specs.map((spec) => JSON.stringify(spec[name]))).size > 1);
  const list = table("Differences", [
    { title: "Setting", cell: (name) => h("code", {}, name) },
    ...jobs.map((job, index) => ({ title: nameOf(job, jobs), cell: (name) => (specs[index][name] === undefined ? "–" : brief(specs[index][name])) })),
  ], (name) => name, jobs.length > 1 ? "Their specs are the same." : "Add another job to compare with.");
  list.update(rows);
  return list.element;
}
