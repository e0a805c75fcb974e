// The head of a sweep's page: status, what was asked for, the published version, the error, actions.

import { download, send } from "../lib/api.js";
import { button, facts, h, toast } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { jobCounts, statusBadge } from "./job_columns.js";
import { publishButton } from "./publish_dialog.js";

const MAX_COMPARED = 8;
const KINDS = { random: "random search", tpe: "TPE (Optuna)", halving: "successive halving", hyperband: "Hyperband" };

/** `notes`: sentences after the number of jobs. */
export function sweepHeader(sweep, results, notes, signal) {
  return [
    h("h1", {}, sweep.name ?? sweep.id, " ", statusBadge(sweep.status)), controls(sweep, results, signal),
    h("p", {}, [`${plural(sweep.jobs, "job")} (${jobCounts(sweep)}), ranked by ${sweep.monitor}.`, ...notes].join(" ")),
    facts([
      ["Search", sweep.search && searchText(sweep.search)],
      ["Preset", sweep.preset && `${sweep.preset}, recipes ${sweep.recipes}`],
      ["Model", sweep.model && modelText(sweep)],
      ["Error", sweep.error && h("span", { class: "error" }, sweep.error)],
    ]),
  ];
}

function searchText({ kind, trials, seed, eta, epochs, seconds, batch }) {
  return [KINDS[kind] ?? kind, trials && plural(trials, "trial"), eta && `one in ${eta} is promoted`, batch && `batches of ${batch}`, `seed ${seed}`,
    epochs && `at most ${plural(epochs, "epoch")}`, seconds && `at most ${plural(seconds, "second")}, which is not repeatable`].filter(Boolean).join(", ");
}

function modelText({ model, published, status, select }) {
  if (published) return h("a", { href: `#/version/${encodeURIComponent(published.model)}:${published.version}` }, `${published.model}, version ${published.version}`);
  return status === "running" ? `${model}: a version will be published at the end (${select ?? "best"})` : `${model}: no version was published`;
}

function controls(sweep, results, signal) {
  const top = results.filter((row) => row.value !== null).slice(0, MAX_COMPARED).map((row) => row.job);
  return h("div", { class: "controls" },
    top.length > 1 && h("a", { class: "button", href: `#/compare?ids=${top.join(",")}` }, `Compare top ${number(top.length)}`),
    h("a", { class: "button", href: `#/jobs?sweep=${sweep.id}` }, "Show jobs"),
    button("Download CSV", () => download(`/v1/sweeps/${sweep.id}/results`, "text/csv")),
    sweep.status !== "running" && sweep.best && publishButton({ sweep: sweep.id }),
    sweep.status === "running" && button("Cancel sweep", async () => {
      if (!confirm("Cancel all unfinished jobs of this sweep?")) return;
      await send("POST", `/v1/sweeps/${sweep.id}/cancel`, undefined, signal);
      toast("Sweep cancelled");
    }, { "data-needs": "submit" }));
}
