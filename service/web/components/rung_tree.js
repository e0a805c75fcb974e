// The rungs of a search as columns: a node a trial in order of rank, with its curve so far; promotions lead to the next rung.

import { h, svg } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { extent } from "./plot.js";

const MAX_NODES = 40; // in a column
const NODE = { width: 176, height: 22 };
const GAP = { x: 56, y: 5 };
const TOP = 46; // pixels for the heading of a column
const CURVE = { left: 104, width: 62 };

/** `update(sweep, brackets, points, curveOf)`: brackets of lib/rungs.js; curveOf(job): [[epoch, value], …]. */
export function rungTree(onPick) {
  const content = h("div");
  let key = "";

  function update(sweep, brackets, points, curveOf) {
    const byTrial = new Map(points.map((point) => [point.trial, point]));
    const next = JSON.stringify([brackets, points.map(({ key: own, epochs, status, rank }) => [own, epochs, status, rank])]);
    if (next === key) return; // else focus stays
    key = next;
    const focused = document.activeElement?.closest?.(".rungs a")?.getAttribute("aria-label");
    content.replaceChildren(...brackets.map(({ bracket, rungs }) => h("div", {},
      brackets.length > 1 && h("h3", {}, `Bracket ${bracket}`), drawing(sweep, rungs, byTrial, curveOf, bracket))));
    if (focused) content.querySelector(`a[aria-label="${CSS.escape(focused)}"]`)?.focus();
  }

  function drawing(sweep, rungs, byTrial, curveOf, bracket) {
    const shown = rungs.map(({ trials }) => ordered(trials, byTrial).slice(0, MAX_NODES));
    const rows = Math.max(...rungs.map(({ trials }) => Math.min(trials.length, MAX_NODES + 1)));
    const place = (column, row) => ({ x: column * (NODE.width + GAP.x), y: TOP + row * (NODE.height + GAP.y) });
    const curves = shown.flat().flatMap(({ trial }) => curveOf(byTrial.get(trial)?.own[0]?.job)).map(([, value]) => value).filter(Number.isFinite).sort((a, b) => a - b);
    const ends = extent(curves.slice(Math.floor(curves.length * 0.05), Math.ceil(curves.length * 0.95)));
    const edges = shown.slice(0, -1).flatMap((trials, column) => trials.flatMap(({ trial, outcome }, row) => {
      const target = shown[column + 1].findIndex((each) => each.trial === trial);
      return outcome === "promoted" && target >= 0 ? [edge(place(column, row), place(column + 1, target))] : [];
    }));
    const nodes = rungs.flatMap((rung, column) => [
      heading(rung, place(column, 0).x, column === rungs.length - 1),
      ...shown[column].map((each, row) => node(sweep, rung, each, byTrial.get(each.trial), place(column, row), ends, curveOf)),
      rung.trials.length > MAX_NODES && svg("text", { x: place(column, 0).x, y: place(column, MAX_NODES).y + 15 }, `and ${number(rung.trials.length - MAX_NODES)} more`),
    ].filter(Boolean));
    const [width, height] = [rungs.length * (NODE.width + GAP.x), TOP + rows * (NODE.height + GAP.y)];
    return h("div", { class: "graph rungs", tabindex: 0, role: "group", "aria-label": `Rungs of bracket ${bracket}` },
      svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, edges, nodes));
  }

  function node(sweep, rung, { trial, value, outcome }, point, { x, y }, ends, curveOf) {
    const best = point?.rank === 1;
    const current = value ?? (outcome === null ? point?.value ?? null : null);
    const style = best ? "best" : outcome ?? "open";
    const mark = outcome === "pruned" ? "✂" : outcome === "promoted" ? "↑" : best ? "★" : "";
    const label = `trial ${trial}, rung ${rung.number}: ${sweep.monitor} ${number(current)}, ${outcome ?? point?.status ?? "queued"}${best ? ", best" : ""}`;
    const curve = curveOf(point?.own[0]?.job).filter(([epoch, each]) => Number.isFinite(each) && (rung.epochs === null || epoch <= rung.epochs));
    return svg("a", { class: `node ${style}`, href: point?.own.length ? `#/job/${point.own[0].job}` : null, "aria-label": label, onmouseenter: () => point && onPick(point.key), onfocus: () => point && onPick(point.key) },
      svg("title", {}, label),
      svg("rect", { x: x + 1, y, width: NODE.width - 2, height: NODE.height, rx: 5 }),
      svg("text", { x: x + 7, y: y + 15 }, mark),
      svg("text", { x: x + 22, y: y + 15, class: "kind" }, String(trial)),
      svg("text", { x: x + CURVE.left - 6, y: y + 15, "text-anchor": "end" }, number(current)),
      curve.length > 1 && sparkline(curve, ends, x + CURVE.left, y));
  }

  return { element: content, update };
}

/** Trials that are decided in order of rank in the rung, then the others in that of their values now. */
function ordered(trials, byTrial) {
  const rankOf = ({ trial }) => byTrial.get(trial)?.rank ?? Infinity;
  const open = trials.filter(({ outcome }) => outcome === null).sort((a, b) => (rankOf(a) < rankOf(b) ? -1 : 1));
  return [...trials.filter(({ outcome }) => outcome !== null), ...open];
}

function heading({ number: place, epochs, trials }, x, last) {
  const promoted = trials.filter(({ outcome }) => outcome === "promoted").length;
  return svg("g", {}, svg("text", { x, y: 16, class: "kind" }, `Rung ${place}: ${epochs === null ? "to the end" : `up to ${plural(epochs, "epoch")}`}`),
    svg("text", { x, y: 34 }, `${plural(trials.length, "trial")}${last ? "" : `, ${promoted} promoted`}`));
}

function edge(from, to) {
  const [x1, y1, x2, y2] = [from.x + NODE.width, from.y + NODE.height / 2, to.x, to.y + NODE.height / 2];
  const middle = (x1 + x2) / 2;
  return svg("path", { class: "edge", d: `M ${x1} ${y1} C ${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` });
}

/** The curve within the node; values outside of `ends` are drawn at its edge. */
function sparkline(curve, [low, high], x, y) {
  const last = curve.at(-1)[0];
  const points = curve.map(([epoch, value]) => {
    const share = Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
    return `${(x + ((epoch - 1) / (last - 1)) * CURVE.width).toFixed(1)},${(y + NODE.height - 4 - share * (NODE.height - 8)).toFixed(1)}`;
  });
  return svg("polyline", { class: "sparkline", points: points.join(" ") });
}
