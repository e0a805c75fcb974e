// Predictions of one row, by a form, and of all rows of a file.

import { saveResponse, sendFile } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { fileForm } from "./file_form.js";
import { predictForm } from "./predict_form.js";

/** `path`: of the route that predicts; inputs: a promise of the form's columns, see `predictForm`. */
export function predictView(path, inputs, signal) {
  const form = h("div", {}, h("p", {}, "Loading…"));
  inputs.then((found) => form.replaceChildren(predictForm(path, found, signal)),
    (error) => form.replaceChildren(h("p", {}, `Input columns not available: ${error.message}`)));
  const predictFile = async (file) => saveResponse(await sendFile(path, file, signal));
  return h("div", {},
    h("section", {}, h("h2", {}, "Predict one row"), form),
    h("section", {}, h("h2", {}, "Predict a file"),
      h("p", {}, "The answer is the predictions as a file of the same format, one for each row, in the same order."),
      fileForm("Rows without the target column", "Predict file", predictFile)));
}
