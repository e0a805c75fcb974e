// Scales of an axis: values to shares between 0 (the lowest) and 1, linear, logarithmic or by choice, with labelled ticks.

import { number, specValue, tickLabel } from "./format.js";
import { linearTicks, logTicks } from "./ticks.js";

const LOG_RATIO = 100; // positive numbers that span more are drawn by their logarithms
const TICKS = 5;
const FEW = 6; // so many numbers have a tick each

/** values: of any kind; null and undefined have no place. Returns {kind, share(value), ticks: [[share, text], …]}. */
export function scaleOf(values, isLog = false) {
  const known = values.filter((value) => value !== undefined);
  if (!known.length || !known.every(Number.isFinite)) return choiceScale(known);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  if (low === high) return { kind: "linear", share: () => 0.5, ticks: [[0.5, number(low)]] };
  const distinct = [...new Set(known)];
  if (low > 0 && (isLog || high / low >= LOG_RATIO)) {
    const share = (value) => Math.log(value / low) / Math.log(high / low);
    return { kind: "log", share, ticks: (distinct.length > FEW ? logTicks(low, high) : distinct).map((value) => [share(value), tickLabel(value)]) };
  }
  const share = (value) => (value - low) / (high - low);
  return { kind: "linear", share, ticks: (distinct.length > FEW ? linearTicks(low, high, TICKS) : distinct).map((value) => [share(value), tickLabel(value)]) };
}

function choiceScale(values) {
  const texts = [...new Set(values.map((value) => JSON.stringify(value)))].sort();
  const share = (value) => (texts.length > 1 ? texts.indexOf(JSON.stringify(value)) / (texts.length - 1) : 0.5);
  return { kind: "choice", share, ticks: texts.map((text) => [share(JSON.parse(text)), specValue(JSON.parse(text))]) };
}
