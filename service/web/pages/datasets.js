// The list of data sets, and uploads.

import { get } from "../lib/api.js";
import { h, relativeTime, table, toast } from "../lib/dom.js";
import { bytes, number, plural } from "../lib/format.js";
import { uploadDataset } from "../lib/uploads.js";

export const title = "Data sets";

const PAGE_SIZE = 50;
const uploadQueue = []; // files dropped on other pages

/** Upload files as soon as this page is shown. */
export function queueUpload(files) {
  uploadQueue.push(...files);
  dispatchEvent(new Event("upload-queued"));
}

export async function show(root, { query, signal }) {
  const list = table("Data sets", [
    { title: "Data set", nowrap: true, cell: (set) => h("span", {}, h("a", { href: `#/dataset/${set.id}` }, set.name ?? set.id), set.version > 1 ? ` version ${set.version}` : "") },
    { title: "Rows", number: true, cell: (set) => number(set.rows) },
    { title: "Columns", number: true, cell: (set) => number(set.column_count) },
    { title: "Format", cell: (set) => set.read_as.format },
    { title: "Size", number: true, cell: (set) => bytes(set.parquet_bytes) },
    { title: "Uploaded", nowrap: true, cell: (set) => relativeTime(set.created_at), text: (set) => set.created_at },
    { title: "", nowrap: true, cell: (set) => h("a", { href: `#/new?data=${set.id}`, "data-needs": "submit" }, "Train a model") },
  ], (set) => set.id, "No data sets yet. Upload one above, or train on synthetic data under New job.");
  const uploads = h("ul", { class: "uploads", "aria-live": "polite" });
  const input = h("input", { type: "file", multiple: true, onchange: () => [...input.files].forEach(start) });
  const pagination = h("p", { class: "pagination" });
  root.append(h("h1", {}, title), h("label", { class: "dropzone", "data-needs": "submit" },
    h("strong", {}, "Drop files here, or choose them"),
    h("span", {}, "CSV (format detected), JSON Lines, Parquet, NPZ, NPY, or a zip of images with one folder per class; also compressed with gzip or zstd"), input),
  uploads, list.element, pagination);

  async function refresh() {
    const parameters = new URLSearchParams({ columns: false, limit: PAGE_SIZE, ...(query.get("after") ? { after: query.get("after") } : {}) });
    const page = await get(`/v1/datasets?${parameters}`, signal);
    list.update(page.data);
    if (page.has_more && !pagination.children.length) pagination.append(h("a", { href: `#/datasets?after=${page.next}` }, "Older"));
  }

  async function start(file) {
    const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    const item = h("li", {}, `${file.name} `, bar);
    uploads.append(item);
    try {
      const set = await uploadDataset(file, (fraction) => { bar.value = fraction; });
      item.replaceChildren(h("a", { href: `#/dataset/${set.id}` }, file.name), `: ${plural(set.rows, "row")}, ${plural(set.columns.length, "column")}, format ${set.read_as.format}. `,
        h("a", { href: `#/new?data=${set.id}` }, "Train a model"), ...set.warnings.map((warning) => h("p", { class: "warning" }, warning)));
      if (signal.aborted) toast(`Uploaded ${file.name}`);
      else await refresh();
    } catch (error) {
      item.replaceChildren(`${file.name}: `, h("span", { class: "error" }, error.message));
      toast(error.message);
    }
  }

  const startQueued = () => uploadQueue.splice(0).forEach(start);
  addEventListener("upload-queued", startQueued, { signal });
  await refresh();
  startQueued();
}
