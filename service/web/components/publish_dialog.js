// Button and dialog that publish a job, or jobs of a sweep, as a version of a model.

import { listAll, newIdempotencyKey, send } from "../lib/api.js";
import { field, h, openDialog, select } from "../lib/dom.js";

const SELECTIONS = [["best", "the best configuration"], ["greedy", "an ensemble of the best configurations (greedy)"]];
const MAX_NAMES = 200; // models that are suggested

/** source: {job} or {sweep}, as in POST /v1/models. */
export function publishButton(source) {
  return h("button", { type: "button", "data-needs": "submit", onclick: () => openPublishDialog(source) }, "Publish…");
}

function openPublishDialog(source) {
  const idempotencyKey = newIdempotencyKey();
  const names = h("datalist", { id: "model-names" });
  listAll("/v1/models?limit=100", undefined, MAX_NAMES).then((found) => names.replaceChildren(...found.map(({ name }) => h("option", { value: name }))), () => {});
  const name = h("input", { name: "name", required: true, maxlength: 63, autocomplete: "off", list: "model-names" });
  const selection = source.sweep ? select(SELECTIONS, { name: "select" }) : null;
  const description = h("input", { name: "description", autocomplete: "off" });
  const alias = h("input", { name: "alias", autocomplete: "off", maxlength: 63 });
  const error = h("p", { class: "error", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    error.textContent = "";
    publish.setAttribute("aria-disabled", "true");
    try {
      const version = await send("POST", "/v1/models", {
        name: name.value.trim(),
        from: selection ? { ...source, select: selection.value } : source,
        description: description.value.trim() || null,
        alias: alias.value.trim() || null,
      }, undefined, idempotencyKey);
      dialog.close();
      location.hash = `#/version/${version.model}:${version.version}`;
    } catch (failure) {
      error.textContent = failure.message;
    } finally {
      publish.removeAttribute("aria-disabled");
    }
  };
  const publish = h("button", { class: "primary" }, "Publish");
  const dialog = openDialog("Publish a model",
    h("form", { onsubmit: submit },
      h("h2", {}, "Publish a model"),
      h("p", {}, "A version never changes, and stays when the job is deleted. It predicts under its model's name."),
      field("Model", name, "an existing model gets its next version, a new name its first one"), names,
      selection && field("Members", selection),
      field("Description", description, "optional: what is special about this version"),
      field("Move an alias here", alias, "optional, e.g. champion; the first version of a model gets champion"),
      error, h("div", { class: "controls" }, publish, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
}
