// Parallel coordinates: a line a point of a sweep, through an axis for each parameter and one for the value.

import { h, svg } from "../lib/dom.js";
import { number, plural, shortId, specValue } from "../lib/format.js";
import { scaleOf } from "../lib/scales.js";
import { lowerIsBetter, pointName, statusText } from "../lib/sweep_points.js";
import { linePicker } from "./line_picker.js";

const MAX_LINES = 500; // the best ones
const HEIGHT = 340;
const AXIS_WIDTH = 112; // least distance of two axes, in pixels
const MARGIN = { left: 56, right: 70, top: 40, bottom: 40 };
const BOTTOM = HEIGHT - MARGIN.bottom;
const MISSING_HEIGHT = 28; // of the place for points that do not set the field
const CHARACTER_WIDTH = 7;
const MAX_LABEL = 15; // characters
const LOG_KINDS = ["log", "log_int"];

/** `update(sweep, points, names)`: points of lib/sweep_points.js, and the fields in which they differ. */
export function parallelCoordinates() {
  const picker = linePicker("Parallel coordinates: a line for each configuration");
  const note = h("p", {}, "");
  return {
    element: h("section", {}, h("h2", {}, "Parallel coordinates"), note, picker.element, lineLegend()),
    update(sweep, points, names) {
      const valued = points.filter((point) => point.value !== null);
      const better = lowerIsBetter(sweep.monitor) ? "lower is better" : "higher is better";
      const text = [`${plural(valued.length, "configuration")} with a value; ${sweep.monitor}: ${better}.`,
        valued.length > MAX_LINES && `The best ${number(MAX_LINES)} are drawn.`].filter(Boolean).join(" ");
      if (note.textContent !== text) note.textContent = text;
      const shown = valued.slice(0, MAX_LINES);
      picker.update((width) => layoutOf(sweep, shown, names, width));
    },
  };
}

/** What the styles of lines mean; they differ in more than colour. */
export function lineLegend() {
  const sample = (style, mark, text) => h("li", { class: "inline" },
    svg("svg", { width: 44, height: 14, "aria-hidden": "true" }, svg("line", { class: `trial ${style}`, x1: 0, x2: 28, y1: 7, y2: 7 }), svg("text", { class: `trial-mark ${style}`, x: 30, y: 11 }, mark)), text);
  return h("ul", { class: "legend" }, sample("best", "★", "best"), sample("", "", "other"), sample("pruned", "✂", "pruned"));
}

/** The style and the mark of a point's line. */
export function lineStyle(point) {
  if (point.rank === 1) return { style: "best", mark: "★" };
  return point.status === "pruned" ? { style: "pruned", mark: "✂" } : { style: "", mark: "" };
}

function layoutOf(sweep, points, names, available) {
  const axes = [...names.map((name) => axisOf(name, shortName(name, names), points.map(({ point }) => point[name]), isLog(sweep.space?.[name]))),
    axisOf(sweep.monitor, sweep.monitor, points.map(({ value }) => value))];
  const width = Math.max(available, MARGIN.left + MARGIN.right + (axes.length - 1) * AXIS_WIDTH);
  const across = (index) => MARGIN.left + (axes.length > 1 ? index / (axes.length - 1) : 0) * (width - MARGIN.left - MARGIN.right);
  const lines = points.map((point) => {
    const values = [...names.map((name) => point.point[name]), point.value];
    return { key: point.key, points: values.map((value, index) => [across(index), heightOf(axes[index], value)]), ...lineStyle(point),
      name: nameOf(sweep, point, names), describe: () => [jobLink(point), ` ${nameOf(sweep, point, names)}`] };
  });
  return { width, height: HEIGHT, lines, above: axes.flatMap((axis, index) => drawAxis(axis, across(index))) };
}

function isLog(parameter) {
  return parameter ? LOG_KINDS.some((kind) => kind in parameter) : false;
}

/** The last part of a dotted name, unless another name ends with it. */
function shortName(name, names) {
  const last = (each) => each.split(".").at(-1);
  return names.filter((each) => last(each) === last(name)).length === 1 ? last(name) : name;
}

/** `missing`: some points do not set the field; their place is below the others. */
function axisOf(name, label, values, log = false) {
  return { name, label, scale: scaleOf(values, log), missing: values.includes(undefined) };
}

function heightOf(axis, value) {
  return value === undefined ? BOTTOM : heightAt(axis, axis.scale.share(value));
}

function heightAt({ missing }, share) {
  const lowest = missing ? BOTTOM - MISSING_HEIGHT : BOTTOM;
  return lowest - share * (lowest - MARGIN.top);
}

function drawAxis(axis, x) {
  const { name, label, scale, missing } = axis;
  const ticks = [...scale.ticks.map(([share, text]) => [heightAt(axis, share), text]), ...(missing ? [[BOTTOM, "not set"]] : [])];
  const title = label.length > MAX_LABEL ? `…${label.slice(1 - MAX_LABEL)}` : label;
  return [
    svg("line", { class: "axis", x1: x, x2: x, y1: MARGIN.top, y2: BOTTOM }),
    svg("text", { class: "axis-name", x, y: MARGIN.top - 22, "text-anchor": "middle" }, title, svg("title", {}, name)),
    svg("text", { x, y: MARGIN.top - 8, "text-anchor": "middle" }, scale.kind === "log" ? "log scale" : ""),
    ...ticks.flatMap(([y, text]) => [svg("line", { class: "axis", x1: x - 4, x2: x, y1: y, y2: y }),
      svg("text", { x: x - 7, y: y + 4, "text-anchor": "end" }, cut(text), svg("title", {}, text))]),
  ];
}

function cut(text) {
  const most = Math.floor((AXIS_WIDTH - 42) / CHARACTER_WIDTH);
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

function nameOf(sweep, point, names) {
  const values = names.filter((name) => name in point.point).map((name) => `${name} ${specValue(point.point[name])}`);
  const error = point.spread?.standard_error;
  return [`rank ${point.rank}`, point.trial !== null && pointName(point), ...values,
    `${sweep.monitor} ${number(point.value)}${error ? ` ± ${number(error, 2)}` : ""}`, statusText(point)].filter(Boolean).join(" · ");
}

/** The best job of the point. */
function jobLink({ own }) {
  return own.length ? h("a", { href: `#/job/${own[0].job}` }, shortId(own[0].job)) : "";
}
