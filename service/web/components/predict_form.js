// Form for a prediction of one row.

import { send } from "../lib/api.js";
import { field, h, select } from "../lib/dom.js";
import { number, percent, plural } from "../lib/format.js";

const MAX_COLUMNS = 60; // more are not worth a form
const MAX_CLASSES = 10;

/** `pathOf()`: of the route that predicts, with its options; inputs: [{column, categories}, ...], with null categories for free text. */
export function predictForm(pathOf, inputs, signal) {
  if (inputs.length > MAX_COLUMNS) return h("p", {}, `The model has ${inputs.length} input columns, too many for a form. Send rows to `, h("code", {}, `POST ${pathOf()}`), ", or a file.");
  const fields = new Map(inputs.map((input) => [input.column, inputFor(input)]));
  const error = h("p", { class: "error", role: "alert" });
  const result = h("div", { "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    const row = Object.fromEntries([...fields].map(([name, input]) => [name, valueOf(input)]));
    result.replaceChildren(h("p", {}, "Predicting… The first prediction loads the model and takes a few seconds."));
    try {
      const { predictions, calibration } = await send("POST", pathOf(), { rows: [row] }, signal);
      error.textContent = "";
      result.replaceChildren(predictionView(predictions[0], calibration));
    } catch (failure) {
      result.replaceChildren();
      if (!signal.aborted) error.textContent = failure.message;
    }
  };
  return h("form", { onsubmit: submit }, h("p", {}, "Empty fields are missing values."),
    h("div", { class: "fields" }, [...fields].map(([name, input]) => field(name, input))), error, h("button", { class: "primary" }, "Predict"), result);
}

function inputFor({ column, categories }) {
  if (categories) return select([["", "(missing)"], ...categories], { name: column });
  return h("input", { name: column, autocomplete: "off" });
}

/** Numbers and booleans are parsed; dates and text are sent as they are. */
function valueOf(input) {
  const text = input.value.trim();
  if (text === "") return null;
  if (input.tagName === "SELECT") return input.value;
  if (text === "true" || text === "false") return text === "true";
  return Number.isNaN(Number(text)) ? text : Number(text);
}

function predictionView({ prediction, probabilities, lower, upper, set }, calibration) {
  const level = calibration?.level && percent(calibration.level);
  return h("div", {},
    h("p", {}, "Prediction: ", h("strong", {}, valueText(prediction))),
    set && h("p", {}, `${level} set of classes: `, h("strong", {}, set.join(", "))),
    lower !== undefined && h("p", {}, `${level} interval: `, h("strong", {}, `${valueText(lower)} to ${valueText(upper)}`)),
    probabilities && probabilityBars(probabilities),
    calibration && h("p", {}, h("small", {}, calibrationText(calibration))));
}

function valueText(value) {
  if (value === null) return "overflow (not a finite number)";
  return typeof value === "number" ? number(value) : String(value);
}

function probabilityBars(probabilities) {
  const top = Object.entries(probabilities).sort(([, a], [, b]) => b - a).slice(0, MAX_CLASSES);
  return h("ul", { class: "bars", "aria-label": "Class probabilities" }, top.map(([name, probability]) =>
    h("li", {}, h("span", {}, name), h("meter", { min: 0, max: 1, value: probability, "aria-label": `${name}: ${number(probability)}` }), h("span", {}, percent(probability)))));
}

/** In words: the `calibration` of predictions, or of a version. */
export function calibrationText({ temperature, rows, reason }) {
  if (reason === null || temperature === null) return `Intervals are calibrated on ${plural(rows, "validation row")}.`;
  if (reason === "fitted") return `Probabilities are calibrated by a temperature of ${number(temperature, 3)}, from ${plural(rows, "validation row")}.`;
  return `Probabilities are raw (calibration: ${reason}).`;
}
