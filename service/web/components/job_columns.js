// Jobs as lines of a table: where each stands and what is best so far.

import { h, when } from "../lib/dom.js";
import { between, number, seconds } from "../lib/format.js";

export function status(text) {
  return h("span", { class: `status ${text}` }, text);
}

/** Why a job ended, or how it stands. */
export function standing(job) {
  if (job.control) return `${job.control} asked for`;
  if (job.error) return job.error.code;
  if (job.stop_reason && job.stop_reason !== job.status) return job.stop_reason;
  if (job.queue_position) return job.queue_position < 1000 ? `number ${job.queue_position} in line` : "far back in line";
  return "";
}

export function progress(job) {
  const { epoch, max_epochs: most, eta_seconds: eta } = job.progress;
  const left = eta === null ? "" : `, ${seconds(eta)} left at most`;
  const bar = h("progress", { value: epoch, max: most, "aria-label": `${epoch} of ${most} epochs` });
  return h("span", { class: "progress" }, job.status === "running" ? bar : null, ` ${number(epoch)} of ${number(most)}${left}`);
}

export function jobLink(job) {
  return h("a", { href: `#/job/${job.id}` }, job.name ?? job.id);
}

/** How long a worker has had it; of one that waits again, nothing is known. */
export function trained(job) {
  return job.started_at && (job.finished_at || job.status === "running") ? seconds(between(job.started_at, job.finished_at)) : "";
}

/** Labels that lead to the jobs which have them. */
export function labels(job) {
  return h("span", {}, Object.entries(job.labels).map(([key, value]) =>
    h("a", { class: "label", href: `#/jobs?${new URLSearchParams({ label: `${key}=${value}` })}` }, `${key}=${value}`)));
}

export const COLUMNS = [
  { title: "Job", cell: jobLink, text: (job) => `${job.id} ${job.name}` },
  { title: "Status", cell: (job) => h("span", {}, status(job.status), ` ${standing(job)}`) },
  { title: "Epochs", cell: progress },
  { title: "Best", cell: (job) => (job.best ? `${job.best.monitor} ${number(job.best.value)} at ${number(job.best.epoch)}` : "") },
  { title: "Labels", cell: labels },
  { title: "Submitted", cell: (job) => when(job.created_at), text: (job) => job.created_at },
  { title: "Trained", number: true, cell: trained },
];
