// One version of a model: its report, predictions, and what it was made of.

import { get, send } from "../lib/api.js";
import { button, facts, fixedTable, h, relativeTime, tabs } from "../lib/dom.js";
import { actorName, bytes, metricList, number, shortId } from "../lib/format.js";
import { driftView } from "../components/drift_view.js";
import { evaluateView } from "../components/evaluate_view.js";
import { exportMenu } from "../components/export_menu.js";
import { calibrationText } from "../components/predict_form.js";
import { predictView } from "../components/predict_view.js";
import { reportPanel } from "../components/report_panel.js";

export const title = "Model version";

const VIEWS = { report: "Report", predict: "Predict", evaluate: "Evaluate", drift: "Drift", details: "Details" };

export async function show(root, { id, view, signal }) {
  const [name, number] = id.split(":");
  const version = await get(`/v1/models/${name}/versions/${number}`, signal);
  document.title = `${name}, version ${number} – bestepoch`;
  const current = view ?? Object.keys(VIEWS)[0];
  if (!(current in VIEWS)) throw new Error(`A version has no page “${current}”.`);
  root.append(
    h("h1", {}, h("a", { href: `#/model/${name}` }, name), ` version ${number} `, version.aliases.map((alias) => h("span", { class: "label" }, alias))),
    version.description ? h("p", {}, version.description) : "",
    h("div", { class: "controls" }, !version.aliases.includes("champion") && promoteButton(version), exportMenu(exports(id), signal), deleteButton(version)),
    tabs(`version/${id}`, Object.entries(VIEWS), current), viewOf(current, version, signal));
}

function viewOf(view, version, signal) {
  const address = `${version.model}:${version.version}`;
  if (view === "report") return reportPanel(`/v1/models/${address}/report`, signal).element;
  if (view === "predict") return predictView(`/v1/models/${address}/predict`, signatureOf(version, signal), signal, aliasesOf(version, signal));
  if (view === "evaluate") return evaluateView(`/v1/models/${address}/evaluate`, signal);
  if (view === "drift") return driftView(`/v1/models/${address}/drift`, signal);
  return details(version);
}

function exports(address) {
  const formats = [["bundle", "Bundle with model card"], ["onnx", "ONNX (raw columns in)"], ["pt2", "torch.export"]];
  return formats.map(([format, text]) => ({ text, path: `/v1/models/${address}/download?format=${format}` }));
}

function promoteButton({ model, version }) {
  return button("Promote to champion", async () => {
    await send("PUT", `/v1/models/${model}/aliases/champion`, { version });
    location.hash = `#/model/${model}`;
  }, { "data-needs": "submit", title: `Requests to the name ${model} are then answered by this version` });
}

function deleteButton({ model, version }) {
  return button("Delete version", async () => {
    if (!confirm(`Delete version ${version} of ${model}?`)) return;
    await send("DELETE", `/v1/models/${model}/versions/${version}`);
    location.hash = `#/model/${model}`;
  }, { "data-needs": "admin" });
}

/** The aliases of other versions, which may predict the same row as a shadow. */
async function aliasesOf({ model, version }, signal) {
  const { aliases } = await get(`/v1/models/${model}`, signal);
  return aliases.filter((each) => each.version !== version).map(({ alias }) => alias);
}

/** The task, and the columns that the version needs, as far as the members' data sets still tell what is in them. */
async function signatureOf({ features, members, task }, signal) {
  const inputs = new Map();
  for (const spec of new Map(members.map(({ spec }) => [JSON.stringify(spec.data), spec])).values()) {
    const specified = spec.data.features ?? features;
    if (specified.every((column) => inputs.has(column))) continue;
    const plan = await send("POST", "/v1/jobs/plan", spec, signal).catch(() => ({ inputs: [] }));
    for (const input of plan.inputs) inputs.set(input.column, input);
  }
  return { inputs: features.map((column) => inputs.get(column) ?? { column, type: null, categories: null }), task };
}

function details(version) {
  const { from } = version;
  return h("div", {}, facts([
    ["Made of", from.job ? jobLink(from.job) : from.sweep ? h("span", {}, `${from.select} of `, h("a", { href: `#/sweep/${from.sweep}` }, shortId(from.sweep))) : "weighted jobs"],
    ["Task", `${version.task} of ${version.target}`],
    ["Classes", version.classes?.join(", ")],
    ["Columns", version.features.join(", ")],
    ["Test metrics", partText(version.metrics.test)],
    ["Validation metrics", partText(version.metrics.validation)],
    ["Calibration", version.calibration && calibrationText(version.calibration)],
    ["Published", h("span", {}, relativeTime(version.created_at), ` by ${actorName(version.created_by)}`)],
    ["Service version", version.service_version],
  ]), h("h2", {}, "Members"), fixedTable("Members", [
    { title: "Job", nowrap: true, cell: (member) => jobLink(member.job) },
    { title: "Weight", number: true, cell: (member) => number(member.weight, 3) },
    { title: "Epoch", number: true, cell: (member) => number(member.epoch) },
    { title: "Data set", nowrap: true, cell: ({ dataset }) => (dataset ? h("a", { href: `#/dataset/${dataset.id}` }, dataset.name ?? dataset.id) : "–") },
    { title: "Metrics of this member alone", cell: (member) => metricList(member.test_metrics ?? member.metrics) },
    { title: "Weights", nowrap: true, cell: (member) => h("span", {}, `${bytes(member.size_bytes)}, SHA-256 `, h("code", { title: member.sha256 }, `${member.sha256.slice(0, 12)}…`)) },
  ], version.members));
}

function partText(part) {
  return part && `${metricList(part.values)} (${number(part.rows)} rows)`;
}

function jobLink(job) {
  return h("a", { href: `#/job/${job}`, title: job }, shortId(job));
}
