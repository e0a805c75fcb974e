// Cells and columns that every table of jobs shares: status, progress, labels, duration.

import { h, relativeTime } from "../lib/dom.js";
import { duration, elapsed, number, shortId, words } from "../lib/format.js";

const TRANSITIONS = { pause: "pausing", cancel: "cancelling" };

export function statusBadge(status) {
  return h("span", { class: `status ${status}` }, status);
}

/** Labels of workers, as the command line takes them: gpu=h100,spot=true. */
export function labelsText(labels) {
  return Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`).sort().join(",");
}

/** More on the status: a pending request, the error code, the stop reason, the epoch limit or the queue position. */
export function statusDetail(job) {
  if (job.control) return TRANSITIONS[job.control] ?? job.control;
  if (job.error) return words(job.error.code);
  if (job.stop_reason && job.stop_reason !== job.status) return words(job.stop_reason);
  if (job.status === "paused" && job.epoch_limit !== null && job.progress.epoch >= job.epoch_limit) return "at its epoch limit";
  if (job.queue_position) {
    const labels = labelsText(job.spec?.worker?.labels);
    const position = job.queue_position < 1000 ? `queue position ${job.queue_position}` : "queue position over 1000";
    return labels ? `${position}, for workers with ${labels}` : position;
  }
  return "";
}

export function statusCell(job) {
  const detail = statusDetail(job);
  return h("span", {}, statusBadge(job.status), detail && ` · ${detail}`);
}

/** "12 / 100 · ≤ 5 s left", with a progress bar while the job is running. */
export function progressCell(job) {
  const { epoch, max_epochs: max, eta_seconds: eta } = job.progress;
  const remaining = eta === null ? "" : ` · ≤ ${duration(eta)} left`;
  const bar = h("progress", { value: epoch, max, "aria-label": `Epoch ${epoch} of ${max}` });
  return h("span", { class: "progress" }, job.status === "running" ? bar : null, h("span", { class: "nowrap" }, ` ${number(epoch)} / ${number(max)}`), remaining);
}

export function jobLink(job) {
  return h("a", { href: `#/job/${job.id}`, title: job.id }, job.name ?? shortId(job.id));
}

/** Training time so far; empty for a job that waits in the queue. */
export function durationCell(job) {
  return job.started_at && (job.finished_at || job.status === "running") ? duration(elapsed(job.started_at, job.finished_at)) : "";
}

/** "12 succeeded, 3 running" of a sweep. */
export function jobCounts(sweep) {
  return Object.entries(sweep.counts).filter(([, count]) => count).map(([status, count]) => `${number(count)} ${status}`).join(", ");
}

/** Labels as links to the jobs that have them. */
export function labelLinks(job) {
  return h("span", {}, Object.entries(job.labels).map(([key, value]) =>
    h("a", { class: "label", href: `#/jobs?${new URLSearchParams({ label: `${key}=${value}` })}` }, `${key}=${value}`)));
}

export const COLUMNS = [
  { title: "Job", nowrap: true, cell: jobLink, text: (job) => `${job.id} ${job.name}` },
  { title: "Status", nowrap: true, cell: statusCell },
  { title: "Epoch", cell: progressCell },
  { title: "Best", nowrap: true, cell: (job) => (job.best ? `${job.best.monitor} ${number(job.best.value)} at epoch ${number(job.best.epoch)}` : "") },
  { title: "Labels", cell: labelLinks },
  { title: "Submitted", nowrap: true, cell: (job) => relativeTime(job.created_at), text: (job) => job.created_at },
  { title: "Duration", number: true, cell: durationCell },
];
