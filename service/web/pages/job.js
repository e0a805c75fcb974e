// One job: its curves as they grow, each epoch's decision, its network, its log, what can be taken home.

import { all, follow, get, save, send, unique } from "../lib/api.js";
import { chart } from "../components/chart.js";
import { decisions } from "../components/training_history.js";
import { button, field, h, offer, say, table, when } from "../lib/dom.js";
import { brief, bytes, flat, number } from "../lib/format.js";
import { labels, progress, standing, status, trained } from "../components/job_columns.js";
import { layers } from "../components/network.js";
import { seldom } from "../lib/polling.js";
import { predictForm } from "../components/predict_form.js";
import { replay } from "../components/replay.js";

export const title = "Job";

const ENDED = ["succeeded", "failed", "cancelled"];

export async function show(root, { id, signal }) {
  let job = await get(`/v1/jobs/${id}`, signal);
  const epochs = [];
  const head = h("div");
  const facts = h("dl", { class: "facts" });
  let metric = "loss";
  const choice = h("select", { onchange: () => { metric = choice.value; draw(); } });
  const curves = chart(`Losses of ${job.name ?? id} over its epochs`, field("Shown", choice));
  const table = decisions(job);
  const log = logOf(id, signal);
  const rules = replay(job, signal);
  const tryOut = h("div");
  const network = h("div");
  root.append(head, facts, h("section", {}, h("h2", {}, "Curves"), curves.element),
    section("Decisions of early stopping", table.element, true), section("Try it", tryOut), section("Other stopping rules", rules.element),
    section("Network", network),
    section("Spec", spec(job)), section("Log", log.element, true));

  function draw() {
    offer(choice, ["loss", ...Object.keys(epochs[0]?.metrics ?? {})], metric);
    curves.update(metric === "loss" ? losses(job, epochs) : measured(metric, job, epochs));
    table.update(epochs);
    rules.update(epochs.length);
  }

  function changed(next) {
    if (ENDED.includes(job.status) && !ENDED.includes(next.status)) return; // an answer that the job's end has overtaken
    if (ENDED.includes(next.status) && !ENDED.includes(job.status)) say(`${next.name ?? id}: ${next.status}`);
    job = next;
    document.title = `${job.name ?? id} – bestepoch`;
    renew(head, [job.name, job.status, job.control, job.best?.checkpoint !== undefined], () =>
      [h("h1", {}, job.name ?? id, " ", status(job.status)), actions(job, changed)]);
    for (const [name, value] of factsOf(job)) fact(facts, name, value);
    tryOut.parentElement.hidden = !job.best?.checkpoint;
    log.update(job);
    draw();
  }

  changed(job);
  planOf(job, signal).then((plan) => {
    network.replaceChildren(plan.layers ? layers(plan) : h("p", {}, `Its layers cannot be shown any more: ${plan.missing}.`));
    tryOut.replaceChildren(plan.inputs ? predictForm(job, plan, signal) : h("p", {}, `Its columns are not known any more: ${plan.missing}.`));
  }, () => {});
  const drawSoon = seldom(() => (epochs.length > 5000 ? 1000 : 50), signal, draw);
  await recorded(id, signal, (rows) => { epochs.push(...rows); drawSoon(); });
  await follow(id, epochs.at(-1)?.epoch ?? 0, signal, (event, data) => {
    if (event === "epoch") {
      while (epochs.length && epochs.at(-1).epoch >= data.epoch) epochs.pop(); // tried again from an earlier one
      epochs.push(data);
      drawSoon();
    }
    if (event === "job") changed(data);
  });
}

/** The epochs on record, a page at a time: thousands come sooner so than one by one. */
async function recorded(id, signal, hear) {
  for (let after = 0; after !== null; ) {
    const page = await get(`/v1/jobs/${id}/history?limit=1000&after_epoch=${after}`, signal);
    hear(page.data);
    after = page.next;
  }
}

/** Put other content only where it is other: focus stays, and nothing is read aloud twice. */
function renew(element, key, make) {
  const text = JSON.stringify(key);
  if (element.dataset.shown === text) return;
  element.dataset.shown = text;
  element.replaceChildren(...make());
}

function fact(list, name, value) {
  let line = [...list.querySelectorAll("dt")].find((each) => each.textContent === name)?.nextElementSibling;
  if (!line) {
    line = h("dd");
    list.append(h("dt", {}, name), line);
  }
  line.hidden = line.previousElementSibling.hidden = !value;
  const content = value || "";
  renew(line, content.textContent ?? content, () => [content]);
}

/** What has happened, asked for again when the job has changed in more than its epochs. */
function logOf(id, signal) {
  const element = h("ol", { class: "log" });
  let last = 0;
  let asked = "";
  let asking = Promise.resolve();
  const more = async () => {
    const events = await all(`/v1/jobs/${id}/events?limit=1000&after=${last}`, signal);
    last = events.at(-1)?.number ?? last;
    element.append(...events.map((event) => h("li", {}, when(event.at), ` ${event.kind}: ${event.message}`,
      event.details.log_tail ? h("details", {}, h("summary", {}, "End of the log"), h("pre", {}, event.details.log_tail)) : "")));
  };
  return {
    element,
    update(job) {
      const key = JSON.stringify([job.status, job.control, job.attempt, job.best?.checkpoint?.epoch, job.priority, job.name]);
      if (key === asked) return;
      asked = key;
      asking = asking.then(more).catch(() => { asked = ""; });
    },
  };
}

function section(name, content, open = false) {
  return h("details", { open }, h("summary", {}, h("h2", {}, name)), content);
}

function losses(job, epochs) {
  const last = epochs.at(-1);
  const series = [{ name: "training loss", dashed: true, points: epochs.map((row) => [row.epoch, row.train_loss ?? NaN]) }];
  if (!last || epochs.some((row) => row.val_loss !== null)) series.push({ name: "validation loss", points: epochs.map((row) => [row.epoch, row.val_loss ?? NaN]) });
  const [on, name] = job.best?.monitor === "train_loss" ? ["train_loss", "training loss"] : ["val_loss", "validation loss"];
  return { series, marks: best(name, epochs, (row) => row[on]), bands: patience(job, last) };
}

function measured(metric, job, epochs) {
  const series = [{ name: metric, points: epochs.map((row) => [row.epoch, row.metrics[metric] ?? NaN]) }];
  return { series, marks: best(metric, epochs, (row) => row.metrics[metric]), bands: patience(job, epochs.at(-1)) };
}

function best(series, epochs, value) {
  const row = epochs.findLast((each) => each.is_best);
  return row && Number.isFinite(value(row)) ? [{ series, x: row.epoch, y: value(row), text: `best: epoch ${row.epoch}` }] : [];
}

/** From where patience started anew to where it stands, of the epochs that it lasts. */
function patience(job, last) {
  const rule = job.spec.early_stopping;
  if (!last || rule?.rule !== "patience" || last.wait === 0) return [];
  return [{ from: last.epoch - last.wait, to: last.epoch, text: `patience ${last.wait} of ${rule.patience}` }];
}

function actions(job, changed) {
  const act = (action) => async () => changed(await send("POST", `/v1/jobs/${job.id}/${action}`));
  const submit = { "data-needs": "submit" };
  const live = ["queued", "running", "paused"].includes(job.status);
  return h("div", { class: "controls" },
    job.best?.checkpoint && button("Download the best", () => save(`/v1/jobs/${job.id}/checkpoints/best/download`), { class: "main" }),
    job.best?.checkpoint && download(job),
    live && button("Cancel", act("cancel"), submit),
    ["queued", "running"].includes(job.status) && job.control !== "pause" && button("Pause", act("pause"), submit),
    (job.status === "paused" || job.control === "pause") && button("Resume", act("resume"), submit),
    !live && job.best && button("Train on", () => trainOn(job), submit),
    h("a", { class: "button", href: `#/new?from=${job.id}`, ...submit }, "Another like it"),
    h("a", { class: "button", href: `#/compare?ids=${job.id}` }, "Compare"),
    !live && button("Delete", async () => {
      if (!confirm("Delete this job with its history and its checkpoints?")) return;
      await send("DELETE", `/v1/jobs/${job.id}`);
      location.hash = "#/jobs";
    }, { "data-needs": "admin" }));
}

function download(job) {
  const choice = h("select", { "aria-label": "Download as" }, h("option", { value: "" }, "Download as…"),
    [["pt", "PyTorch state dict"], ["onnx", "ONNX, raw columns in"], ["pt2", "torch.export"], ["bundle", "bundle with model card"]].map(([value, text]) => h("option", { value }, text)),
    h("option", { value: "csv" }, "history as CSV"));
  choice.onchange = async () => {
    const format = choice.value;
    choice.value = "";
    const path = format === "csv" ? `/v1/jobs/${job.id}/history` : `/v1/jobs/${job.id}/checkpoints/best/download?format=${format}`;
    await save(path, format === "csv" ? "text/csv" : "*/*").catch((error) => say(error.message));
  };
  return choice;
}

async function trainOn(job) {
  const rule = job.spec.early_stopping;
  const changes = { max_epochs: Math.max(job.spec.max_epochs, job.progress.epoch) * 2 };
  if (rule?.rule === "patience") changes["early_stopping.patience"] = rule.patience * 2;
  const next = await send("POST", `/v1/jobs/${job.id}/fork`, { checkpoint: "last", changes }, undefined, unique());
  location.hash = `#/job/${next.id}`;
}

function factsOf(job) {
  const rows = [
    ["Stands", standing(job)], ["Epochs", progress(job)],
    ["Best", job.best && `${job.best.monitor} ${number(job.best.value)} at epoch ${number(job.best.epoch)}`],
    ["Measured there", job.best && Object.entries(job.best.metrics).map(([name, value]) => `${name} ${number(value)}`).join(", ")],
    ["Test rows", job.test && Object.entries(job.test.metrics).map(([name, value]) => `${name} ${number(value)}`).join(", ")],
    ["Checkpoint", job.best?.checkpoint && `${bytes(job.best.checkpoint.size_bytes)}, SHA-256 ${job.best.checkpoint.sha256.slice(0, 16)}…`],
    ["Trained", trained(job) && `${trained(job)} on ${job.device ?? "?"}, attempt ${job.attempt}`],
    ["Submitted", when(job.created_at)], ["Ended", job.finished_at && when(job.finished_at)], ["Id", h("code", {}, job.id)],
    ["Labels", Object.keys(job.labels).length > 0 && labels(job)],
    ["Sweep", job.sweep && h("a", { href: `#/sweep/${job.sweep}` }, Object.entries(job.point ?? {}).map(([name, value]) => `${name} = ${brief(value)}`).join(", ") || job.sweep)],
    ["Goes on from", job.forked && h("a", { href: `#/job/${job.forked.job}` }, `${job.forked.checkpoint}, epoch ${job.forked.epoch}`)],
    ["Data", job.spec.data.id ? h("a", { href: `#/dataset/${job.spec.data.id}` }, job.spec.data.id) : job.spec.data.kind],
    ["Failed", job.error && h("span", { class: "wrong" }, job.error.message)],
  ];
  const warnings = job.warnings.length > 0 && h("ul", {}, job.warnings.map((warning) => h("li", { class: "warning" }, warning.message)));
  return [...rows, ["Noticed", warnings]];
}

/** Its layers and columns, or why they are not known any more. */
async function planOf(job, signal) {
  try {
    return await send("POST", "/v1/jobs/plan", job.spec, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return { missing: error.message };
  }
}

function spec(job) {
  const rows = Object.entries(flat(job.spec)).map(([name, value]) => ({ name, value }));
  const shown = table("Spec", [{ title: "Setting", cell: (row) => h("code", {}, row.name) }, { title: "Value", cell: (row) => brief(row.value) }], (row) => row.name, "");
  shown.update(rows);
  return h("div", {}, button("Copy as JSON", () => navigator.clipboard.writeText(JSON.stringify(job.spec, null, 2)).then(() => say("copied"))), shown.element);
}
