// Predictions of one row, by a form, and of all rows of a file.

import { saveResponse, sendFile } from "../lib/api.js";
import { field, h, select } from "../lib/dom.js";
import { fileForm } from "./file_form.js";
import { predictForm } from "./predict_form.js";

const INTERVALS = [["", "none"], ["0.8", "80%"], ["0.9", "90%"], ["0.95", "95%"]];

/** `path`: of the route that predicts; signature: a promise of {inputs, task}, see `predictForm`. */
export function predictView(path, signature, signal) {
  const interval = select(INTERVALS, { name: "interval", value: "" });
  const calibrated = h("input", { name: "calibrated", type: "checkbox", checked: true });
  const calibratedField = h("label", { class: "inline", hidden: true }, calibrated, " Calibrated probabilities");
  const form = h("div", {}, h("p", {}, "Loading…"));
  signature.then(({ inputs, task }) => {
    calibratedField.hidden = task !== "classification";
    form.replaceChildren(predictForm(pathOf, inputs, signal));
  }, (error) => form.replaceChildren(h("p", {}, `Input columns not available: ${error.message}`)));

  function pathOf() {
    const options = new URLSearchParams({ ...(interval.value ? { interval: interval.value } : {}), ...(calibrated.checked ? {} : { calibrated: "false" }) });
    return options.size ? `${path}?${options}` : path;
  }

  const predictFile = async (file) => saveResponse(await sendFile(pathOf(), file, signal));
  return h("div", {},
    h("div", { class: "controls" }, field("Interval, or set of classes", interval), calibratedField),
    h("section", {}, h("h2", {}, "Predict one row"), form),
    h("section", {}, h("h2", {}, "Predict a file"),
      h("p", {}, "The answer is the predictions as a file of the same format, one for each row, in the same order."),
      fileForm("Rows without the target column", "Predict file", predictFile)));
}
