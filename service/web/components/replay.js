// Replay early stopping: where other rules would have stopped on the recorded history, and at what regret.

import { send } from "../lib/api.js";
import { button, field, h, table, toast } from "../lib/dom.js";
import { number } from "../lib/format.js";

const PATIENCE_RULES = [3, 5, 10, 20].map((patience) => ({ rule: "patience", patience }));
// Prechelt's rules; they are defined for metrics that decrease.
const PRECHELT_RULES = [{ rule: "gl", alpha: 2 }, { rule: "gl", alpha: 5 }, { rule: "pq", alpha: 0.5 }, { rule: "up", s: 3 }];
const DECREASING = /^val_(loss|log_loss|mae|rmse)$/;

export function replayPanel(job, signal) {
  const monitor = job.spec.early_stopping?.monitor ?? job.best?.monitor ?? "val_loss";
  let rules = [...PATIENCE_RULES, ...(DECREASING.test(monitor) ? PRECHELT_RULES : [])].map((rule) => ({ ...rule, monitor }));
  const customRule = h("input", { placeholder: '{"patience": 7, "min_delta": 0.01}', size: 32 });
  const list = table("Replayed rules", [
    { title: "Rule", cell: (row) => ruleName(row.rule) },
    { title: "Stops at", number: true, cell: (row) => (row.stop_epoch ? `epoch ${number(row.stop_epoch)}` : "does not stop") },
    { title: "Best epoch", number: true, cell: (row) => number(row.best_epoch) },
    { title: "Best value", number: true, cell: (row) => number(row.best_value) },
    { title: "Regret", number: true, cell: (row) => (row.regret === 0 ? "none" : number(row.regret)) },
    { title: "Epochs saved", number: true, cell: (row) => number(row.epochs_saved) },
    { title: "Exact", cell: (row) => (row.exact ? "yes" : "no") },
  ], (row) => JSON.stringify(row.rule), "");
  list.element.hidden = true;

  async function run(requested) {
    const answer = await send("POST", `/v1/jobs/${job.id}/early-stopping/replay`, { rules: requested }, signal);
    rules = requested;
    list.element.hidden = false;
    list.update(answer.data);
  }

  async function addRule(event) {
    event.preventDefault();
    try {
      await run([...rules, { monitor, ...JSON.parse(customRule.value) }]);
      customRule.value = "";
    } catch (error) {
      if (!signal.aborted) toast(error.message);
    }
  }

  const replay = button("Replay", () => run(rules));
  const element = h("div", {},
    h("p", {}, "Applies other stopping rules to the recorded epochs, without training again. Regret: how much worse the rule's best value is than the best recorded one. ",
      "Exact: training with that rule would give this result; “no” where the recorded history is too short, or the learning rate schedule follows another metric."),
    h("form", { class: "controls", onsubmit: addRule }, replay, field("Custom rule (JSON)", customRule), h("button", {}, "Add")), list.element);
  return { element, update(epochs) { replay.hidden = epochs === 0; } };
}

export function ruleName(rule) {
  if (rule.rule === "patience") return `patience ${rule.patience}${rule.min_delta ? `, min delta ${number(rule.min_delta)}` : ""}`;
  if (rule.rule === "up") return `UP: ${rule.s} increases over strips of ${rule.k} epochs`;
  return `${rule.rule.toUpperCase()}: alpha ${number(rule.alpha)}`;
}
