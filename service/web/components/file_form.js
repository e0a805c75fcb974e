// Form that sends a CSV or Parquet file of rows.

import { button, field, h } from "../lib/dom.js";

/** `onFile(file)` may be async; its error is shown below the form. */
export function fileForm(label, action, onFile) {
  const input = h("input", { type: "file", accept: ".csv,.parquet,text/csv" });
  const error = h("p", { class: "error", role: "alert" });
  const start = button(action, async () => {
    error.textContent = input.files.length ? "" : "Choose a file first.";
    if (!input.files.length) return;
    start.textContent = "Working…";
    try {
      await onFile(input.files[0]);
    } catch (failure) {
      if (failure.name !== "AbortError") error.textContent = failure.message;
    } finally {
      start.textContent = action;
    }
  });
  return h("div", {}, h("div", { class: "controls" }, field(label, input, "CSV with a header row, or Parquet"), start), error);
}
