// Predictions of one row, by a form, and of all rows of a file.

import { saveResponse, sendFile } from "../lib/api.js";
import { field, h, select } from "../lib/dom.js";
import { fileForm } from "./file_form.js";
import { predictForm } from "./predict_form.js";

const INTERVALS = [["", "none"], ["0.8", "80%"], ["0.9", "90%"], ["0.95", "95%"]];

/** `path`: of the route that predicts; signature: a promise of {inputs, task}, see `predictForm`.
 *
 * aliases: a promise of those whose versions can predict the same row as a shadow.
 */
export function predictView(path, signature, signal, aliases = Promise.resolve([])) {
  const interval = select(INTERVALS, { name: "interval", value: "" });
  const calibrated = h("input", { name: "calibrated", type: "checkbox", checked: true });
  const calibratedField = h("label", { class: "inline", hidden: true }, calibrated, " Calibrated probabilities");
  const shadow = h("select", { name: "shadow" });
  const shadowField = h("div", { hidden: true }, field("Compare one row with", shadow));
  const form = h("div", {}, h("p", {}, "Loading…"));
  signature.then(({ inputs, task }) => {
    calibratedField.hidden = task !== "classification";
    form.replaceChildren(predictForm(() => pathOf({ shadow: shadow.value }), inputs, signal));
  }, (error) => form.replaceChildren(h("p", {}, `Input columns not available: ${error.message}`)));

  aliases.then((found) => {
    shadowField.hidden = found.length === 0;
    shadow.replaceChildren(...select([["", "nothing"], ...found.map((alias) => [alias, `@${alias}`])]).children);
  }, () => {});

  function pathOf(more = {}) {
    const given = { interval: interval.value, calibrated: calibrated.checked ? "" : "false", ...more };
    const options = new URLSearchParams(Object.entries(given).filter(([, value]) => value));
    return options.size ? `${path}?${options}` : path;
  }

  const predictFile = async (file) => saveResponse(await sendFile(pathOf(), file, signal));
  return h("div", {},
    h("div", { class: "controls" }, field("Interval, or set of classes", interval), shadowField, calibratedField),
    h("section", {}, h("h2", {}, "Predict one row"), form),
    h("section", {}, h("h2", {}, "Predict a file"),
      h("p", {}, "The answer is the predictions as a file of the same format, one for each row, in the same order."),
      fileForm("Rows without the target column", "Predict file", predictFile)));
}
