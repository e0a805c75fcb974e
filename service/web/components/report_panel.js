// Loads a report and shows it, with downloads of it as a document, and again with the costs that a reader gives.

import { download, get } from "../lib/api.js";
import { button, h } from "../lib/dom.js";
import { evaluatedText, reportView } from "./report.js";

/** `path`: of the report's route. A report that was not built before takes seconds, for large tables minutes.
 *
 * `load()` reads it again, e.g. when the job has ended.
 */
export function reportPanel(path, signal) {
  const status = h("p", { role: "status" }, "Reading the report. The first time it is built, which takes seconds, or minutes for large data sets…");
  const content = h("div");
  let costs = { false_positive: 1, false_negative: 1 };
  let query = "";

  /** A query that fails leaves the report, and the downloads, as they are. */
  async function load(next = query) {
    try {
      const report = await get(`${path}${next}`, signal);
      query = next;
      status.replaceChildren(`${report.task === "classification" ? "Classification" : "Regression"} of `, h("strong", {}, report.target), `. ${evaluatedText(report)}`);
      content.replaceChildren(documents(), reportView(report, { costs: { values: costs, onChange: showCosts } }));
    } catch (error) {
      if (signal.aborted) throw error;
      status.replaceChildren(h("span", { class: "error" }, `No report: ${error.message}`));
    }
  }

  async function showCosts(next) {
    costs = next;
    await load(`?${new URLSearchParams({ costs: JSON.stringify(costs) })}`);
    content.querySelector("[name=false_negative]")?.focus();
  }

  function documents() {
    return h("div", { class: "controls" },
      button("Download as HTML", () => download(`${path}${query}`, "text/html"), { title: "One file with all charts" }),
      button("Download as Markdown", () => download(`${path}${query}`, "text/markdown")));
  }

  load();
  return { element: h("div", {}, status, content), load };
}
