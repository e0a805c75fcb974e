// One data set: what each column holds, and the first rows.

import { get, save, send } from "../lib/api.js";
import { button, h, s, table, when } from "../lib/dom.js";
import { bytes, number } from "../lib/format.js";

export const title = "Data set";

const COLUMNS = 60; // shown at once: images have thousands
const LISTED = 8; // values of a column
const BINS = 20;
const [WIDTH, HEIGHT] = [240, 60];

export async function show(root, { id, signal }) {
  const [set, preview] = await Promise.all([get(`/v1/datasets/${id}`, signal), get(`/v1/datasets/${id}/preview?rows=10`, signal)]);
  document.title = `${set.name ?? id} – bestepoch`;
  const cards = h("div", { class: "cards" });
  const more = button("Show more columns", () => add());
  const rows = table("First rows", set.columns.slice(0, COLUMNS).map((column) => ({
    title: column.name, number: column.type !== "text", cell: (row) => (row[column.name] === null ? "–" : String(row[column.name])),
  })), (row) => preview.data.indexOf(row), "");
  rows.update(preview.data);
  root.append(h("h1", {}, set.name ?? id), h("div", { class: "controls" },
    h("a", { class: "button main", href: `#/new?data=${id}`, "data-needs": "submit" }, "Train on it"),
    button("Download as CSV", () => save(`/v1/datasets/${id}/download?format=csv`)),
    button("Download as Parquet", () => save(`/v1/datasets/${id}/download`)),
    button("Delete", async () => {
      if (!confirm("Delete this data set? Jobs that have ended keep their results.")) return;
      await send("DELETE", `/v1/datasets/${id}`);
      location.hash = "#/datasets";
    }, { "data-needs": "admin" })),
  h("p", {}, `${number(set.rows)} rows, ${number(set.columns.length)} columns, ${set.duplicate_rows ?? 0} rows equal to an earlier one; read as ${set.read_as.format}; ${bytes(set.source_bytes)} uploaded `, when(set.created_at), ". ", h("code", {}, id)),
  ...set.warnings.map((warning) => h("p", { class: "warning" }, warning)),
  h("h2", {}, "Columns"), cards, more, h("h2", {}, set.columns.length > COLUMNS ? `First rows, of the first ${COLUMNS} columns` : "First rows"), rows.element);

  function add() {
    const start = cards.children.length;
    cards.append(...set.columns.slice(start, start + COLUMNS).map((column) => card(column, set.rows)));
    more.hidden = cards.children.length >= set.columns.length;
  }

  add();
}

function card(column, rows) {
  const missing = column.missing ? `${number(column.missing)} missing (${number((100 * column.missing) / rows)}%)` : "none missing";
  const listed = column.values ?? column.top;
  const bins = column.histogram ?? (numeric(column) && column.values?.length > LISTED ? binned(column) : null);
  return h("section", { class: "card" },
    h("h3", {}, column.name, " ", h("small", {}, column.type)),
    h("p", {}, `${number(column.distinct)} different, ${missing}`),
    bins ? histogram(column, bins) : listed?.length ? bars(listed, rows) : "",
    column.mean !== null && column.mean !== undefined ? h("p", {}, `${number(column.min)} to ${number(column.max)}, mean ${number(column.mean)}, deviation ${number(column.std)}`) : "");
}

function numeric(column) {
  return ["integer", "number"].includes(column.type);
}

/** Whole numbers come counted one by one; as bins of equal width between the ends, too, they show their shape. */
function binned({ values, min, max }) {
  const bins = new Array(BINS).fill(0);
  for (const { value, count } of values) bins[Math.min(BINS - 1, Math.floor(((value - min) / (max - min)) * BINS))] += count;
  return bins;
}

function histogram(column, bins) {
  const most = Math.max(...bins, 1);
  const wide = WIDTH / bins.length;
  const label = `Histogram of ${column.name} from ${number(column.min)} to ${number(column.max)}, ${bins.length} bins, ${number(most)} rows in the fullest`;
  return s("svg", { class: "histogram", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, bins.map((count, bin) => {
    const tall = (count / most) * HEIGHT;
    return s("rect", { x: bin * wide + 0.5, y: HEIGHT - tall, width: wide - 1, height: tall }, s("title", {}, `${number(count)} rows`));
  }));
}

function bars(listed, rows) {
  const first = [...listed].sort((a, b) => b.count - a.count).slice(0, LISTED);
  return h("ul", { class: "bars" }, first.map(({ value, count }) =>
    h("li", {}, h("span", {}, String(value)), h("meter", { min: 0, max: rows, value: count, "aria-label": `${value}: ${count} of ${rows}` }), h("span", {}, number(count)))),
  listed.length > LISTED && h("li", {}, `and ${number(listed.length - LISTED)} more`));
}
