// One data set: a profile of each column, warnings, and the first rows.

import { download, get, send } from "../lib/api.js";
import { button, h, relativeTime, svg, table, toast } from "../lib/dom.js";
import { bytes, number, plural } from "../lib/format.js";

export const title = "Data set";

const PREVIEW_ROWS = 10;
const PAGE_COLUMNS = 60; // image data sets have thousands
const MAX_BARS = 8; // most frequent values of a column
const BINS = 20;
const [WIDTH, HEIGHT] = [240, 60];

export async function show(root, { id, signal }) {
  const [set, preview] = await Promise.all([get(`/v1/datasets/${id}`, signal), get(`/v1/datasets/${id}/preview?rows=${PREVIEW_ROWS}`, signal)]);
  document.title = `${set.name ?? id} – bestepoch`;
  const cards = h("div", { class: "cards" });
  const more = button("Show more columns", addCards);
  const shownColumns = set.columns.slice(0, PAGE_COLUMNS);
  const rows = table("First rows", shownColumns.map((column) => ({
    title: column.name, number: isNumeric(column), nowrap: column.type === "datetime", cell: cellFormat(column, preview.data),
  })), (row) => preview.data.indexOf(row), "");
  rows.update(preview.data);
  root.append(h("h1", {}, set.name ?? id), actions(set), facts(set), provenance(set),
    ...set.warnings.map((warning) => h("p", { class: "warning" }, warning)),
    h("h2", {}, "Columns"), cards, more,
    h("h2", {}, set.columns.length > PAGE_COLUMNS ? `First rows (first ${PAGE_COLUMNS} columns)` : "First rows"), rows.element);

  function addCards() {
    const start = cards.children.length;
    cards.append(...set.columns.slice(start, start + PAGE_COLUMNS).map((column) => columnCard(column, set.rows)));
    more.hidden = cards.children.length >= set.columns.length;
  }

  addCards();
}

function actions({ id, connection }) {
  return h("div", { class: "controls" },
    h("a", { class: "button primary", href: `#/new?data=${id}`, "data-needs": "submit" }, "Train a model"),
    button("Download CSV", () => download(`/v1/datasets/${id}/download?format=csv`)),
    button("Download Parquet", () => download(`/v1/datasets/${id}/download`)),
    connection ? button("Refresh", () => refresh(id), { "data-needs": "submit", title: `Read again from ${connection}` }) : "",
    button("Delete", async () => {
      if (!confirm("Delete this data set? Finished jobs keep their results.")) return;
      await send("DELETE", `/v1/datasets/${id}`);
      location.hash = "#/datasets";
    }, { "data-needs": "admin" }));
}

/** Read the data set from its connection again, and show the new version. */
async function refresh(id) {
  toast("Reading from the connection…");
  const set = await send("POST", `/v1/datasets/${id}/refresh`);
  if (set.id === id) toast("Unchanged");
  else location.hash = `#/dataset/${set.id}`;
}

/** Where the rows of a data set by reference come from. */
function provenance({ provenance: source, version }) {
  if (!source) return "";
  const files = source.objects;
  return h("section", {}, h("h2", {}, "Provenance"),
    h("dl", { class: "facts" }, [
      ["Connection", source.connection],
      [source.query ? "Query" : "Path", h("code", {}, source.query ?? source.path)],
      ["Version", source.refreshed_from ? h("span", {}, `${version}, refreshed from `, h("a", { href: `#/dataset/${source.refreshed_from}` }, source.refreshed_from)) : String(version)],
      ["Read", relativeTime(source.read_at)],
    ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    files.length ? h("details", {}, h("summary", {}, plural(files.length, "file")),
      h("ul", {}, files.map((file) => h("li", {}, h("code", {}, file.path), ` ${bytes(file.size_bytes)}`, file.etag ? `, ETag ${file.etag}` : "", file.version ? `, version ${file.version}` : "")))) : "");
}

function facts(set) {
  return h("dl", { class: "facts" }, [
    ["Size", `${plural(set.rows, "row")}, ${plural(set.columns.length, "column")}, ${plural(set.duplicate_rows ?? 0, "duplicate row")}`],
    ["Format", `${set.read_as.format}, ${bytes(set.source_bytes)}`],
    [set.connection ? "Stored" : "Uploaded", relativeTime(set.created_at)],
    ["Data set ID", h("code", {}, set.id)],
  ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function columnCard(column, rows) {
  const missing = column.missing ? `${number(column.missing)} missing (${number((100 * column.missing) / rows)}%)` : "none missing";
  const values = column.values ?? column.top;
  const bins = column.histogram ?? (isNumeric(column) && column.values?.length > MAX_BARS ? histogramOf(column) : null);
  return h("section", { class: "card" },
    h("h3", {}, column.name, " ", h("small", {}, column.type)),
    h("p", {}, `${number(column.distinct)} unique, ${missing}`),
    bins ? histogram(column, bins) : values?.length ? frequencyBars(values, rows) : "",
    summary(column));
}

/** Range, and mean and standard deviation where the column has them. */
function summary({ type, min, max, mean, std }) {
  if (type === "boolean" || min === null || min === undefined) return "";
  const range = min === max ? `always ${valueText(min)}` : `${valueText(min)} to ${valueText(max)}`;
  return h("p", {}, mean === null || mean === undefined ? range : `${range}, mean ${number(mean)}, std ${number(std)}`);
}

function isNumeric(column) {
  return ["integer", "number"].includes(column.type);
}

/** The end of a range: a number, or the text of a time. */
function valueText(value) {
  return typeof value === "number" ? number(value) : shortTime(String(value));
}

/** Without a time of day at midnight: "2024-01-31 00:00:00" -> "2024-01-31". */
function shortTime(text) {
  return text.replace(/[T ]00:00:00(\.0+)?(Z|\+00(:?00)?)?$/, "");
}

/** Function from a row to the text of its cell; dates without a time of day where all shown ones are at midnight. */
function cellFormat({ name, type }, rows) {
  const values = rows.map((row) => row[name]).filter((value) => value !== null);
  const format = type === "datetime" && values.every((value) => shortTime(value) !== value) ? shortTime : String;
  return (row) => (row[name] === null ? "–" : format(row[name]));
}

/** Histogram of an integer column that comes as counts of its values. */
function histogramOf({ values, min, max }) {
  const bins = new Array(BINS).fill(0);
  for (const { value, count } of values) bins[Math.min(BINS - 1, Math.floor(((value - min) / (max - min)) * BINS))] += count;
  return bins;
}

function histogram(column, bins) {
  const highest = Math.max(...bins, 1);
  const width = WIDTH / bins.length;
  const label = `Histogram of ${column.name} from ${valueText(column.min)} to ${valueText(column.max)}, ${bins.length} bins, at most ${plural(highest, "row")} per bin`;
  return svg("svg", { class: "histogram", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, bins.map((count, bin) => {
    const height = (count / highest) * HEIGHT;
    return svg("rect", { x: bin * width + 0.5, y: HEIGHT - height, width: width - 1, height }, svg("title", {}, plural(count, "row")));
  }));
}

function frequencyBars(values, rows) {
  const top = [...values].sort((a, b) => b.count - a.count).slice(0, MAX_BARS);
  return h("ul", { class: "bars" }, top.map(({ value, count }) =>
    h("li", {}, h("span", { title: String(value) }, String(value)), h("meter", { min: 0, max: rows, value: count, "aria-label": `${value}: ${count} of ${rows}` }), h("span", {}, number(count)))),
  values.length > MAX_BARS && h("li", { class: "rest" }, `and ${number(values.length - MAX_BARS)} more`));
}
