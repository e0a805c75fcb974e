// One job: live training curve, training history, predictions, replay of early stopping, network, spec, event log.

import { download, get, listAll, newIdempotencyKey, send, streamJob } from "../lib/api.js";
import { button, field, h, relativeTime, setOptions, table, toast } from "../lib/dom.js";
import { bytes, flatten, metricList, number, specValue, words } from "../lib/format.js";
import { throttle } from "../lib/polling.js";
import { chart } from "../components/chart.js";
import { durationCell, labelLinks, progressCell, statusBadge, statusDetail } from "../components/job_columns.js";
import { networkDiagram } from "../components/network.js";
import { predictForm } from "../components/predict_form.js";
import { replayPanel } from "../components/replay.js";
import { trainingHistory } from "../components/training_history.js";

export const title = "Job";

const FINISHED = ["succeeded", "failed", "cancelled"];
const MANY_EPOCHS = 5000; // above, redraw less often

export async function show(root, { id, signal }) {
  let job = await get(`/v1/jobs/${id}`, signal);
  const epochs = [];
  const header = h("div");
  const summary = h("dl", { class: "facts" });
  const details = h("dl", { class: "facts" });
  let metric = "loss";
  const metricSelect = h("select", { onchange: () => { metric = metricSelect.value; draw(); } });
  const curves = chart(`Training curve of ${job.name ?? id}`, field("Metric", metricSelect));
  const history = trainingHistory(job);
  const log = eventLog(id, signal);
  const replay = replayPanel(job, signal);
  const predict = h("div");
  const network = h("div");
  root.append(header, summary, h("section", {}, h("h2", {}, "Training curve"), curves.element), section("Details", details, true),
    section("Training history", history.element, true), section("Predict", predict), section("Replay early stopping", replay.element),
    section("Network", network), section("Spec", specTable(job)), section("Event log", log.element, true));

  function draw() {
    setOptions(metricSelect, ["loss", ...Object.keys(epochs[0]?.metrics ?? {})], metric);
    curves.update(metric === "loss" ? lossCurves(job, epochs) : metricCurve(metric, job, epochs));
    history.update(epochs);
    replay.update(epochs.length);
  }

  function setJob(next) {
    if (FINISHED.includes(job.status) && !FINISHED.includes(next.status)) return; // a stale response
    if (FINISHED.includes(next.status) && !FINISHED.includes(job.status)) toast(`${next.name ?? id}: ${next.status}`);
    job = next;
    document.title = `${job.name ?? id} – bestepoch`;
    replaceIfChanged(header, [job.name, job.status, job.control, job.best?.checkpoint !== undefined], () =>
      [h("h1", {}, job.name ?? id, " ", statusBadge(job.status)), actions(job, setJob)]);
    for (const [name, value] of summaryOf(job)) setFact(summary, name, value);
    for (const [name, value] of detailsOf(job)) setFact(details, name, value);
    predict.parentElement.hidden = !job.best?.checkpoint;
    log.update(job);
    draw();
  }

  setJob(job);
  planOf(job, signal).then((plan) => {
    network.replaceChildren(plan.layers ? networkDiagram(plan) : h("p", {}, `Network not available: ${plan.error}`));
    predict.replaceChildren(plan.inputs ? predictForm(job, plan, signal) : h("p", {}, `Input columns not available: ${plan.error}`));
  }, () => {});
  const drawSoon = throttle(() => (epochs.length > MANY_EPOCHS ? 1000 : 50), signal, draw);
  await loadHistory(id, signal, (rows) => { epochs.push(...rows); drawSoon(); });
  await streamJob(id, epochs.at(-1)?.epoch ?? 0, signal, (event, data) => {
    if (event === "epoch") {
      while (epochs.length && epochs.at(-1).epoch >= data.epoch) epochs.pop(); // a new attempt resumed from an earlier epoch
      epochs.push(data);
      drawSoon();
    }
    if (event === "job") setJob(data);
  });
}

/** The recorded epochs, page by page: faster than replaying thousands through the stream. */
async function loadHistory(id, signal, onRows) {
  for (let after = 0; after !== null; ) {
    const page = await get(`/v1/jobs/${id}/history?limit=1000&after_epoch=${after}`, signal);
    onRows(page.data);
    after = page.next;
  }
}

/** Replace an element's children only if `key` changed, so that focus stays and screen readers announce once. */
function replaceIfChanged(element, key, makeChildren) {
  const text = JSON.stringify(key);
  if (element.dataset.key === text) return;
  element.dataset.key = text;
  element.replaceChildren(...makeChildren());
}

/** Add or update a <dt>/<dd> pair; hidden without a value. */
function setFact(list, name, value) {
  let item = [...list.querySelectorAll("dt")].find((each) => each.textContent === name)?.nextElementSibling;
  if (!item) {
    item = h("dd");
    list.append(h("dt", {}, name), item);
  }
  item.hidden = item.previousElementSibling.hidden = !value;
  const content = value || "";
  replaceIfChanged(item, content.textContent ?? content, () => [content]);
}

/** The job's events; reloaded when more than its epoch has changed. */
function eventLog(id, signal) {
  const element = h("ol", { class: "log" });
  let lastNumber = 0;
  let loadedKey = "";
  let loading = Promise.resolve();
  const load = async () => {
    const events = await listAll(`/v1/jobs/${id}/events?limit=1000&after=${lastNumber}`, signal);
    lastNumber = events.at(-1)?.number ?? lastNumber;
    element.append(...events.map((event) => h("li", { title: event.kind }, relativeTime(event.at), ` ${event.message}`,
      event.details.log_tail ? h("details", {}, h("summary", {}, "Trainer log (tail)"), h("pre", {}, event.details.log_tail)) : "")));
  };
  return {
    element,
    update(job) {
      const key = JSON.stringify([job.status, job.control, job.attempt, job.best?.checkpoint?.epoch, job.priority, job.name]);
      if (key === loadedKey) return;
      loadedKey = key;
      loading = loading.then(load).catch(() => { loadedKey = ""; });
    },
  };
}

function section(name, content, open = false) {
  return h("details", { open }, h("summary", {}, h("h2", {}, name)), content);
}

function lossCurves(job, epochs) {
  const last = epochs.at(-1);
  const series = [{ name: "training loss", dashed: true, points: epochs.map((row) => [row.epoch, row.train_loss ?? NaN]) }];
  if (!last || epochs.some((row) => row.val_loss !== null)) series.push({ name: "validation loss", points: epochs.map((row) => [row.epoch, row.val_loss ?? NaN]) });
  const [key, name] = job.best?.monitor === "train_loss" ? ["train_loss", "training loss"] : ["val_loss", "validation loss"];
  return { series, markers: bestMarker(name, epochs, (row) => row[key]), bands: patienceBand(job, last) };
}

function metricCurve(metric, job, epochs) {
  const series = [{ name: metric, points: epochs.map((row) => [row.epoch, row.metrics[metric] ?? NaN]) }];
  return { series, markers: bestMarker(metric, epochs, (row) => row.metrics[metric]), bands: patienceBand(job, epochs.at(-1)) };
}

function bestMarker(series, epochs, valueOf) {
  const row = epochs.findLast((each) => each.is_best);
  return row && Number.isFinite(valueOf(row)) ? [{ series, x: row.epoch, y: valueOf(row), text: `best: epoch ${row.epoch}` }] : [];
}

/** The epochs without improvement that patience has counted so far. */
function patienceBand(job, last) {
  const rule = job.spec.early_stopping;
  if (!last || rule?.rule !== "patience" || last.wait === 0) return [];
  return [{ from: last.epoch - last.wait, to: last.epoch, text: `patience ${last.wait} / ${rule.patience}` }];
}

function actions(job, setJob) {
  const request = (action) => async () => setJob(await send("POST", `/v1/jobs/${job.id}/${action}`));
  const submit = { "data-needs": "submit" };
  const active = !FINISHED.includes(job.status);
  return h("div", { class: "controls" },
    job.best?.checkpoint && button("Download best checkpoint", () => download(`/v1/jobs/${job.id}/checkpoints/best/download`), { class: "primary" }),
    job.best?.checkpoint && exportMenu(job),
    active && button("Cancel", request("cancel"), submit),
    ["queued", "running"].includes(job.status) && job.control !== "pause" && button("Pause", request("pause"), submit),
    (job.status === "paused" || job.control === "pause") && button("Resume", request("resume"), submit),
    !active && job.best && button("Continue training", () => continueTraining(job), { ...submit, title: "Fork from the last checkpoint, with twice the epochs and patience" }),
    h("a", { class: "button", href: `#/new?from=${job.id}`, ...submit }, "Duplicate"),
    h("a", { class: "button", href: `#/compare?ids=${job.id}` }, "Compare"),
    !active && button("Delete", async () => {
      if (!confirm("Delete this job, its history and its checkpoints?")) return;
      await send("DELETE", `/v1/jobs/${job.id}`);
      location.hash = "#/jobs";
    }, { "data-needs": "admin" }));
}

function exportMenu(job) {
  const formats = [["pt", "PyTorch state dict"], ["onnx", "ONNX (raw columns in)"], ["pt2", "torch.export"], ["bundle", "Bundle with model card"], ["csv", "Training history (CSV)"]];
  const menu = h("select", { "aria-label": "Export" }, h("option", { value: "" }, "Export…"), formats.map(([value, text]) => h("option", { value }, text)));
  menu.onchange = async () => {
    const format = menu.value;
    menu.value = "";
    const path = format === "csv" ? `/v1/jobs/${job.id}/history` : `/v1/jobs/${job.id}/checkpoints/best/download?format=${format}`;
    await download(path, format === "csv" ? "text/csv" : "*/*").catch((error) => toast(error.message));
  };
  return menu;
}

/** Fork from the last checkpoint, with twice the epochs and patience. */
async function continueTraining(job) {
  const rule = job.spec.early_stopping;
  const changes = { max_epochs: Math.max(job.spec.max_epochs, job.progress.epoch) * 2 };
  if (rule?.rule === "patience") changes["early_stopping.patience"] = rule.patience * 2;
  const fork = await send("POST", `/v1/jobs/${job.id}/fork`, { checkpoint: "last", changes }, undefined, newIdempotencyKey());
  location.hash = `#/job/${fork.id}`;
}

function summaryOf(job) {
  const { best, test } = job;
  return [
    ["Error", job.error && h("span", { class: "error" }, job.error.message)],
    ["State", !job.stop_reason && !job.error && statusDetail(job)],
    ["Stop reason", job.stop_reason && words(job.stop_reason)],
    ["Epochs", progressCell(job)],
    ["Best", best && `${best.monitor} ${number(best.value)} at epoch ${number(best.epoch)}`],
    ["Metrics at best epoch", best && metricList(best.metrics)],
    ["Test metrics", test && metricList(testMetrics(test))],
    ["Warnings", job.warnings.length > 0 && h("ul", {}, job.warnings.map((warning) => h("li", { class: "warning" }, warning.message)))],
  ];
}

/** Metrics as `test_accuracy`, also where the API names them `accuracy`. */
function testMetrics({ metrics }) {
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name.startsWith("test_") ? name : `test_${name}`, value]));
}

function detailsOf(job) {
  const { best, spec: { data } } = job;
  const point = Object.entries(job.point ?? {}).map(([name, value]) => `${name} = ${specValue(value)}`).join(", ");
  return [
    ["Duration", durationCell(job) && `${durationCell(job)} on ${job.device ?? "unknown device"}, attempt ${job.attempt}`],
    ["Submitted", relativeTime(job.created_at)],
    ["Finished", job.finished_at && relativeTime(job.finished_at)],
    ["Labels", Object.keys(job.labels).length > 0 && labelLinks(job)],
    ["Data set", data.id ? h("a", { href: `#/dataset/${data.id}` }, data.id) : `${data.kind} data`],
    ["Sweep", job.sweep && h("a", { href: `#/sweep/${job.sweep}` }, point || job.sweep)],
    ["Forked from", job.forked && h("a", { href: `#/job/${job.forked.job}` }, `${job.forked.checkpoint} checkpoint, epoch ${job.forked.epoch}`)],
    ["Checkpoint", best?.checkpoint && `${bytes(best.checkpoint.size_bytes)}, SHA-256 ${best.checkpoint.sha256.slice(0, 16)}…`],
    ["Job ID", h("code", {}, job.id)],
  ];
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

function specTable(job) {
  const rows = Object.entries(flatten(job.spec)).map(([name, value]) => ({ name, value }));
  const list = table("Spec", [{ title: "Setting", cell: (row) => h("code", {}, row.name) }, { title: "Value", cell: (row) => specValue(row.value) }], (row) => row.name, "");
  list.update(rows);
  return h("div", {}, button("Copy as JSON", () => navigator.clipboard.writeText(JSON.stringify(job.spec, null, 2)).then(() => toast("Copied"))), list.element);
}
