// The decisions of a sweep with their reasons, newest first.

import { h, relativeTime, select, table } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";

const KINDS = ["proposed", "promoted", "pruned", "stopped", "published", "failed"];
const MARKS = { proposed: "＋", promoted: "↑", pruned: "✂", stopped: "■", published: "✔", failed: "✖" };
const MAX_ROWS = 500;

/** `update(decisions)`: all of them, in order. */
export function decisionList() {
  let all = [];
  const kinds = select([["", "all"], ["outcome", "all but proposals"], ...KINDS], { value: "outcome", onchange: draw, name: "decision" });
  const note = h("p", {}, "");
  const list = table("Decisions", [
    { title: "No.", number: true, cell: (row) => String(row.number) },
    { title: "Decision", nowrap: true, cell: (row) => `${MARKS[row.kind] ?? ""} ${row.kind}` },
    { title: "Trial", number: true, cell: (row) => (row.trial === null ? "–" : String(row.trial)) },
    { title: "Rung", number: true, cell: (row) => (row.rung === null ? "–" : String(row.rung)) },
    { title: "Epochs", number: true, cell: (row) => (row.epochs === null ? "–" : number(row.epochs)) },
    { title: "Value", number: true, cell: (row) => number(row.value) },
    { title: "Reason", cell: (row) => h("span", { class: "reason" }, row.reason) },
    { title: "When", nowrap: true, cell: (row) => relativeTime(row.created_at), text: (row) => row.created_at },
  ], (row) => row.number, "No decisions yet.");
  const element = h("section", {}, h("h2", {}, "Decisions"), h("div", { class: "controls" }, h("label", { class: "inline" }, "Show ", kinds)), note, list.element);

  function draw() {
    const chosen = all.filter(({ kind }) => !kinds.value || kind === kinds.value || (kinds.value === "outcome" && kind !== "proposed"));
    list.update(chosen.slice(-MAX_ROWS).toReversed());
    const text = `${plural(all.length, "decision")}${chosen.length > MAX_ROWS ? `; the newest ${MAX_ROWS} of ${number(chosen.length)} are shown` : ""}.`;
    if (note.textContent !== text) note.textContent = text;
  }

  return {
    element,
    update(decisions) {
      element.hidden = decisions.length === 0;
      if (decisions.length === all.length) return;
      all = decisions;
      draw();
    },
  };
}
