// The rungs of a search by successive halving, from its decisions: which trials each had, in order of rank, and who went on.

/** [{bracket, rungs: [{number, epochs, trials: [{trial, value, outcome}]}]}]; epochs: null in the last rung, which trains to
 * the end; outcome: promoted, pruned, or null while it is open. Empty for searches without rungs.
 */
export function bracketsOf(decisions) {
  const brackets = new Map();
  const rungOf = ({ bracket }, number) => {
    const rungs = brackets.get(bracket) ?? [];
    brackets.set(bracket, rungs);
    return (rungs[number - 1] ??= { number, epochs: null, trials: new Map() });
  };
  for (const decision of decisions) {
    const { kind, trial, rung, value, epochs } = decision;
    if (rung === null) continue;
    if (kind === "proposed") enter(rungOf(decision, rung), trial, epochs);
    if (kind === "promoted") {
      leave(rungOf(decision, rung - 1), trial, value, "promoted");
      enter(rungOf(decision, rung), trial, epochs);
    }
    if (kind === "pruned") leave(rungOf(decision, rung), trial, value, "pruned");
  }
  return [...brackets].sort(([a], [b]) => a - b).map(([bracket, rungs]) => ({
    bracket, rungs: rungs.map((rung) => ({ ...rung, trials: [...rung.trials.values()] })),
  }));
}

function enter(rung, trial, epochs) {
  rung.epochs = epochs;
  rung.trials.set(trial, { trial, value: null, outcome: null });
}

/** Decisions of a rung are recorded in order of rank: the trial moves behind those that were decided before. */
function leave(rung, trial, value, outcome) {
  rung.trials.delete(trial);
  const open = [...rung.trials.values()].filter((each) => each.outcome === null);
  for (const each of open) rung.trials.delete(each.trial);
  rung.trials.set(trial, { trial, value, outcome });
  for (const each of open) rung.trials.set(each.trial, each);
}
