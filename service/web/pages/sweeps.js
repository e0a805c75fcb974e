// The list of sweeps.

import { get } from "../lib/api.js";
import { h, relativeTime, table } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { poll } from "../lib/polling.js";
import { jobCounts, statusBadge } from "../components/job_columns.js";

export const title = "Sweeps";

const PAGE_SIZE = 50;
const POLL_SECONDS = 3;

export async function show(root, { query, signal }) {
  const list = table("Sweeps", [
    { title: "Sweep", nowrap: true, cell: (sweep) => h("a", { href: `#/sweep/${sweep.id}` }, sweep.name ?? sweep.id) },
    { title: "Status", cell: (sweep) => statusBadge(sweep.status) },
    { title: "Jobs", nowrap: true, cell: jobCounts },
    { title: "Best", nowrap: true, cell: (sweep) => (sweep.best ? `${sweep.best.monitor} ${number(sweep.best.value)}` : "") },
    { title: "Parameters", cell: (sweep) => (sweep.preset ? `preset ${sweep.preset}` : Object.keys(sweep.grid ?? sweep.space ?? sweep.points?.[0] ?? {}).join(", ")) },
    { title: "Submitted", nowrap: true, cell: (sweep) => relativeTime(sweep.created_at), text: (sweep) => sweep.created_at },
  ], (sweep) => sweep.id, [
    "No sweeps yet. A sweep trains a grid or a list of configurations and ranks them. Start one with ", h("code", {}, "bestepoch sweep grid.toml"), ", with ",
    h("code", {}, "POST /v1/sweeps"), ", or try the example ", h("code", {}, "bestepoch demo batch-norm"), ".",
  ]);
  const pagination = h("p", { class: "pagination" });
  root.append(h("h1", {}, "Sweeps"), list.element, pagination);
  await poll(POLL_SECONDS, signal, async () => {
    const parameters = new URLSearchParams({ limit: PAGE_SIZE, ...(query.get("after") ? { after: query.get("after") } : {}) });
    const page = await get(`/v1/sweeps?${parameters}`, signal);
    list.update(page.data);
    if (page.has_more && !pagination.children.length) pagination.append(h("a", { href: `#/sweeps?after=${page.next}` }, "Older"));
  });
}
