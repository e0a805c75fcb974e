// Other stopping rules over the recorded curve: where each would have stopped, and at what regret.

import { send } from "../lib/api.js";
import { button, field, h, say, table } from "../lib/dom.js";
import { number } from "../lib/format.js";

const PATIENCE = [3, 5, 10, 20].map((patience) => ({ rule: "patience", patience }));
// Prechelt's, which are of numbers that fall.
const OTHERS = [{ rule: "gl", alpha: 2 }, { rule: "gl", alpha: 5 }, { rule: "pq", alpha: 0.5 }, { rule: "up", s: 3 }];
const FALLING = /^val_(loss|log_loss|mae|rmse)$/;

export function replay(job, signal) {
  const monitor = job.spec.early_stopping?.monitor ?? job.best?.monitor ?? "val_loss";
  let rules = [...PATIENCE, ...(FALLING.test(monitor) ? OTHERS : [])].map((rule) => ({ ...rule, monitor }));
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
  list.element.hidden = true;

  async function run(asked) {
    const answer = await send("POST", `/v1/jobs/${job.id}/early-stopping/replay`, { rules: asked }, signal);
    rules = asked;
    list.element.hidden = false;
    list.update(answer.data);
  }

  async function add(event) {
    event.preventDefault();
    try {
      await run([...rules, { monitor, ...JSON.parse(extra.value) }]);
      extra.value = "";
    } catch (error) {
      if (!signal.aborted) say(error.message);
    }
  }

  const go = button("Replay", () => run(rules));
  const element = h("div", {}, h("p", {}, "Nothing is trained: the rules run over the epochs on record."),
    h("form", { class: "controls", onsubmit: add }, go, field("One more rule, as JSON", extra), h("button", {}, "Add")), list.element);
  return { element, update(epochs) { go.hidden = epochs === 0; } };
}

function named(rule) {
  if (rule.rule === "patience") return `patience ${rule.patience}${rule.min_delta ? `, better by more than ${number(rule.min_delta)}` : ""}`;
  if (rule.rule === "up") return `UP: ${rule.s} rises of ${rule.k} epochs`;
  return `${rule.rule.toUpperCase()}: alpha ${number(rule.alpha)}`;
}
