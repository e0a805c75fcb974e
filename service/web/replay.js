// Other stopping rules over the recorded curve: where each would have stopped, and at what regret.

import { send } from "./api.js";
import { button, field, h, say, table } from "./dom.js";
import { number } from "./format.js";

const FIRST = [
  { rule: "patience", patience: 3 }, { rule: "patience", patience: 5 }, { rule: "patience", patience: 10 },
  { rule: "patience", patience: 20 }, { rule: "gl", alpha: 2 }, { rule: "gl", alpha: 5 }, { rule: "pq", alpha: 0.5 }, { rule: "up", s: 3 },
];

export function replay(job, signal) {
  const monitor = job.spec.early_stopping?.monitor ?? "val_loss";
  const extra = h("input", { placeholder: '{"patience": 7, "min_delta": 0.01}', size: 32 });
  const list = table("Other rules", [
    { title: "Rule", cell: (row) => named(row.rule) },
    { title: "Would have stopped", number: true, cell: (row) => (row.stop_epoch ? `epoch ${number(row.stop_epoch)}` : "not yet") },
    { title: "Best epoch", number: true, cell: (row) => number(row.best_epoch) },
    { title: "Value there", number: true, cell: (row) => number(row.best_value) },
    { title: "Regret", number: true, cell: (row) => (row.regret === 0 ? "none" : number(row.regret)) },
    { title: "Epochs saved", number: true, cell: (row) => number(row.epochs_saved) },
    { title: "Exact", cell: (row) => (row.exact ? "yes" : "no: the record ends or bends before") },
  ], (row) => JSON.stringify(row.rule), "");
  const rules = FIRST.map((rule) => ({ ...rule, monitor }));
  const run = async () => {
    const answer = await send("POST", `/v1/jobs/${job.id}/early-stopping/replay`, { rules }, signal);
    list.update(answer.data);
  };
  const add = async (event) => {
    event.preventDefault();
    try {
      rules.push({ monitor, ...JSON.parse(extra.value) });
      await run();
      extra.value = "";
    } catch (error) {
      rules.pop();
      say(error.message);
    }
  };
  const go = button("Replay", run);
  const element = h("div", {}, h("p", {}, "Nothing is trained: the rules run over the epochs on record."),
    h("form", { class: "controls", onsubmit: add }, go, field("One more rule, as JSON", extra), h("button", {}, "Add")), list.element);
  list.element.hidden = true;
  go.addEventListener("click", () => { list.element.hidden = false; });
  return { element, update(epochs) { go.disabled = epochs === 0; } };
}

function named(rule) {
  if (rule.rule === "patience") return `patience ${rule.patience}${rule.min_delta ? `, better by more than ${number(rule.min_delta)}` : ""}`;
  if (rule.rule === "up") return `UP: ${rule.s} rises of ${rule.k} epochs`;
  return `${rule.rule.toUpperCase()}: alpha ${number(rule.alpha)}`;
}
