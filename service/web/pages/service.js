// Service status: readiness, workers, usage and limits, versions.

import { get } from "../lib/api.js";
import { h, relativeTime, table } from "../lib/dom.js";
import { labelsText } from "../components/job_columns.js";
import { bytes, duration, number, shortId } from "../lib/format.js";
import { poll } from "../lib/polling.js";

export const title = "Service";

const POLL_SECONDS = 3;
const MAX_JOBS = 20; // links in a worker's row

export async function show(root, { signal }) {
  const readiness = h("p", { "aria-live": "polite" });
  const versions = h("span");
  const usageView = h("div", { class: "cards wide" });
  const workers = table("Workers", [
    { title: "Worker", nowrap: true, cell: (worker) => `${worker.hostname}, pid ${worker.pid}`, text: (worker) => worker.id },
    { title: "Device", cell: (worker) => worker.device },
    { title: "Labels", cell: (worker) => [labelsText(worker.labels), worker.preemptible && "preemptible"].filter(Boolean).join(", ") || "–" },
    { title: "Trainers", number: true, cell: (worker) => number(worker.trainers) },
    { title: "Running jobs", cell: runningJobs },
    { title: "Jobs claimed", number: true, cell: (worker) => number(worker.claimed) },
    { title: "Mean queue time", number: true, cell: (worker) => (worker.claimed ? duration(worker.waited_seconds / worker.claimed) : "–") },
    { title: "Started", nowrap: true, cell: (worker) => relativeTime(worker.started_at), text: (worker) => worker.started_at },
    { title: "Last heartbeat", cell: (worker) => relativeTime(worker.seen_at), text: (worker) => worker.seen_at },
  ], (worker) => worker.id, ["No workers are running: jobs stay queued. Start one with ", h("code", {}, "bestepoch worker"), "."]);
  root.append(h("h1", {}, "Service"), readiness, h("h2", {}, "Workers"), workers.element, h("h2", {}, "Usage and limits"), usageView,
    h("p", {}, versions, h("a", { href: "docs" }, "API documentation")));
  get("/v1/version", signal).then((found) => {
    versions.textContent = `bestepoch ${found.bestepoch}, Python ${found.python}, torch ${found.torch}, ${found.database}. `;
  }, () => {});

  await poll(POLL_SECONDS, signal, async () => {
    const state = await get("/readyz", signal).then(() => "Ready", (error) => `Not ready: ${error.message}`);
    if (readiness.textContent !== state) {
      readiness.replaceChildren(h("span", { class: `status ${state === "Ready" ? "succeeded" : "failed"}` }, state));
    }
    const [found, usage] = await Promise.all([get("/v1/workers", signal), get("/v1/usage", signal)]);
    workers.update(found.data);
    usageView.replaceChildren(...usageCards(usage));
  });
}

function runningJobs(worker) {
  const links = worker.jobs.slice(0, MAX_JOBS).map((id) => h("a", { class: "label", href: `#/job/${id}`, title: id }, shortId(id)));
  return h("span", {}, links, worker.jobs.length > MAX_JOBS ? ` and ${worker.jobs.length - MAX_JOBS} more` : "");
}

function usageCards(usage) {
  const ofLimit = ({ used, limit }, format = number) => (limit === null ? format(used) : `${format(used)} of ${format(limit)}`);
  const { bounds, stored } = usage;
  return [
    ["Access", [
      ["Tenant", usage.tenant],
      ["Scope of the key", usage.scope],
      ["Requests per second", bounds.requests_per_second === null ? "unlimited" : number(bounds.requests_per_second)],
      ["Open streams", ofLimit(usage.streams)],
    ]],
    ["Jobs", [
      ["Queued and paused jobs", ofLimit(usage.waiting_jobs)],
      ["Running jobs", ofLimit(usage.running_jobs)],
    ]],
    ["Storage", [
      ["Total", ofLimit(usage.stored_bytes, bytes)],
      ["Data sets", ofLimit(usage.dataset_bytes, bytes)],
      ["Checkpoints", bytes(stored.checkpoints)],
      ["Reserved for unfinished jobs", bytes(stored.expected)],
      ["Histories and specs", bytes(stored.histories + stored.specs)],
      ["Sampled rows of predictions", bytes(stored.samples)],
      ["Unfinished uploads", bytes(stored.uploads)],
    ]],
    ["Limits", [
      ["Upload size", bytes(bounds.upload_bytes)],
      ["Parameters per network", number(bounds.parameters)],
      ["Memory per job", bytes(bounds.memory_bytes)],
      ["Epochs per job", number(bounds.epochs)],
      ["Jobs per sweep", number(bounds.sweep_jobs)],
    ]],
  ].map(([heading, items]) => h("section", { class: "card" }, h("h3", {}, heading),
    h("dl", { class: "facts" }, items.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))));
}
