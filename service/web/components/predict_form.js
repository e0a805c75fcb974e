// One row by hand: what the best epoch answers.

import { send } from "../lib/api.js";
import { field, h, select } from "../lib/dom.js";
import { number } from "../lib/format.js";

const MOST = 60; // columns that anyone would fill in
const SHOWN = 10; // classes

/** plan: what /v1/jobs/plan says of the job's columns. */
export function predictForm(job, plan, signal) {
  if (plan.inputs.length > MOST) return h("p", {}, `It learns from ${plan.inputs.length} columns: send rows to `, h("code", {}, `POST /v1/jobs/${job.id}/predict`), ".");
  const inputs = new Map(plan.inputs.map((input) => [input.column, inputOf(input)]));
  const wrong = h("p", { class: "wrong", role: "alert" });
  const answer = h("div", { "aria-live": "polite" });
  const ask = async (event) => {
    event.preventDefault();
    const row = Object.fromEntries([...inputs].map(([name, input]) => [name, valueOf(input)]));
    answer.replaceChildren(h("p", {}, "Asking; the first time takes seconds.")); // a process with torch starts
    try {
      const { predictions } = await send("POST", `/v1/jobs/${job.id}/predict`, { rows: [row] }, signal);
      wrong.textContent = "";
      answer.replaceChildren(shown(predictions[0]));
    } catch (error) {
      answer.replaceChildren();
      if (!signal.aborted) wrong.textContent = error.message;
    }
  };
  return h("form", { onsubmit: ask }, h("p", {}, "What is left empty counts as missing."),
    h("div", { class: "fields" }, [...inputs].map(([name, input]) => field(name, input))), wrong, h("button", { class: "main" }, "Predict"), answer);
}

function inputOf({ column, categories }) {
  if (categories) return select([["", "missing"], ...categories], { name: column });
  return h("input", { name: column, autocomplete: "off" });
}

/** Numbers as numbers; dates and texts as they are written. */
function valueOf(input) {
  const text = input.value.trim();
  if (text === "") return null;
  if (input.tagName === "SELECT") return input.value;
  if (text === "true" || text === "false") return text === "true";
  return Number.isNaN(Number(text)) ? text : Number(text);
}

function shown({ prediction, probabilities }) {
  const said = h("p", {}, "Predicted: ", h("strong", {}, prediction === null ? "beyond all numbers" : typeof prediction === "number" ? number(prediction) : String(prediction)));
  if (!probabilities) return said;
  const first = Object.entries(probabilities).sort(([, a], [, b]) => b - a).slice(0, SHOWN);
  return h("div", {}, said, h("ul", { class: "bars" }, first.map(([name, share]) =>
    h("li", {}, h("span", {}, name), h("meter", { min: 0, max: 1, value: share, "aria-label": `${name}: ${number(share)}` }), h("span", {}, `${number(Math.round(share * 1000) / 10)}%`)))));
}
