// The training of one job: curve, history, details, replay of early stopping, network, spec, event log.

import { get, listAll } from "../lib/api.js";
import { button, field, fixedTable, foldable, h, relativeTime, setOptions, toast } from "../lib/dom.js";
import { bytes, flatten, metricList, number, specValue, words } from "../lib/format.js";
import { throttle } from "../lib/polling.js";
import { chart } from "./chart.js";
import { durationCell, labelLinks, progressCell, statusDetail } from "./job_columns.js";
import { networkDiagram } from "./network.js";
import { replayPanel } from "./replay.js";
import { trainingHistory } from "./training_history.js";

const MANY_EPOCHS = 5000; // above, redraw less often

/** plan: a promise of the job's plan, or {error}. `update(job)` and `addEpoch(row)` follow the running job. */
export function trainingView(job, plan, signal) {
  const epochs = [];
  const summary = h("dl", { class: "facts" });
  const details = h("dl", { class: "facts" });
  let metric = "loss";
  const metricSelect = h("select", { onchange: () => { metric = metricSelect.value; draw(); } });
  const curves = chart(`Training curve of ${job.name ?? job.id}`, field("Metric", metricSelect));
  const history = trainingHistory(job);
  const log = eventLog(job.id, signal);
  const replay = replayPanel(job, signal);
  const network = h("div");
  const element = h("div", {}, summary, h("section", {}, h("h2", {}, "Training curve"), curves.element), foldable("Details", details, true),
    foldable("Training history", history.element, true), foldable("Replay early stopping", replay.element),
    foldable("Network", network), foldable("Spec", specTable(job)), foldable("Event log", log.element, true));
  const drawSoon = throttle(() => (epochs.length > MANY_EPOCHS ? 1000 : 50), signal, draw);
  plan.then((found) => network.replaceChildren(found.layers ? networkDiagram(found) : h("p", {}, `Network not available: ${found.error}`)), () => {});

  function draw() {
    setOptions(metricSelect, ["loss", ...Object.keys(epochs[0]?.metrics ?? {})], metric);
    curves.update(metric === "loss" ? lossCurves(job, epochs) : metricCurve(metric, job, epochs));
    history.update(epochs);
    replay.update(epochs.length);
  }

  function update(next) {
    job = next;
    for (const [name, value] of summaryOf(job)) setFact(summary, name, value);
    for (const [name, value] of detailsOf(job)) setFact(details, name, value);
    log.update(job);
    draw();
  }

  /** The recorded epochs, page by page: faster than replaying thousands through the stream. Returns the last one. */
  async function loadHistory() {
    for (let after = 0; after !== null; ) {
      const page = await get(`/v1/jobs/${job.id}/history?limit=1000&after_epoch=${after}`, signal);
      epochs.push(...page.data);
      drawSoon();
      after = page.next;
    }
    return epochs.at(-1)?.epoch ?? 0;
  }

  function addEpoch(row) {
    while (epochs.length && epochs.at(-1).epoch >= row.epoch) epochs.pop(); // a new attempt resumed from an earlier epoch
    epochs.push(row);
    drawSoon();
  }

  return { element, update, loadHistory, addEpoch };
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

/** Replace an element's children only if `key` changed, so that focus stays and screen readers announce once. */
function replaceIfChanged(element, key, makeChildren) {
  const text = JSON.stringify(key);
  if (element.dataset.key === text) return;
  element.dataset.key = text;
  element.replaceChildren(...makeChildren());
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

function specTable(job) {
  const rows = Object.entries(flatten(job.spec)).map(([name, value]) => ({ name, value }));
  const list = fixedTable("Spec", [{ title: "Setting", cell: (row) => h("code", {}, row.name) }, { title: "Value", cell: (row) => specValue(row.value) }], rows);
  return h("div", {}, button("Copy as JSON", () => navigator.clipboard.writeText(JSON.stringify(job.spec, null, 2)).then(() => toast("Copied"))), list);
}
