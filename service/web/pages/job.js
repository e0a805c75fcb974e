// One job: its report, its training while it runs, and predictions.

import { download, get, newIdempotencyKey, send, streamJob } from "../lib/api.js";
import { button, h, tabs, toast } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { exportMenu } from "../components/export_menu.js";
import { statusBadge } from "../components/job_columns.js";
import { predictView } from "../components/predict_view.js";
import { publishButton } from "../components/publish_dialog.js";
import { reportPanel } from "../components/report_panel.js";
import { retrainingPanel } from "../components/retraining.js";
import { trainingView } from "../components/training_view.js";

export const title = "Job";

const FINISHED = ["succeeded", "failed", "cancelled", "pruned"];
const SHOWN_WARNINGS = 3; // more are folded up, so that the report is in sight
const TEXTS = { report: "Report", training: "Training", predict: "Predict" };

export async function show(root, { id, view, signal }) {
  let job = await get(`/v1/jobs/${id}`, signal);
  const current = view ?? viewsOf(job)[0];
  if (!(current in TEXTS)) throw new Error(`A job has no page “${current}”.`);
  const header = h("div");
  const plan = current === "report" ? null : planOf(job, signal);
  const training = current === "training" ? trainingView(job, plan, signal) : null;
  const report = current === "report" ? reportPanel(`/v1/jobs/${id}/report`, signal) : null;
  root.append(header, training?.element ?? (report ? reportView(report, id, signal) : predictionView(job, plan, signal)));

  function setJob(next) {
    if (FINISHED.includes(job.status) && !FINISHED.includes(next.status)) return; // a stale response
    if (FINISHED.includes(next.status) && !FINISHED.includes(job.status)) {
      toast(`${next.name ?? id}: ${next.status}`);
      report?.load();
    }
    job = next;
    document.title = `${job.name ?? id} – bestepoch`;
    const key = JSON.stringify([job.name, job.status, job.control, job.best?.checkpoint !== undefined, job.warnings]);
    if (header.dataset.key !== key) { // else focus stays, and screen readers announce nothing
      header.dataset.key = key;
      header.replaceChildren(...headerOf(job, current, setJob, signal));
    }
    training?.update(job);
  }

  setJob(job);
  if (FINISHED.includes(job.status) && !training) return;
  const lastEpoch = training ? await training.loadHistory() : job.progress.epoch;
  await streamJob(id, lastEpoch, signal, (event, data) => {
    if (event === "epoch") training?.addEpoch(data);
    if (event === "job") setJob(data);
  });
}

/** The views that the job has so far; the first one is shown unless the address names another. */
function viewsOf(job) {
  if (!job.best?.checkpoint) return ["training"];
  const reported = FINISHED.includes(job.status) && job.status !== "pruned"; // a pruned job keeps no predictions
  return reported ? ["report", "training", "predict"] : ["training", "predict"];
}

function headerOf(job, current, setJob, signal) {
  const list = h("ul", { class: "warnings", "aria-label": "Warnings" }, job.warnings.map((warning) => h("li", { class: "warning" }, warning.message)));
  const few = job.warnings.length <= SHOWN_WARNINGS;
  const warnings = few ? list : h("details", {}, h("summary", { class: "warning" }, plural(job.warnings.length, "warning")), list);
  return [
    h("h1", {}, job.name ?? job.id, " ", statusBadge(job.status)), actions(job, setJob, signal), job.warnings.length > 0 && warnings,
    tabs(`job/${job.id}`, viewsOf(job).map((view) => [view, TEXTS[view]]), current),
  ].filter(Boolean);
}

function reportView(report, id, signal) {
  return h("div", {}, report.element, retrainingPanel(id, signal));
}

function predictionView(job, plan, signal) {
  return predictView(`/v1/jobs/${job.id}/predict`, plan.then((found) => (found.inputs ? found : Promise.reject(new Error(found.error)))), signal);
}

function actions(job, setJob, signal) {
  const request = (action) => async () => setJob(await send("POST", `/v1/jobs/${job.id}/${action}`));
  const submit = { "data-needs": "submit" };
  const active = !FINISHED.includes(job.status);
  const revive = async () => {
    await send("POST", `/v1/jobs/${job.id}/resume`);
    location.reload(); // its page follows it again
  };
  return h("div", { class: "controls" },
    job.best?.checkpoint && button("Download best checkpoint", () => download(`/v1/jobs/${job.id}/checkpoints/best/download`), { class: "primary" }),
    job.best?.checkpoint && exportMenu(exports(job), signal),
    !active && job.best?.checkpoint && publishButton({ job: job.id }),
    active && button("Cancel", request("cancel"), submit),
    ["queued", "running"].includes(job.status) && job.control !== "pause" && button("Pause", request("pause"), submit),
    (job.status === "paused" || job.control === "pause") && button("Resume", request("resume"), submit),
    job.status === "pruned" && button("Resume", revive, { ...submit, title: "Train on to the end of its own spec" }),
    !active && job.best && button("Continue training", () => continueTraining(job), { ...submit, title: "Fork from the last checkpoint, with twice the epochs and patience" }),
    h("a", { class: "button", href: `#/new?from=${job.id}`, ...submit }, "Duplicate"),
    h("a", { class: "button", href: `#/compare?ids=${job.id}` }, "Compare"),
    !active && button("Delete", async () => {
      if (!confirm("Delete this job, its history and its checkpoints?")) return;
      await send("DELETE", `/v1/jobs/${job.id}`);
      location.hash = "#/jobs";
    }, { "data-needs": "admin" }));
}

function exports({ id }) {
  const formats = [["pt", "PyTorch state dict"], ["onnx", "ONNX (raw columns in)"], ["pt2", "torch.export"], ["bundle", "Bundle with model card"]];
  return [
    ...formats.map(([format, text]) => ({ text, path: `/v1/jobs/${id}/checkpoints/best/download?format=${format}` })),
    { text: "Training history (CSV)", path: `/v1/jobs/${id}/history`, accept: "text/csv" },
    { text: "Predictions of held-out rows (CSV)", path: `/v1/jobs/${id}/predictions`, accept: "text/csv" },
  ];
}

/** Fork from the last checkpoint, with twice the epochs and patience. */
async function continueTraining(job) {
  const rule = job.spec.early_stopping;
  const changes = { max_epochs: Math.max(job.spec.max_epochs, job.progress.epoch) * 2 };
  if (rule?.rule === "patience") changes["early_stopping.patience"] = rule.patience * 2;
  const fork = await send("POST", `/v1/jobs/${job.id}/fork`, { checkpoint: "last", changes }, undefined, newIdempotencyKey());
  location.hash = `#/job/${fork.id}`;
}

/** The job's plan, or {error} where its data set or spec can no longer be resolved. */
async function planOf(job, signal) {
  try {
    return await send("POST", "/v1/jobs/plan", job.spec, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return { error: error.message };
  }
}
