// Line chart over epochs (SVG) with zoom, a logarithmic scale, a crosshair for pointer and keyboard, and a legend.

import { h, svg } from "../lib/dom.js";
import { number, tickLabel } from "../lib/format.js";
import { linearTicks, logTicks } from "../lib/ticks.js";

const HEIGHT = 300;
const MIN_WIDTH = 280;
const MARGIN = { left: 60, right: 12, top: 24, bottom: 38 };
const COLORS = 8; // .c0 to .c7 in style.css
const CHARACTER_WIDTH = 7.5; // pixels, for text that must fit

/** A chart whose `update(data)` may be called at any rate; it renders at most once per animation frame.
 *
 * data: {series: [{name, points: [[x, y], ...], dashed}], markers: [{series, x, y, text}], bands: [{from, to, text}]};
 * points without a finite y are skipped. `label` is the accessible name; `fields` are inputs shown above the chart.
 */
export function chart(label, ...fields) {
  let data = { series: [], markers: [], bands: [] };
  let zoomRange = null; // [first, last] epoch; null: all
  let logScale = false;
  let cursor = null; // epoch under the crosshair
  let frame = 0; // of requestAnimationFrame
  let view = null; // {xScale, yScale, from, to, width} of the last render
  let dragStart = null; // epoch where the pointer went down
  const hidden = new Set(); // names of series

  const plot = svg("svg", { class: "chart", height: HEIGHT, role: "slider", tabindex: 0, "aria-label": label });
  const readout = h("p", { class: "readout" });
  const legend = h("ul", { class: "legend" });
  const logToggle = h("input", { type: "checkbox", onchange: () => { logScale = logToggle.checked; requestRender(); } });
  const controls = h("div", { class: "controls" }, ...fields,
    h("label", { class: "inline" }, logToggle, " Log scale"),
    h("button", { type: "button", onclick: () => zoom(0.5) }, "Zoom in"),
    h("button", { type: "button", onclick: () => zoom(2) }, "Zoom out"),
    h("button", { type: "button", onclick: resetZoom }, "Reset zoom"));
  const element = h("figure", { class: "plot" }, controls, plot, readout, legend);

  function update(next) {
    data = { markers: [], bands: [], ...next };
    requestRender();
  }

  function requestRender() {
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; render(); });
  }

  function visibleSeries() {
    return data.series.map((line, index) => ({ ...line, index })).filter((line) => !hidden.has(line.name));
  }

  function render() {
    const width = Math.max(MIN_WIDTH, plot.clientWidth || 600);
    const [from, to] = zoomRange ?? epochExtent();
    const lines = visibleSeries().map((line) => ({ ...line, points: pointsWithin(line.points, from, to, logScale) }));
    const [low, high] = withPadding(extent(lines.flatMap((line) => line.points.map(([, y]) => y))), logScale);
    const xScale = (x) => MARGIN.left + ((x - from) / (to - from || 1)) * (width - MARGIN.left - MARGIN.right);
    const transform = logScale ? Math.log10 : (y) => y;
    const yScale = (y) => HEIGHT - MARGIN.bottom -
      ((transform(y) - transform(low)) / (transform(high) - transform(low) || 1)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    view = { xScale, yScale, from, to, width };
    plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    plot.replaceChildren(...data.bands.map(renderBand), ...renderAxes(low, high), ...lines.flatMap(renderLine),
      ...data.markers.filter(isVisible).map(renderMarker), ...renderCrosshair());
    renderReadout();
    renderLegend();
  }

  function renderLine({ points, index, dashed }) {
    const { xScale, yScale, width } = view;
    const pixels = thin(points.map(([x, y]) => [xScale(x), yScale(y)]), width);
    const line = svg("polyline", {
      class: `line c${index % COLORS}${strokeClass({ dashed, index })}`,
      points: pixels.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "),
    });
    if (points.length !== 1) return [line];
    return [line, svg("circle", { class: `dot c${index % COLORS}`, cx: pixels[0][0], cy: pixels[0][1], r: 3 })];
  }

  function isVisible({ series, x, y }) {
    return !hidden.has(series) && x >= view.from && x <= view.to && Number.isFinite(view.yScale(y));
  }

  function renderMarker({ x, y, text }) {
    const [left, top] = [view.xScale(x), view.yScale(y)];
    const textLeft = Math.min(left, view.width - MARGIN.right - text.length * CHARACTER_WIDTH);
    return svg("g", { class: "marker" }, svg("circle", { cx: left, cy: top, r: 5 }), svg("text", { x: textLeft, y: top - 9 }, text));
  }

  function renderBand({ from, to, text }) {
    const left = Math.max(view.xScale(from), MARGIN.left);
    const right = Math.min(view.xScale(to), view.width - MARGIN.right);
    if (right <= left) return svg("g");
    const textLeft = Math.min(left + 4, view.width - MARGIN.right - text.length * CHARACTER_WIDTH);
    return svg("g", { class: "band" },
      svg("rect", { x: left, y: MARGIN.top, width: right - left, height: HEIGHT - MARGIN.top - MARGIN.bottom }),
      svg("text", { x: textLeft, y: MARGIN.top - 6 }, text));
  }

  function renderAxes(low, high) {
    const { xScale, yScale, from, to, width } = view;
    const parts = [];
    for (const y of logScale ? logTicks(low, high) : linearTicks(low, high, 5)) {
      parts.push(svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: yScale(y), y2: yScale(y) }),
        svg("text", { x: MARGIN.left - 6, y: yScale(y) + 4, "text-anchor": "end" }, tickLabel(y)));
    }
    for (const x of linearTicks(from, to, Math.max(2, Math.floor(width / 90))).filter(Number.isInteger)) {
      parts.push(svg("text", { x: xScale(x), y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }, number(x)));
    }
    parts.push(svg("text", { x: width - MARGIN.right, y: HEIGHT - 2, "text-anchor": "end" }, "epoch"));
    return parts;
  }

  function renderCrosshair() {
    if (cursor === null) return [];
    const x = view.xScale(cursor);
    const selection = dragStart === null ? [] : [svg("rect", { class: "selection", x: Math.min(x, view.xScale(dragStart)), y: MARGIN.top,
      width: Math.abs(x - view.xScale(dragStart)), height: HEIGHT - MARGIN.top - MARGIN.bottom })];
    return [svg("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }), ...selection];
  }

  function renderReadout() {
    const values = visibleSeries().map((line) => `${line.name} ${number(line.points.find(([x]) => x === cursor)?.[1])}`);
    const text = cursor === null ? "Hover or use the arrow keys to read values; drag to zoom." : [`Epoch ${cursor}`, ...values].join(" · ");
    if (readout.textContent !== text) readout.textContent = text;
    plot.setAttribute("aria-valuemin", view.from);
    plot.setAttribute("aria-valuemax", view.to);
    plot.setAttribute("aria-valuenow", cursor ?? view.to);
    plot.setAttribute("aria-valuetext", text);
  }

  function renderLegend() {
    const names = data.series.map((line) => line.name).join("\n");
    if (legend.dataset.names === names) return;
    legend.dataset.names = names;
    legend.replaceChildren(...data.series.map((line, index) => {
      const toggle = h("input", { type: "checkbox", checked: !hidden.has(line.name), onchange: () => {
        if (toggle.checked) hidden.delete(line.name);
        else hidden.add(line.name);
        requestRender();
      } });
      const swatch = svg("svg", { width: 24, height: 10, "aria-hidden": "true" },
        svg("line", { class: `line c${index % COLORS}${strokeClass({ ...line, index })}`, x1: 0, x2: 24, y1: 5, y2: 5 }));
      return h("li", {}, h("label", { class: "inline" }, toggle, swatch, ` ${line.name}`));
    }));
  }

  function epochExtent() {
    return extent(data.series.flatMap(({ points }) => (points.length ? [points[0][0], points.at(-1)[0]] : [])));
  }

  function zoom(factor) {
    const [first, last] = epochExtent();
    const [from, to] = zoomRange ?? [first, last];
    const center = cursor !== null && cursor >= from && cursor <= to ? cursor : (from + to) / 2;
    const half = Math.max(2, ((to - from) * factor) / 2);
    const next = [Math.max(first, center - half), Math.min(last, center + half)];
    zoomRange = next[0] <= first && next[1] >= last ? null : next.map(Math.round);
    requestRender();
  }

  function resetZoom() {
    zoomRange = null;
    requestRender();
  }

  function epochAt(event) {
    const x = event.clientX - plot.getBoundingClientRect().left;
    const fraction = (x - MARGIN.left) / (view.width - MARGIN.left - MARGIN.right);
    return Math.round(view.from + Math.min(1, Math.max(0, fraction)) * (view.to - view.from));
  }

  function moveCursor(step) {
    const moved = (cursor ?? (step > 0 ? view.from - 1 : view.to + 1)) + step;
    cursor = Math.round(Math.min(view.to, Math.max(view.from, moved)));
    requestRender();
  }

  plot.addEventListener("pointermove", (event) => { if (view) { cursor = epochAt(event); requestRender(); } });
  plot.addEventListener("pointerleave", () => { cursor = dragStart = null; requestRender(); });
  plot.addEventListener("pointerdown", (event) => { dragStart = epochAt(event); });
  plot.addEventListener("pointerup", (event) => {
    const [from, to] = [dragStart, epochAt(event)].sort((a, b) => a - b);
    dragStart = null;
    if (from !== null && to - from >= 2) zoomRange = [from, to];
    requestRender();
  });
  plot.addEventListener("keydown", (event) => {
    if (!view || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    const commands = { "+": () => zoom(0.5), "-": () => zoom(2), 0: resetZoom };
    if (event.key in steps) moveCursor(steps[event.key]);
    else if (event.key in commands) commands[event.key]();
    else return;
    event.preventDefault();
  });
  new ResizeObserver(requestRender).observe(plot);
  return { element, update };
}

/** Colours repeat from the ninth series on, with dots instead of a solid line. */
function strokeClass({ dashed, index }) {
  return dashed ? " dashed" : index >= COLORS ? " dotted" : "";
}

/** [minimum, maximum]; [0, 1] of no values. */
function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

function withPadding([low, high], logScale) {
  if (logScale) return low > 0 ? [low * 0.95, high * 1.05] : [0.1, 1];
  const padding = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return [low - padding, high + padding];
}

/** Points with a finite y (positive on a logarithmic scale) between two epochs. */
function pointsWithin(points, from, to, logScale) {
  return points.filter(([x, y]) => x >= from && x <= to && Number.isFinite(y) && (!logScale || y > 0));
}

/** Downsample to the lowest and highest point of each pixel column. */
function thin(points, width) {
  if (points.length <= 2 * width) return points;
  const columns = new Map();
  for (const point of points) {
    const column = Math.floor(point[0]);
    const [low, high] = columns.get(column) ?? [point, point];
    columns.set(column, [point[1] < low[1] ? point : low, point[1] > high[1] ? point : high]);
  }
  return [...columns.values()].flatMap(([low, high]) => (low[0] <= high[0] ? [low, high] : [high, low]));
}
