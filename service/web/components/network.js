// Diagram of a network: its layers with output shapes and parameter counts, then the plan's totals.

import { h } from "../lib/dom.js";
import { bytes, number, plural } from "../lib/format.js";
import { graphDiagram } from "./graph.js";

const MAX_CLASSES = 20;
const HIDDEN_DETAILS = ["inputs", "eps", "momentum"];

/** plan: response of POST /v1/jobs/plan. */
export function networkDiagram(plan) {
  const { train, validation, test, dropped } = plan.rows;
  return h("div", {},
    isChain(plan.layers) ? chain(plan) : graphDiagram(nodes(plan), "Layers and their inputs"),
    h("dl", { class: "facts" }, [
      ["Parameters", number(plan.parameters)],
      ["Rows", `${number(train)} training, ${number(validation)} validation, ${number(test)} test${dropped ? `, ${number(dropped)} dropped` : ""}`],
      ["Steps per epoch", number(plan.steps_per_epoch)],
      ["Memory", `about ${bytes(plan.memory_bytes)}`],
      ...(plan.row_access.mode === "disk" ? [["Streaming", plan.row_access.reason]] : []),
      ...(plan.array.reason ? [["Folds", plan.array.reason]] : []),
      ["Task", `${plan.task}: ${plan.task_reason}`],
      ...(plan.classes ? [["Classes", `${plan.classes.slice(0, MAX_CLASSES).join(", ")}${plan.classes.length > MAX_CLASSES ? `, … (${plan.classes.length})` : ""}`]] : []),
    ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

const shape = (sizes) => sizes.join(" × ");

/** Whether each layer takes the output of the one before it, and the first the numbers. */
function isChain(layers) {
  return layers.every(({ inputs }, index) => inputs.length === 1 && inputs[0] === (index ? `layers.${index - 1}` : "numbers"));
}

function chain(plan) {
  const layers = plan.layers.map((layer) => h("li", { class: `layer ${layer.kind}` },
    h("strong", {}, layer.kind.replaceAll("_", " ")),
    h("span", {}, detailsOf(layer)),
    h("span", {}, layer.parameters ? plural(layer.parameters, "parameter") : "no parameters"),
    h("span", { class: "shape" }, shape(layer.output_shape))));
  const input = h("li", { class: "layer input" }, h("strong", {}, "input"), h("span", {}, plural(plan.inputs.length, "column")), h("span", { class: "shape" }, shape(plan.layers[0]?.input_shape ?? [])));
  return h("ol", { class: "layers", "aria-label": "Layers, from input to output" }, input, layers);
}

/** The blocks that the layers read, and the layers, for `graphDiagram`. */
function nodes(plan) {
  const blocks = ["numbers", "codes"].filter((block) => plan.layers.some(({ inputs }) => inputs.includes(block)));
  return [
    ...blocks.map((block) => ({ name: block, inputs: [], lines: [block] })),
    ...plan.layers.map((layer) => ({
      name: `layers.${layer.index}`,
      inputs: layer.inputs,
      lines: [layer.name ? `${layer.kind.replaceAll("_", " ")} ${layer.name}` : layer.kind.replaceAll("_", " "),
        layer.parameters ? plural(layer.parameters, "parameter") : detailsOf(layer), shape(layer.output_shape)],
    })),
  ];
}

function detailsOf(layer) {
  return Object.entries(layer.details).filter(([name]) => !HIDDEN_DETAILS.includes(name))
    .map(([name, value]) => (typeof value === "string" ? value : `${name.replaceAll("_", " ")} ${number(value)}`)).join(", ");
}
