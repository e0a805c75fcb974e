// A chart of many lines (SVG), one of which is highlighted and named: by the pointer, or by arrow keys in order of rank.

import { h, svg } from "../lib/dom.js";

const MIN_WIDTH = 280;
const MAX_DISTANCE = 24; // pixels from the pointer to a line
const HINT = "Hover, or use the arrow keys, to read a line.";

/** A chart whose `update(layout)` may be called at any rate; it draws at most once per animation frame.
 *
 * `layout(width)`: {width, height, lines, below, above}, all in pixels; the last two are SVG elements. A line is {key, points: [[x, y], …], style, mark, name: text, describe: () => nodes}, the best one first; `mark` is drawn at its end.
 * `onPick(key)` is called when a line is highlighted, or none (null). `pick(key)` highlights one.
 */
export function linePicker(label, onPick = () => {}) {
  let layout = null;
  let drawn = { width: 0, lines: [] };
  let picked = null; // key
  let frame = 0;
  const plot = svg("svg", { class: "chart lines", role: "slider", tabindex: 0, "aria-label": label });
  const place = h("div", { class: "scroll" }, plot);
  const readout = h("p", { class: "readout" }, HINT);
  const element = h("figure", { class: "plot" }, place, readout);

  function update(next) {
    layout = next;
    requestDrawing();
  }

  function requestDrawing() {
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  }

  function draw() {
    if (!layout) return;
    drawn = layout(Math.max(MIN_WIDTH, place.clientWidth));
    const line = drawn.lines.find(({ key }) => key === picked);
    plot.setAttribute("viewBox", `0 0 ${drawn.width} ${drawn.height}`);
    plot.setAttribute("width", drawn.width);
    plot.setAttribute("height", drawn.height);
    plot.replaceChildren(...(drawn.below ?? []), ...drawn.lines.toReversed().flatMap((each) => shape(each)), ...(line ? shape(line, " picked") : []), ...(drawn.above ?? []));
    const rank = drawn.lines.indexOf(line) + 1;
    plot.setAttribute("aria-valuemin", Math.min(1, drawn.lines.length));
    plot.setAttribute("aria-valuemax", drawn.lines.length);
    plot.setAttribute("aria-valuenow", rank || Math.min(1, drawn.lines.length));
    plot.setAttribute("aria-valuetext", line ? line.name : HINT);
    const key = line ? line.name : "";
    if (readout.dataset.key !== key) readout.replaceChildren(...(line ? line.describe() : [HINT]));
    readout.dataset.key = key;
  }

  function shape({ points, style, mark }, extra = "") {
    const line = svg("polyline", { class: `trial ${style}${extra}`, points: points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") });
    const [x, y] = points.at(-1);
    return [line, mark && svg("text", { class: `trial-mark ${style}`, x: x + 3, y: y + 4 }, mark)].filter(Boolean);
  }

  function pick(key) {
    if (key === picked) return;
    picked = key;
    requestDrawing();
    onPick(key);
  }

  /** The line nearest to the pointer. */
  function nearest(event) {
    const box = plot.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const distances = drawn.lines.map((line) => [distance(line.points, x, y), line.key]).filter(([far]) => far <= MAX_DISTANCE);
    return distances.sort(([a], [b]) => a - b)[0]?.[1];
  }

  plot.addEventListener("pointermove", (event) => {
    const key = nearest(event);
    if (key !== undefined) pick(key); // else the last one stays, so that its links can be reached
  });
  plot.addEventListener("keydown", (event) => {
    if (!drawn.lines.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = drawn.lines.findIndex(({ key }) => key === picked);
    const last = drawn.lines.length - 1;
    const targets = { ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1, PageDown: index + 10, PageUp: index - 10, Home: 0, End: last };
    if (event.key === "Escape") pick(null);
    else if (event.key in targets) pick(drawn.lines[Math.min(last, Math.max(0, targets[event.key]))].key);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(requestDrawing).observe(place);
  return { element, update, pick };
}

/** Vertical distance from a place to a line; to its ends beside them. */
function distance(points, x, y) {
  const index = points.findIndex(([left], place) => x >= left && x <= (points[place + 1]?.[0] ?? left));
  if (index < 0) return Math.min(...[points[0], points.at(-1)].map(([endX, endY]) => Math.hypot(endX - x, endY - y)));
  const [[x1, y1], [x2, y2]] = [points[index], points[index + 1] ?? points[index]];
  return Math.abs(y - (y1 + (x2 > x1 ? (x - x1) / (x2 - x1) : 0) * (y2 - y1)));
}
