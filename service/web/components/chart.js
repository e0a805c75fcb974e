// Lines over epochs as SVG: zoom, logarithmic scale, a cursor that the keyboard moves too.

import { h, s } from "../lib/dom.js";
import { number, tick } from "../lib/format.js";

const HEIGHT = 300;
const EDGE = { left: 56, right: 12, top: 18, bottom: 38 };

/** A chart whose `update(data)` may be called as often as one likes; it is drawn once a frame.
 *
 * data: {series: [{name, points: [[x, y], ...], dashed}], marks: [{x, y, text}], bands: [{from, to, text}]};
 * points without a finite y are left out. `label` says what the chart shows; `choices` are fields that stand above it.
 */
export function chart(label, ...choices) {
  let data = { series: [], marks: [], bands: [] };
  let range = null; // the epochs that are looked at; null: all
  let log = false;
  let cursor = null;
  let asked = 0;
  let place = null; // how the last drawing maps values to pixels
  let dragged = null;
  const hidden = new Set();

  const picture = s("svg", { class: "chart", height: HEIGHT, role: "slider", tabindex: 0, "aria-label": label });
  const readout = h("p", { class: "readout" });
  const legend = h("ul", { class: "legend" });
  const logBox = h("input", { type: "checkbox", onchange: () => { log = logBox.checked; draw(); } });
  const controls = h("div", { class: "controls" }, ...choices,
    h("label", {}, logBox, " Logarithmic"),
    h("button", { type: "button", onclick: () => zoom(0.5) }, "Zoom in"),
    h("button", { type: "button", onclick: () => zoom(2) }, "Zoom out"),
    h("button", { type: "button", onclick: () => { range = null; draw(); } }, "All epochs"));
  const element = h("figure", { class: "plot" }, controls, picture, readout, legend);

  function update(next) {
    data = { marks: [], bands: [], ...next };
    draw();
  }

  function draw() {
    if (!asked) asked = requestAnimationFrame(() => { asked = 0; paint(); });
  }

  function shown() {
    return data.series.map((line, index) => ({ ...line, index })).filter((line) => !hidden.has(line.name));
  }

  function paint() {
    const width = Math.max(280, picture.clientWidth || 600);
    const all = extent(data.series.flatMap((line) => ends(line.points)));
    const [from, to] = range ?? all;
    const lines = shown().map((line) => ({ ...line, points: visible(line.points, from, to, log) }));
    const [low, high] = padded(extent(lines.flatMap((line) => line.points.map(([, y]) => y))), log);
    const across = (x) => EDGE.left + ((x - from) / (to - from || 1)) * (width - EDGE.left - EDGE.right);
    const scale = log ? Math.log10 : (y) => y;
    const up = (y) => HEIGHT - EDGE.bottom -
      ((scale(y) - scale(low)) / (scale(high) - scale(low) || 1)) * (HEIGHT - EDGE.top - EDGE.bottom);
    place = { across, up, from, to, width };
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.replaceChildren(
      ...data.bands.map((band) => drawBand(band)),
      ...axis(across, up, from, to, low, high),
      ...lines.map((line) => s("polyline", {
        class: `line c${line.index % 8}${stroke(line)}`,
        points: thin(line.points.map(([x, y]) => [across(x), up(y)]), width).map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "),
      })),
      ...lines.filter((line) => line.points.length === 1).map((line) =>
        s("circle", { class: `dot c${line.index % 8}`, cx: across(line.points[0][0]), cy: up(line.points[0][1]), r: 3 })),
      ...data.marks.filter(({ series, x, y }) => !hidden.has(series) && x >= from && x <= to && Number.isFinite(up(y))).map(({ x, y, text }) => s("g", { class: "mark" },
        s("circle", { cx: across(x), cy: up(y), r: 5 }), s("text", { x: beside(across(x), text), y: up(y) - 9 }, text))),
      ...drawCursor());
    drawLegend();

    function beside(x, text) {
      return Math.min(x, width - EDGE.right - text.length * 7);
    }
  }

  function drawBand({ from, to, text }) {
    const left = Math.max(place.across(from), EDGE.left);
    const right = Math.min(place.across(to), place.width - EDGE.right);
    if (right <= left) return s("g");
    return s("g", { class: "band" },
      s("rect", { x: left, y: EDGE.top, width: right - left, height: HEIGHT - EDGE.top - EDGE.bottom }),
      s("text", { x: left + 4, y: EDGE.top + 14 }, right - left > text.length * 6.5 ? text : ""));
  }

  function axis(across, up, from, to, low, high) {
    const parts = [];
    for (const y of log ? decades(low, high) : steps(low, high, 5)) {
      parts.push(s("line", { class: "grid", x1: EDGE.left, x2: place.width - EDGE.right, y1: up(y), y2: up(y) }),
        s("text", { x: EDGE.left - 6, y: up(y) + 4, "text-anchor": "end" }, tick(y)));
    }
    for (const x of steps(from, to, Math.max(2, Math.floor(place.width / 90))).filter(Number.isInteger)) {
      parts.push(s("text", { x: across(x), y: HEIGHT - EDGE.bottom + 16, "text-anchor": "middle" }, number(x)));
    }
    parts.push(s("text", { x: place.width - EDGE.right, y: HEIGHT - 2, "text-anchor": "end" }, "epoch"));
    return parts;
  }

  function drawCursor() {
    const values = cursor === null ? [] : shown().map((line) => [line.name, line.points.find(([x]) => x === cursor)?.[1]]);
    const text = cursor === null ? "Point at an epoch, or use the arrow keys; drag over epochs to zoom."
      : [`Epoch ${cursor}`, ...values.map(([name, y]) => `${name} ${number(y)}`)].join(" · ");
    if (readout.textContent !== text) readout.textContent = text;
    picture.setAttribute("aria-valuemin", place.from);
    picture.setAttribute("aria-valuemax", place.to);
    picture.setAttribute("aria-valuenow", cursor ?? place.to);
    picture.setAttribute("aria-valuetext", text);
    if (cursor === null) return [];
    const x = place.across(cursor);
    const drag = dragged === null ? [] : [s("rect", { class: "drag", x: Math.min(x, place.across(dragged)), y: EDGE.top,
      width: Math.abs(x - place.across(dragged)), height: HEIGHT - EDGE.top - EDGE.bottom })];
    return [s("line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }), ...drag];
  }

  function drawLegend() {
    const names = data.series.map((line) => line.name).join("\n");
    if (legend.dataset.names === names) return;
    legend.dataset.names = names;
    legend.replaceChildren(...data.series.map((line, index) => {
      const box = h("input", { type: "checkbox", checked: !hidden.has(line.name), onchange: () => {
        if (box.checked) hidden.delete(line.name);
        else hidden.add(line.name);
        draw();
      } });
      const swatch = s("svg", { width: 24, height: 10, "aria-hidden": "true" },
        s("line", { class: `line c${index % 8}${stroke({ ...line, index })}`, x1: 0, x2: 24, y1: 5, y2: 5 }));
      return h("li", {}, h("label", {}, box, swatch, ` ${line.name}`));
    }));
  }

  function zoom(factor) {
    const [first, last] = extent(data.series.flatMap((line) => ends(line.points)));
    const [from, to] = range ?? [first, last];
    const middle = cursor !== null && cursor >= from && cursor <= to ? cursor : (from + to) / 2;
    const half = Math.max(2, ((to - from) * factor) / 2);
    look(Math.max(first, middle - half), Math.min(last, middle + half), first, last);
  }

  function look(from, to, first, last) {
    range = from <= first && to >= last ? null : [Math.round(from), Math.round(to)];
    draw();
  }

  function at(event) {
    const x = event.clientX - picture.getBoundingClientRect().left;
    const share = (x - EDGE.left) / (place.width - EDGE.left - EDGE.right);
    return Math.round(place.from + Math.min(1, Math.max(0, share)) * (place.to - place.from));
  }

  picture.addEventListener("pointermove", (event) => { if (place) { cursor = at(event); draw(); } });
  picture.addEventListener("pointerleave", () => { cursor = dragged = null; draw(); });
  picture.addEventListener("pointerdown", (event) => { dragged = at(event); });
  picture.addEventListener("pointerup", (event) => {
    const [from, to] = [dragged, at(event)].sort((a, b) => a - b);
    dragged = null;
    if (from !== null && to - from >= 2) range = [from, to];
    draw();
  });
  picture.addEventListener("keydown", (event) => {
    if (!place || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      const moved = (cursor ?? (moves[event.key] > 0 ? place.from - 1 : place.to + 1)) + moves[event.key];
      cursor = Math.round(Math.min(place.to, Math.max(place.from, moved)));
      draw();
    } else if (event.key === "+") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") { range = null; draw(); }
    else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(picture);
  return { element, update };
}

/** Colours come again from the ninth line on, with other dashes. */
function stroke({ dashed, index }) {
  return dashed ? " dashed" : index >= 8 ? " dotted" : "";
}

function ends(points) {
  return points.length ? [points[0][0], points[points.length - 1][0]] : [];
}

/** Least and greatest; a made-up pair of nothing. */
function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

function padded([low, high], log) {
  if (log) return low > 0 ? [low * 0.95, high * 1.05] : [0.1, 1];
  const more = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return [low - more, high + more];
}

/** The finite points within the epochs. */
function visible(points, from, to, log) {
  const fine = points.filter(([, y]) => Number.isFinite(y) && (!log || y > 0));
  return fine.filter(([x]) => x >= from && x <= to);
}

/** No more than lowest and highest of each pixel's width, where there are many points. */
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

/** Round numbers between two, about so many. */
function steps(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw) * power;
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) found.push(Number((at * step).toPrecision(12)));
  return found;
}

/** Powers of ten between two, with 2 and 5 of each where they are few. */
function decades(low, high) {
  const factors = high / low > 1000 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (const factor of factors) found.push(Number((factor * 10 ** power).toPrecision(12)));
  }
  return found.filter((y) => y >= low && y <= high);
}
