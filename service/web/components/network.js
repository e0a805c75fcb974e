// A network as a row of its layers: what each is, the shapes between them, how much it learns.

import { h } from "../lib/dom.js";
import { bytes, number } from "../lib/format.js";

/** plan: what /v1/jobs/plan answers. */
export function layers(plan) {
  const shape = (sizes) => sizes.join(" × ");
  const boxes = plan.layers.map((layer) => h("li", { class: `layer ${layer.kind}` },
    h("strong", {}, layer.kind.replaceAll("_", " ")),
    h("span", {}, details(layer)),
    h("span", {}, layer.parameters ? `${number(layer.parameters)} parameters` : "nothing to learn"),
    h("span", { class: "shape" }, shape(layer.output_shape))));
  const first = h("li", { class: "layer input" }, h("strong", {}, "inputs"), h("span", {}, `${plan.inputs.length} columns`), h("span", { class: "shape" }, shape(plan.layers[0]?.input_shape ?? [])));
  const { train, validation, test, dropped } = plan.rows;
  return h("div", {},
    h("ol", { class: "layers", "aria-label": "Layers, from inputs to outputs" }, first, boxes),
    h("p", {}, `${number(plan.parameters)} parameters; ${number(plan.steps_per_epoch)} steps an epoch over ${number(train)} rows, `,
      `${number(validation)} validate, ${number(test)} test${dropped ? `, ${number(dropped)} left out` : ""}; about ${bytes(plan.memory_bytes)} of memory.`),
    h("p", {}, `${plan.task}: ${plan.task_reason}.`, plan.classes ? ` Classes: ${plan.classes.slice(0, 20).join(", ")}${plan.classes.length > 20 ? ", …" : ""}.` : ""));
}

function details(layer) {
  return Object.entries(layer.details).filter(([name]) => !["inputs", "eps", "momentum"].includes(name))
    .map(([name, value]) => (typeof value === "string" ? value : `${name.replaceAll("_", " ")} ${number(value)}`)).join(", ");
}
