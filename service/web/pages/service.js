// What the service is doing: its workers, its queue, and what may be taken of it.

import { get } from "../lib/api.js";
import { h, table, when } from "../lib/dom.js";
import { bytes, number, seconds } from "../lib/format.js";
import { repeat } from "../lib/polling.js";

export const title = "Service";

const SECONDS = 3;

export async function show(root, { signal }) {
  const ready = h("p", { "aria-live": "polite" });
  const versions = h("span");
  const use = h("dl", { class: "facts" });
  const workers = table("Workers", [
    { title: "Worker", cell: (worker) => `${worker.hostname}, process ${worker.pid}`, text: (worker) => worker.id },
    { title: "Device", cell: (worker) => worker.device },
    { title: "Trainers", number: true, cell: (worker) => number(worker.trainers) },
    { title: "Training now", cell: (worker) => h("span", {}, worker.jobs.slice(0, 20).map((id) => h("a", { class: "label", href: `#/job/${id}` }, id.slice(-6))), worker.jobs.length > 20 ? ` and ${worker.jobs.length - 20} more` : "") },
    { title: "Taken so far", number: true, cell: (worker) => number(worker.claimed) },
    { title: "They had waited", number: true, cell: (worker) => (worker.claimed ? seconds(worker.waited_seconds / worker.claimed) : "–") },
    { title: "Started", cell: (worker) => when(worker.started_at), text: (worker) => worker.started_at },
    { title: "Seen", cell: (worker) => when(worker.seen_at), text: (worker) => worker.seen_at },
  ], (worker) => worker.id, "No worker is alive: jobs stay queued until one starts (`bestepoch worker`).");
  root.append(h("h1", {}, "Service"), ready, h("h2", {}, "Workers"), workers.element, h("h2", {}, "Use and limits"), use,
    h("p", {}, versions, h("a", { href: "docs" }, "The API's documentation"), "."));
  get("/v1/version", signal).then((found) => {
    versions.textContent = `bestepoch ${found.bestepoch}, Python ${found.python}, torch ${found.torch}, ${found.database}. `;
  }, () => {});

  await repeat(SECONDS, signal, async () => {
    const state = await get("/readyz", signal).then(() => "It is ready to work.", (error) => `It is not ready: ${error.message}`);
    if (ready.textContent !== state) ready.textContent = state;
    const [found, usage] = await Promise.all([get("/v1/workers", signal), get("/v1/usage", signal)]);
    workers.update(found.data);
    use.replaceChildren(...factsOf(usage));
  });
}

function factsOf(usage) {
  const of = ({ used, limit }, text = number) => `${text(used)}${limit === null ? "" : ` of ${text(limit)}`}`;
  const { bounds } = usage;
  return [
    ["Tenant", `${usage.tenant}, may ${usage.scope}`],
    ["Waiting jobs", of(usage.waiting_jobs)], ["Training jobs", of(usage.running_jobs)],
    ["Stored in all", of(usage.stored_bytes, bytes)], ["Data sets", of(usage.dataset_bytes, bytes)],
    ["Checkpoints", bytes(usage.stored.checkpoints)], ["Expected of live jobs", bytes(usage.stored.expected)],
    ["Histories and specs", bytes(usage.stored.histories + usage.stored.specs)], ["Unfinished uploads", bytes(usage.stored.uploads)],
    ["Open streams and waits", of(usage.streams)],
    ["An upload at most", bytes(bounds.upload_bytes)], ["Parameters of a network", number(bounds.parameters)],
    ["Memory of a job", bytes(bounds.memory_bytes)], ["Jobs of a sweep", number(bounds.sweep_jobs)],
  ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}
