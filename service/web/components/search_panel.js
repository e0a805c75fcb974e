// The search of a sweep: curves of its trials, its rungs if it has some, and its decisions.

import { h } from "../lib/dom.js";
import { bracketsOf } from "../lib/rungs.js";
import { decisionList } from "./decisions.js";
import { rungTree } from "./rung_tree.js";
import { trialCurves } from "./trial_curves.js";

/** `update(sweep, points, decisions)`. */
export function searchPanel(signal) {
  const curves = trialCurves(signal);
  const tree = rungTree((key) => curves.pick(key));
  const list = decisionList();
  const rungs = h("section", { hidden: true }, h("h2", {}, "Rungs"), tree.element);
  const trials = h("section", {}, h("h2", {}, "Trials"), curves.element);
  return {
    element: h("div", {}, trials, rungs),
    decisions: list.element,
    async update(sweep, points, decisions) {
      trials.hidden = !sweep.search;
      list.update(decisions);
      if (!sweep.search) return;
      const brackets = bracketsOf(decisions);
      const limits = new Set(brackets.flatMap((bracket) => bracket.rungs.map(({ epochs }) => epochs)).filter((epochs) => epochs !== null));
      await curves.update(sweep, points, [...limits].sort((a, b) => a - b));
      rungs.hidden = brackets.length === 0;
      tree.update(sweep, brackets, points, curves.curveOf);
    },
  };
}
