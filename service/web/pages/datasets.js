// The list of data sets, and uploads.

import { get, upload } from "../lib/api.js";
import { h, say, table, when } from "../lib/dom.js";
import { bytes, number } from "../lib/format.js";

export const title = "Data";

const waiting = []; // files dropped onto other pages

/** Upload a file as soon as this page is shown. */
export function take(file) {
  waiting.push(file);
  dispatchEvent(new Event("file-taken"));
}

export async function show(root, { query, signal }) {
  const list = table("Data sets", [
    { title: "Data set", cell: (set) => h("a", { href: `#/dataset/${set.id}` }, set.name ?? set.id) },
    { title: "Rows", number: true, cell: (set) => number(set.rows) },
    { title: "Columns", number: true, cell: (set) => number(set.column_count) },
    { title: "Read as", cell: (set) => set.read_as.format },
    { title: "Stored", number: true, cell: (set) => bytes(set.parquet_bytes) },
    { title: "Uploaded", cell: (set) => when(set.created_at), text: (set) => set.created_at },
    { title: "", cell: (set) => h("a", { href: `#/new?data=${set.id}`, "data-needs": "submit" }, "Train on it") },
  ], (set) => set.id, "No data set yet.");
  const uploads = h("ul", { class: "uploads", "aria-live": "polite" });
  const input = h("input", { type: "file", multiple: true, onchange: () => [...input.files].forEach(start) });
  const older = h("p", { class: "pages" });
  root.append(h("h1", {}, "Data"), h("label", { class: "drop", "data-needs": "submit" },
    h("strong", {}, "Drop a table here, or choose one"),
    h("span", {}, "CSV however it is written, JSON Lines, Parquet, NPZ, NPY, or a zip of images in a folder a class; gzip and zstd too"), input),
  uploads, list.element, older);

  async function refresh() {
    const asked = new URLSearchParams({ columns: false, limit: 50, ...(query.get("after") ? { after: query.get("after") } : {}) });
    const page = await get(`/v1/datasets?${asked}`, signal);
    list.update(page.data);
    if (page.has_more && !older.children.length) older.append(h("a", { href: `#/datasets?after=${page.next}` }, "Older"));
  }

  async function start(file) {
    const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    const line = h("li", {}, `${file.name} `, bar);
    uploads.append(line);
    try {
      const set = await upload(file, {}, (share) => { bar.value = share; });
      line.replaceChildren(h("a", { href: `#/dataset/${set.id}` }, file.name), `: ${number(set.rows)} rows, ${number(set.columns.length)} columns, read as ${set.read_as.format}. `,
        h("a", { href: `#/new?data=${set.id}` }, "Train on it"), ...set.warnings.map((warning) => h("p", { class: "warning" }, warning)));
      if (signal.aborted) say(`${file.name} is stored`);
      else await refresh();
    } catch (error) {
      line.replaceChildren(`${file.name}: `, h("span", { class: "wrong" }, error.message));
      say(error.message);
    }
  }

  const begin = () => waiting.splice(0).forEach(start);
  addEventListener("file-taken", begin, { signal });
  await refresh();
  begin();
}
