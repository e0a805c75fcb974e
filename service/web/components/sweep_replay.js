// Replay a sweep: what halving and other stopping rules would have cost over the recorded curves, and missed.

import { send } from "../lib/api.js";
import { button, field, h, table, toast } from "../lib/dom.js";
import { number, percent, plural } from "../lib/format.js";
import { ruleName } from "./replay.js";

const RULES = [...[2, 3, 4].map((eta) => ({ kind: "halving", eta })), ...[3, 5, 10].map((patience) => ({ patience }))];

export function sweepReplayPanel(id, signal) {
  let rules = RULES;
  const customRule = h("input", { placeholder: '{"kind": "halving", "eta": 4, "min_epochs": 3}', size: 32 });
  const revival = h("div", { "aria-live": "polite" });
  const list = table("Replayed rules", [
    { title: "Rule", cell: ({ rule }) => (rule.kind === "halving" ? halvingName(rule) : ruleName(rule)) },
    { title: "Epochs", number: true, cell: (row) => number(row.epochs) },
    { title: "Saved", number: true, cell: (row) => percent(row.saved) },
    { title: "Best trial", number: true, cell: (row) => number(row.winner?.trial) },
    { title: "Value", number: true, cell: (row) => number(row.winner?.value) },
    { title: "Regret", number: true, cell: (row) => (row.regret === 0 ? "none" : number(row.regret)) },
    { title: "Exact", cell: (row) => h("span", { title: row.reason }, row.exact ? "yes" : `no: ${plural(row.short.length, "short curve")}`) },
  ], (row) => JSON.stringify(row.rule), "");
  list.element.hidden = true;

  async function run(requested) {
    const { data } = await send("POST", `/v1/sweeps/${id}/replay`, { rules: requested }, signal);
    rules = requested;
    list.element.hidden = false;
    list.update(data);
    const short = data.flatMap((row) => row.short).filter(({ status }) => status === "pruned");
    const pruned = [...new Set(short.map(({ job }) => job))];
    const buttons = pruned.length > 0 ? [button(`Revive ${plural(pruned.length, "pruned job")}`, () => revive(pruned), { "data-needs": "submit" })] : [];
    revival.replaceChildren(...buttons);
  }

  async function revive(jobs) {
    for (const job of jobs) await send("POST", `/v1/jobs/${job}/resume`, undefined, signal);
    revival.replaceChildren(h("p", {}, `${plural(jobs.length, "job")} revived: replay again when they have ended.`));
  }

  async function addRule(event) {
    event.preventDefault();
    try {
      await run([...rules, JSON.parse(customRule.value)]);
      customRule.value = "";
    } catch (error) {
      if (!signal.aborted) toast(error.message);
    }
  }

  return h("div", {},
    h("p", {}, "Applies successive halving, or a stopping rule on each job, to the recorded epochs, without training again. Regret: how much worse the best trial that it finds is than the best recorded one. ",
      "Exact: a sweep with that rule would give this result; “no” where recorded curves are too short, for example those of pruned jobs."),
    h("form", { class: "controls", onsubmit: addRule }, button("Replay", () => run(rules)), field("Custom rule (JSON)", customRule), h("button", {}, "Add")),
    list.element, revival);
}

function halvingName({ eta, min_epochs: minEpochs }) {
  return `halving: 1 of ${eta}${minEpochs === null ? "" : `, from epoch ${minEpochs}`}`;
}
