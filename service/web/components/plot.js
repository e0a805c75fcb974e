// A chart that does not change (SVG): axes, lines, areas, bars, dots and cells in the units of the data.

import { h, svg } from "../lib/dom.js";
import { tickLabel } from "../lib/format.js";
import { linearTicks } from "../lib/ticks.js";

const MARGIN = { right: 14, top: 12, bottom: 40 };
const TICKS = 5;
const CHARACTER_WIDTH = 7; // pixels, on average

/** x, y: [low, high]; `left`: pixels for the labels there; `style` of a shape: CSS classes such as `c0`; `hint`: its tooltip. */
export function plot({ x, y, width = 420, height = 280, left = 56 }) {
  const [xRange, yRange] = [widened(x), widened(y)];
  const parts = [];
  const across = (value) => left + ((value - xRange[0]) / (xRange[1] - xRange[0])) * (width - left - MARGIN.right);
  const up = (value) => height - MARGIN.bottom - ((value - yRange[0]) / (yRange[1] - yRange[0])) * (height - MARGIN.top - MARGIN.bottom);
  const place = ([xValue, yValue]) => `${across(xValue).toFixed(1)},${up(yValue).toFixed(1)}`;
  const text = (xPixel, yPixel, content, anchor) => parts.push(svg("text", { x: xPixel, y: yPixel, "text-anchor": anchor }, content));
  const titled = (tag, attributes, hint) => parts.push(svg(tag, attributes, hint && svg("title", {}, hint)));

  function rectangle([x1, x2], [y1, y2], style, hint) {
    const [from, to] = [across(x1), across(x2)].sort((a, b) => a - b);
    const [top, bottom] = [up(y1), up(y2)].sort((a, b) => a - b);
    titled("rect", { class: style, x: from.toFixed(1), y: top.toFixed(1), width: Math.max(to - from, 0.5).toFixed(1), height: Math.max(bottom - top, 0.5).toFixed(1) }, hint);
  }

  return {
    xAxis(label, format = tickLabel) {
      for (const value of linearTicks(...xRange, TICKS)) text(across(value), height - MARGIN.bottom + 15, format(value), "middle");
      text((left + width - MARGIN.right) / 2, height - 6, label, "middle");
    },
    xGrid() {
      for (const value of linearTicks(...xRange, TICKS)) parts.push(svg("line", { class: "grid", x1: across(value), x2: across(value), y1: MARGIN.top, y2: height - MARGIN.bottom }));
    },
    yAxis(format = tickLabel) {
      for (const value of linearTicks(...yRange, TICKS)) {
        parts.push(svg("line", { class: "grid", x1: left, x2: width - MARGIN.right, y1: up(value), y2: up(value) }));
        text(left - 6, up(value) + 4, format(value), "end");
      }
    },
    line(points, style) {
      parts.push(svg("polyline", { class: `line ${style}`, points: points.map(place).join(" ") }));
    },
    /** points: [x, low, high] each. */
    area(points, style) {
      const around = [...points.map(([at, , high]) => [at, high]), ...points.toReversed().map(([at, low]) => [at, low])];
      parts.push(svg("polygon", { class: `area ${style}`, points: around.map(place).join(" ") }));
    },
    dot([xValue, yValue], style, hint) {
      titled("circle", { class: `point ${style}`, cx: across(xValue).toFixed(1), cy: up(yValue).toFixed(1), r: 3.5 }, hint);
    },
    bar(xEnds, yEnds, style, hint) {
      rectangle(xEnds, yEnds, `bar ${style}`, hint);
    },
    /** A cell, darker for a larger share (0 to 1) of the largest one. */
    cell(xEnds, yEnds, share, hint) {
      rectangle(xEnds, yEnds, "bar c1", hint);
      parts.at(-1).setAttribute("fill-opacity", share.toFixed(3));
    },
    leftLabel(yValue, content) {
      text(left - 8, up(yValue) + 4, cut(content, left - 8), "end");
    },
    /** The finished picture; `label` is for screen readers. */
    element(label) {
      return svg("svg", { class: "static-chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, parts);
    },
  };
}

/** A plot with its title. */
export function figure(title, drawn, label = title) {
  return h("figure", {}, h("figcaption", {}, title), drawn.element(label));
}

/** The colours c0, c1, …; nothing for one name. */
export function legend(names) {
  if (names.length < 2) return null;
  return h("ul", { class: "legend" }, names.map((name, index) => h("li", { class: "inline" },
    svg("svg", { width: 24, height: 10, "aria-hidden": "true" }, svg("line", { class: `line c${index}`, x1: 0, x2: 24, y1: 5, y2: 5 })), ` ${name}`)));
}

/** The smallest and the largest number; [0, 1] of none. */
export function extent(values) {
  const finite = values.filter(Number.isFinite);
  return finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
}

function widened([low, high]) {
  const largest = Math.max(Math.abs(low), Math.abs(high));
  return high - low > 1e-9 * largest ? [low, high] : [low - 0.01 * largest - 0.5, high + 0.01 * largest + 0.5];
}

function cut(text, pixels) {
  const most = Math.max(3, Math.floor(pixels / CHARACTER_WIDTH));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
