// The table of jobs: live, filtered, and several at once.

import { all, get, send } from "../lib/api.js";
import { button, field, h, say, select, table } from "../lib/dom.js";
import { COLUMNS } from "../components/job_columns.js";
import { repeat } from "../lib/polling.js";

export const title = "Jobs";

const PAGE = 50;
const SECONDS = 2;
const STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];
const LIVE = STATES.slice(0, 3);

export async function show(root, { query, signal }) {
  const chosen = new Map(); // id -> job
  const list = table("Jobs", [{ title: "", cell: tick, text: (job) => job.id }, ...COLUMNS], (job) => job.id,
    "No job fits. Submit one under New job, or drop a table onto this page.");
  const count = h("span", {}, "None chosen");
  const pages = h("p", { class: "pages" });
  root.append(h("h1", {}, "Jobs"), filters(query), h("div", { class: "controls" }, count,
    button("Compare", () => { location.hash = `#/compare?ids=${[...chosen.keys()].join(",")}`; }),
    button("Cancel chosen", () => each("cancel", (job) => LIVE.includes(job.status)), { "data-needs": "submit" }),
    button("Pause chosen", () => each("pause", (job) => ["queued", "running"].includes(job.status)), { "data-needs": "submit" }),
    button("Resume chosen", () => each("resume", (job) => job.status === "paused" || job.control === "pause"), { "data-needs": "submit" }),
    button("Cancel all that fit", cancelAll, { "data-needs": "submit" })), list.element, pages);

  function tick(job) {
    const box = h("input", { type: "checkbox", "aria-label": `Choose ${job.name ?? job.id}`, onchange: () => {
      if (box.checked) chosen.set(job.id, job);
      else chosen.delete(job.id);
      count.textContent = chosen.size ? `${chosen.size} chosen` : "None chosen";
    } });
    return box;
  }

  async function refresh() {
    const asked = new URLSearchParams({ ...asApi(query), limit: PAGE });
    if (query.get("after")) asked.set("after", query.get("after"));
    const page = await get(`/v1/jobs?${asked}`, signal);
    for (const job of page.data) if (chosen.has(job.id)) chosen.set(job.id, job);
    list.update(page.data);
    turn(page);
  }

  function turn(page) {
    const links = [];
    if (query.get("after")) links.push(h("a", { href: address(query, { after: "" }) }, "Newest"));
    if (page.has_more) links.push(h("a", { href: address(query, { after: page.next }) }, "Older"));
    const text = links.map((link) => link.href).join(" ");
    if (pages.dataset.text === text) return;
    pages.dataset.text = text;
    pages.replaceChildren(...links.flatMap((link) => [link, " "]));
  }

  async function each(action, fits) {
    const fitting = [...chosen.values()].filter(fits);
    if (!chosen.size) throw new Error("choose some jobs first");
    await ask(action, fitting);
    await refresh();
  }

  async function cancelAll() {
    const filter = asApi(query);
    const found = [];
    for (const status of filter.status ? [filter.status] : LIVE) {
      if (LIVE.includes(status)) found.push(...await all(`/v1/jobs?${new URLSearchParams({ ...filter, status, limit: 100 })}`, signal));
    }
    if (found.length && !confirm(`Cancel ${found.length} jobs for good: ${described(filter)}? Each keeps its best epoch.`)) return;
    await ask("cancel", found);
    await refresh();
  }

  await repeat(SECONDS, signal, refresh);
}

/** The same for several jobs; those that refuse are counted, for one may have ended meanwhile. */
async function ask(action, jobs) {
  let refused = 0;
  for (const job of jobs) {
    await send("POST", `/v1/jobs/${job.id}/${action}`).catch(() => { refused += 1; });
  }
  say(`${action} asked for ${jobs.length - refused} of ${jobs.length} jobs`);
}

function filters(query) {
  const status = select([["", "any"], ...STATES], { name: "status", value: query.get("status") ?? "" });
  const name = h("input", { name: "name", value: query.get("name") ?? "", placeholder: "exactly" });
  const label = h("input", { name: "label", value: query.get("label") ?? "", placeholder: "key=value" });
  const sweep = query.get("sweep");
  const go = () => { location.hash = address(query, { status: status.value, name: name.value.trim(), label: label.value.trim(), after: "" }); };
  for (const input of [status, name, label]) input.onchange = go;
  return h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); go(); } },
    field("Status", status), field("Name", name), field("Label", label),
    sweep && h("p", {}, "of ", h("a", { href: `#/sweep/${sweep}` }, "this sweep"), " ", h("a", { href: address(query, { sweep: "" }) }, "(show all)")));
}

/** Filters as the API calls them. */
function asApi(query) {
  const asked = {};
  for (const name of ["status", "name", "sweep"]) if (query.get(name)) asked[name] = query.get(name);
  const [key, ...value] = (query.get("label") ?? "").split("=");
  if (key && !value.length) throw new Error(`a label is looked for as key=value, not as ${key}`);
  if (key) asked[`label.${key}`] = value.join("=");
  return asked;
}

function described(filter) {
  const parts = Object.entries(filter).map(([name, value]) => `${name} ${value}`);
  return parts.length ? `those with ${parts.join(", ")}` : "all that have not ended";
}

function address(query, changes) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  return `#/jobs${next.size ? `?${next}` : ""}`;
}
