// Presets with their plans, and a form that builds a job spec, with a preview of the network it would train.

import { ApiError, get, listAll, newIdempotencyKey, send } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { debounce } from "../lib/polling.js";
import { networkDiagram } from "../components/network.js";
import { presetCards } from "../components/preset_cards.js";
import { setDataset, specForm } from "../components/spec_form.js";

export const title = "New job";

const PREVIEW_DELAY_MILLISECONDS = 300; // after the last change
const MAX_DATASETS = 1000;

export async function show(root, { query, signal }) {
  const sets = await listAll("/v1/datasets?columns=false&limit=100", signal, MAX_DATASETS);
  const loadDataset = (id) => get(`/v1/datasets/${id}`, signal);
  const original = query.get("from") ? (await get(`/v1/jobs/${query.get("from")}`, signal)).spec : null;
  const datasetId = original ? original.data.id : query.get("data") ?? sets[0]?.id;
  const set = datasetId ? await loadDataset(datasetId).catch(() => null) : null; // the original job's may be deleted
  const spec = original ?? setDataset({}, set);
  if (original) delete spec.name;
  let idempotencyKey = newIdempotencyKey(); // per spec: a repeated submit creates no second job
  let jsonError = "";
  const preview = h("section", { class: "preview", "aria-label": "Preview" }, h("p", { class: "empty" }, "Loading preview…"));
  const summary = h("p", { class: "visually-hidden", "aria-live": "polite" });
  const json = h("textarea", { rows: 16, spellcheck: "false", "aria-label": "Job spec (JSON)" });
  const error = h("p", { class: "error", role: "alert" });
  const submitButton = h("button", { class: "primary", type: "submit" }, "Train");
  const presets = presetCards(signal);
  const form = specForm(spec, sets, set, loadDataset, onChange, [presets.element, h("h2", {}, "Or one network with your own settings")]);
  root.append(h("h1", {}, "New job"), sets.length ? "" : h("p", {}, "No data sets yet. Drop a file onto this page to upload one, or train on synthetic data."),
    h("div", { class: "columns" },
      h("form", { onsubmit: submit }, form.element, summary, h("details", {}, h("summary", {}, "Edit as JSON (all settings)"), json), error, submitButton), preview));

  json.onchange = () => {
    try {
      const edited = JSON.parse(json.value);
      if (edited === null || typeof edited !== "object" || Array.isArray(edited)) throw new Error("expected an object: { … }");
      jsonError = "";
      form.replace(edited);
    } catch (failure) {
      jsonError = `Invalid JSON: ${failure.message}`;
      error.textContent = jsonError;
    }
  };

  const updatePreview = debounce(PREVIEW_DELAY_MILLISECONDS, async () => {
    const requested = JSON.stringify(form.spec());
    try {
      const plan = await send("POST", "/v1/jobs/plan", form.spec(), signal);
      if (requested !== JSON.stringify(form.spec())) return; // outdated: a newer request is on its way
      form.showErrors([]);
      error.textContent = jsonError;
      summary.textContent = `${plan.task}, ${plural(plan.parameters, "parameter")}, ${plural(plan.warnings.length, "warning")}`;
      preview.replaceChildren(h("h2", {}, "Preview"), networkDiagram(plan),
        ...plan.warnings.map((warning) => h("p", { class: "warning" }, warning.message)));
    } catch (failure) {
      if (!signal.aborted) showError(failure);
    }
  });

  function onChange() {
    idempotencyKey = newIdempotencyKey();
    if (!jsonError) json.value = JSON.stringify(form.spec(), null, 2);
    updatePreview();
    presets.update(form.spec(), form.set());
  }

  function showError(failure) {
    const errors = failure instanceof ApiError ? failure.errors : [];
    const other = form.showErrors(errors).map((each) => `${each.pointer ?? each.parameter}: ${each.message}`);
    error.textContent = errors.length ? other.join("; ") || "Some settings are invalid; see the messages beside them." : failure.message;
  }

  async function submit(event) {
    event.preventDefault();
    if (jsonError) {
      error.textContent = jsonError;
      return;
    }
    submitButton.disabled = true;
    try {
      const job = await send("POST", "/v1/jobs", form.spec(), undefined, idempotencyKey);
      location.hash = `#/job/${job.id}`;
    } catch (failure) {
      showError(failure);
    } finally {
      submitButton.disabled = false;
    }
  }

  onChange();
}
