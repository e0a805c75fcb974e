// Diagram of a network: its layers with output shapes and parameter counts, then the plan's totals.

import { h } from "../lib/dom.js";
import { bytes, number, plural } from "../lib/format.js";

const MAX_CLASSES = 20;
const HIDDEN_DETAILS = ["inputs", "eps", "momentum"];

/** plan: response of POST /v1/jobs/plan. */
export function networkDiagram(plan) {
  const shape = (sizes) => sizes.join(" × ");
  const layers = plan.layers.map((layer) => h("li", { class: `layer ${layer.kind}` },
    h("strong", {}, layer.kind.replaceAll("_", " ")),
    h("span", {}, detailsOf(layer)),
    h("span", {}, layer.parameters ? plural(layer.parameters, "parameter") : "no parameters"),
    h("span", { class: "shape" }, shape(layer.output_shape))));
  const input = h("li", { class: "layer input" }, h("strong", {}, "input"), h("span", {}, plural(plan.inputs.length, "column")), h("span", { class: "shape" }, shape(plan.layers[0]?.input_shape ?? [])));
  const { train, validation, test, dropped } = plan.rows;
  return h("div", {},
    h("ol", { class: "layers", "aria-label": "Layers, from input to output" }, input, layers),
    h("dl", { class: "facts" }, [
      ["Parameters", number(plan.parameters)],
      ["Rows", `${number(train)} training, ${number(validation)} validation, ${number(test)} test${dropped ? `, ${number(dropped)} dropped` : ""}`],
      ["Steps per epoch", number(plan.steps_per_epoch)],
      ["Memory", `about ${bytes(plan.memory_bytes)}`],
      ["Task", `${plan.task}: ${plan.task_reason}`],
      ...(plan.classes ? [["Classes", `${plan.classes.slice(0, MAX_CLASSES).join(", ")}${plan.classes.length > MAX_CLASSES ? `, … (${plan.classes.length})` : ""}`]] : []),
    ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function detailsOf(layer) {
  return Object.entries(layer.details).filter(([name]) => !HIDDEN_DETAILS.includes(name))
    .map(([name, value]) => (typeof value === "string" ? value : `${name.replaceAll("_", " ")} ${number(value)}`)).join(", ");
}
