// Form for a prediction of one row.

import { send } from "../lib/api.js";
import { field, h, select } from "../lib/dom.js";
import { number, percent, plural } from "../lib/format.js";

const MAX_COLUMNS = 60; // more are not worth a form
const MAX_CLASSES = 10;
const DIGITS = 6; // of a predicted number

/** `pathOf()`: of the route that predicts, with its options; inputs: [{column, type, categories}, ...], as in a plan; a type that is not known is null. */
export function predictForm(pathOf, inputs, signal) {
  if (inputs.length > MAX_COLUMNS) return h("p", {}, `The model has ${inputs.length} input columns, too many for a form. Send rows to `, h("code", {}, `POST ${pathOf()}`), ", or a file.");
  const fields = new Map(inputs.map((input) => [input, inputFor(input)]));
  const unknown = inputs.some(({ type }) => type === null);
  const error = h("p", { class: "error", role: "alert" });
  const result = h("div", { "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    const row = Object.fromEntries([...fields].map(([{ column, type }, input]) => [column, valueOf(input.value, type)]));
    result.replaceChildren(h("p", {}, "Predicting… The first prediction loads the model and takes a few seconds."));
    try {
      const { predictions, calibration, shadow } = await send("POST", pathOf(), { rows: [row] }, signal);
      error.textContent = "";
      result.replaceChildren(predictionView(predictions[0], calibration), shadow ? h("p", {}, shadowText(shadow)) : "");
    } catch (failure) {
      result.replaceChildren();
      if (!signal.aborted) error.textContent = failure.message;
    }
  };
  return h("form", { onsubmit: submit }, h("p", {}, `Empty fields are missing values.${unknown ? ' Put a text that looks like a number in double quotes: "007".' : ""}`),
    h("div", { class: "fields" }, [...fields].map(([{ column }, input]) => field(column, input))), error, h("button", { class: "primary" }, "Predict"), result);
}

function inputFor({ column, type, categories }) {
  const values = type === "boolean" ? ["true", "false"] : categories;
  if (values) return select([["", "(missing)"], ...values], { name: column });
  return h("input", { name: column, autocomplete: "off" });
}

/** Texts and dates are sent as they are; formatted numbers such as "$1,234" too: the service parses them. */
function valueOf(text, type) {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  if (type === "text" || type === "datetime") return text;
  if (type === null && /^".*"$/.test(trimmed)) return trimmed.slice(1, -1);
  if (trimmed === "true" || trimmed === "false") return trimmed === "true";
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
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

/** What another version predicts for the same row. */
function shadowText({ alias, version, different, changed, mean_absolute_difference: distance, error }) {
  const name = version === null ? `@${alias}` : `Version ${version} (@${alias})`;
  if (error) return `${name} has not predicted: ${error}`;
  if (!different) return `${name} predicts the same.`;
  return changed.length ? `${name} predicts ${valueText(changed[0].shadow)}.` : `${name} differs by ${number(distance, DIGITS)}.`;
}

function valueText(value) {
  if (value === null) return "overflow (not a finite number)";
  return typeof value === "number" ? number(value, DIGITS) : String(value);
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
