// Importance of a sweep's parameters: bars of their shares, or in words why there are none.

import { ApiError, get } from "../lib/api.js";
import { button, fixedTable, h, svg } from "../lib/dom.js";
import { percent, plural } from "../lib/format.js";

const [WIDTH, HEIGHT] = [180, 18]; // of a bar, in pixels
const MIN_POINTS = 8; // that the API needs
const SCALES = { linear: "number", log: "logarithm", choice: "choice" };

/** `update(sweep, points)`: estimates when the sweep has ended, because it takes the server seconds; before, on request. */
export function importancePanel(id, signal) {
  const content = h("div", { "aria-live": "polite" });
  const estimate = button("Estimate importance", load);
  let loadedAtEnd = false;

  async function load() {
    content.replaceChildren(h("p", { class: "empty" }, "Estimating…"));
    try {
      content.replaceChildren(bars(await get(`/v1/sweeps/${id}/importance`, signal)));
    } catch (error) {
      if (signal.aborted) throw error;
      content.replaceChildren(h("p", { class: error instanceof ApiError && [409, 501].includes(error.status) ? "" : "error" }, sentence(error.message)));
    }
  }

  return {
    element: h("section", {}, h("h2", {}, "Importance of parameters"), estimate, content),
    update(sweep, points) {
      const valued = points.filter(({ value }) => value !== null).length;
      const ended = sweep.status !== "running";
      estimate.hidden = ended || valued < MIN_POINTS;
      if (valued < MIN_POINTS) content.replaceChildren(h("p", {}, `Needs at least ${MIN_POINTS} configurations with a value; ${valued} so far.`));
      else if (ended && !loadedAtEnd) {
        loadedAtEnd = true;
        load();
      }
    },
  };
}

function bars({ monitor, points, parameters, left_out: leftOut }) {
  return h("div", {},
    h("p", {}, `Share of the variance of ${monitor} that each parameter explains by itself, over ${plural(points, "configuration")} (functional ANOVA).`),
    fixedTable("Importance of parameters", [
      { title: "Parameter", cell: (row) => h("code", {}, row.name) },
      { title: "Importance", cell: (row) => bar(row.importance) },
      { title: "Share", number: true, cell: (row) => percent(row.importance) },
      { title: "Compared as", cell: (row) => SCALES[row.scale] ?? row.scale },
    ], parameters, "No parameter can be compared."),
    leftOut.length > 0 && h("p", {}, `Left out: ${leftOut.map(({ name, reason }) => `${name} (${reason})`).join(", ")}.`));
}

function bar(share) {
  return svg("svg", { class: "bar-cell", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    svg("line", { class: "zero", x1: 1, x2: 1, y1: 0, y2: HEIGHT }),
    svg("rect", { class: "bar c1", x: 1, y: 4, width: Math.max(0.5, share * (WIDTH - 2)).toFixed(1), height: HEIGHT - 8 }));
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
