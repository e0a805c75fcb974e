// The list of sweeps.

import { get } from "../lib/api.js";
import { h, table, when } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { status } from "../components/job_columns.js";
import { repeat } from "../lib/polling.js";

export const title = "Sweeps";

const SECONDS = 3;

export async function show(root, { query, signal }) {
  const list = table("Sweeps", [
    { title: "Sweep", cell: (sweep) => h("a", { href: `#/sweep/${sweep.id}` }, sweep.name ?? sweep.id) },
    { title: "Status", cell: (sweep) => status(sweep.status) },
    { title: "Jobs", cell: (sweep) => countsOf(sweep) },
    { title: "Best", cell: (sweep) => (sweep.best ? `${sweep.best.monitor} ${number(sweep.best.value)}` : "") },
    { title: "Changes", cell: (sweep) => Object.keys(sweep.grid ?? sweep.points?.[0] ?? {}).join(", ") },
    { title: "Submitted", cell: (sweep) => when(sweep.created_at), text: (sweep) => sweep.created_at },
  ], (sweep) => sweep.id, "No sweep yet: POST /v1/sweeps, `bestepoch sweep grid.toml`, or `bestepoch demo batch-norm`.");
  const older = h("p", { class: "pages" });
  root.append(h("h1", {}, "Sweeps"), list.element, older);
  await repeat(SECONDS, signal, async () => {
    const asked = new URLSearchParams({ limit: 50, ...(query.get("after") ? { after: query.get("after") } : {}) });
    const page = await get(`/v1/sweeps?${asked}`, signal);
    list.update(page.data);
    if (page.has_more && !older.children.length) older.append(h("a", { href: `#/sweeps?after=${page.next}` }, "Older"));
  });
}

export function countsOf(sweep) {
  const parts = Object.entries(sweep.counts).filter(([, count]) => count).map(([state, count]) => `${number(count)} ${state}`);
  return parts.join(", ");
}
