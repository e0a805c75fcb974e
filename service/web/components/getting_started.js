// What a service without jobs shows: what it does, the three steps, a first job in one click, the same from a terminal.

import { newIdempotencyKey, send, serviceUrl } from "../lib/api.js";
import { button, h } from "../lib/dom.js";
import { SYNTHETIC } from "./spec_form.js";

const STEPS = [
  ["Upload a data set", "CSV, JSON Lines, Parquet, NumPy arrays or a zip of images. Format, column types and possible problems are detected and shown."],
  ["Create a job", "Choose the target column. Network, optimizer, early stopping and train/validation/test split have defaults that you can change."],
  ["Use the best model", "Watch the training curve, then predict in the browser or over HTTP, or download the best checkpoint for PyTorch or ONNX."],
];

export function gettingStarted() {
  const idempotencyKey = newIdempotencyKey();
  const firstSpec = { name: "first-job", data: SYNTHETIC };
  const createFirstJob = async () => {
    const job = await send("POST", "/v1/jobs", firstSpec, undefined, idempotencyKey);
    location.hash = `#/job/${job.id}`;
  };
  const url = serviceUrl();
  return h("section", { class: "getting-started", "aria-label": "Getting started" },
    h("h2", {}, "No jobs yet: train your first model"),
    h("p", {}, "bestepoch trains neural networks on your tables and images as background jobs. A job stops when the validation metric no longer improves (early stopping) and keeps the checkpoint of its best epoch."),
    h("ol", { class: "cards wide steps" }, STEPS.map(([title, text]) => h("li", { class: "card" }, h("h3", {}, title), h("p", {}, text)))),
    h("div", { class: "controls", "data-needs": "submit" },
      h("a", { class: "button primary", href: "#/datasets" }, "Upload a data set"),
      button("Train on synthetic data", createFirstJob),
      h("a", { class: "button", href: "#/new" }, "Configure a job")),
    h("details", {}, h("summary", {}, "Use the command line or curl instead"),
      h("h3", {}, "Command line"),
      codeBlock(`bestepoch train table.csv --target COLUMN --url ${url}`),
      h("h3", {}, "curl"),
      codeBlock([
        `curl --data-binary @table.csv '${url}/v1/datasets?name=table.csv'   # returns the data set's id`,
        `curl ${url}/v1/jobs --json '{"data": {"kind": "dataset", "id": "ds_…", "target": "COLUMN"}}'`,
        "",
        "# or without a data set:",
        `curl ${url}/v1/jobs --json '${JSON.stringify(firstSpec)}'`,
      ].join("\n")),
      h("p", {}, "Every request and field: ", h("a", { href: "docs" }, "API documentation"), ". Where the service requires an API key, add ",
        h("code", {}, "-H 'Authorization: Bearer KEY'"), " to curl, and set ", h("code", {}, "BESTEPOCH_API_KEY"), " for the command line.")));
}

function codeBlock(text) {
  return h("pre", { tabindex: 0 }, h("code", {}, text));
}
