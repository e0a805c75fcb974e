// The points of a sweep, from its summary, its jobs and its decisions: each with its jobs, status, trial and rank.

import { flatten, words } from "./format.js";

const REPLICATES = ["seed", "split.fold", "split.folds", "split.repeat", "split.train_seed"]; // in which jobs of a point differ
const LIVE = ["running", "queued", "paused"];
const LOWER_IS_BETTER = /loss|mae|rmse|deviance/;

export function lowerIsBetter(monitor) {
  return LOWER_IS_BETTER.test(monitor);
}

/** Text that equals for jobs of the same point. */
export function pointKey(point) {
  return JSON.stringify(Object.entries(point).filter(([name]) => !REPLICATES.includes(name)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** summary, results, decisions: as the API lists them. Points with a value come first, best first, and have a `rank`.
 *
 * `point` has a name for each setting of an object, e.g. `architecture.kind`.
 */
export function sweepPoints(summary, results, decisions) {
  const jobs = new Map();
  for (const row of results) {
    const key = pointKey(row.point);
    jobs.set(key, [...(jobs.get(key) ?? []), row]);
  }
  const trials = new Map(decisions.filter(({ kind }) => kind === "proposed").map(({ point, trial }) => [pointKey(point), trial]));
  return summary.map((row, index) => {
    const key = pointKey(row.point);
    const own = jobs.get(key) ?? [];
    const value = row.value?.mean ?? null;
    return { ...row, point: flatten(row.point), key, own, value, spread: row.value, trial: trials.get(key) ?? null, status: statusOf(own), epochs: Math.max(0, ...own.map((job) => job.epochs)), rank: value === null ? null : index + 1 };
  });
}

function statusOf(jobs) {
  const statuses = jobs.map(({ status }) => status);
  return [...LIVE, "failed", "cancelled", "pruned"].find((status) => statuses.includes(status)) ?? "succeeded";
}

/** Fields in which the points differ, in the order of the sweep's request. */
export function changedNames(sweep, points) {
  const given = Object.keys(sweep.grid ?? sweep.space ?? flatten(Object.assign({}, ...(sweep.points ?? []))));
  const names = [...new Set([...given, ...points.flatMap(({ point }) => Object.keys(point))])].filter((name) => !REPLICATES.includes(name));
  const differing = names.filter((name) => new Set(points.map(({ point }) => JSON.stringify(point[name]))).size > 1);
  return differing.length ? differing : given.filter((name) => !REPLICATES.includes(name));
}

/** "trial 12" of a search, else "rank 3". */
export function pointName({ trial, rank }) {
  return trial === null ? rank === null ? "no value yet" : `rank ${rank}` : `trial ${trial}`;
}

/** "pruned after 9 epochs", "succeeded". */
export function statusText({ status, epochs }) {
  return status === "pruned" ? `pruned after ${epochs} epochs` : words(status);
}
