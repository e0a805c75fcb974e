// The list of jobs: live, filtered, with bulk actions.

import { get, listAll, send } from "../lib/api.js";
import { button, field, h, select, table, toast } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { poll } from "../lib/polling.js";
import { gettingStarted } from "../components/getting_started.js";
import { COLUMNS } from "../components/job_columns.js";

export const title = "Jobs";

const PAGE_SIZE = 50;
const POLL_SECONDS = 2;
const STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled", "pruned"];
const ACTIVE = STATES.slice(0, 3);
const FILTERS = ["status", "name", "label", "sweep", "after"];

export async function show(root, { query, signal }) {
  const selected = new Map(); // id -> job
  const list = table("Jobs", [{ title: "", cell: selectBox, text: (job) => job.id }, ...COLUMNS], (job) => job.id, "No matching jobs.");
  const count = h("span", {}, "None selected");
  const pagination = h("p", { class: "pagination" });
  const listView = h("div", {}, filterForm(query), h("div", { class: "controls" }, count,
    button("Compare", () => {
      requireSelection();
      location.hash = `#/compare?ids=${[...selected.keys()].join(",")}`;
    }),
    button("Pause selected", () => bulk("pause", (job) => ["queued", "running"].includes(job.status)), { "data-needs": "submit" }),
    button("Resume selected", () => bulk("resume", (job) => ["paused", "pruned"].includes(job.status) || job.control === "pause"), { "data-needs": "submit" }),
    button("Cancel selected", () => bulk("cancel", (job) => ACTIVE.includes(job.status)), { "data-needs": "submit" }),
    button("Cancel all matching", cancelMatching, { "data-needs": "submit" })), list.element, pagination);
  const emptyView = h("div");
  root.append(h("h1", {}, "Jobs"), listView, emptyView);

  function selectBox(job) {
    const box = h("input", { type: "checkbox", "aria-label": `Select ${job.name ?? job.id}`, onchange: () => {
      if (box.checked) selected.set(job.id, job);
      else selected.delete(job.id);
      count.textContent = selected.size ? `${selected.size} selected` : "None selected";
    } });
    return box;
  }

  async function refresh() {
    const parameters = new URLSearchParams({ ...apiFilters(query), limit: PAGE_SIZE });
    if (query.get("after")) parameters.set("after", query.get("after"));
    const page = await get(`/v1/jobs?${parameters}`, signal);
    for (const job of page.data) if (selected.has(job.id)) selected.set(job.id, job);
    list.update(page.data);
    updatePagination(page);
    const empty = !page.data.length && !FILTERS.some((name) => query.get(name));
    listView.hidden = empty;
    if (empty && !emptyView.children.length) emptyView.append(gettingStarted());
    if (!empty) emptyView.replaceChildren();
  }

  function updatePagination(page) {
    const links = [];
    if (query.get("after")) links.push(h("a", { href: address(query, { after: "" }) }, "Newest"));
    if (page.has_more) links.push(h("a", { href: address(query, { after: page.next }) }, "Older"));
    const key = links.map((link) => link.href).join(" ");
    if (pagination.dataset.key === key) return;
    pagination.dataset.key = key;
    pagination.replaceChildren(...links.flatMap((link) => [link, " "]));
  }

  function requireSelection() {
    if (!selected.size) throw new Error("Select some jobs first");
  }

  async function bulk(action, applies) {
    requireSelection();
    await sendToAll(action, [...selected.values()].filter(applies));
    await refresh();
  }

  async function cancelMatching() {
    const filters = apiFilters(query);
    const jobs = [];
    for (const status of filters.status ? [filters.status] : ACTIVE) {
      if (ACTIVE.includes(status)) jobs.push(...await listAll(`/v1/jobs?${new URLSearchParams({ ...filters, status, limit: 100 })}`, signal));
    }
    if (jobs.length && !confirm(`Cancel ${plural(jobs.length, "job")} (${describe(filters)})? This cannot be undone. Each job keeps its best checkpoint.`)) return;
    await sendToAll("cancel", jobs);
    await refresh();
  }

  await poll(POLL_SECONDS, signal, refresh);
}

/** Send an action to several jobs. Refusals are counted: a job may have finished in the meantime. */
async function sendToAll(action, jobs) {
  let refused = 0;
  for (const job of jobs) {
    await send("POST", `/v1/jobs/${job.id}/${action}`).catch(() => { refused += 1; });
  }
  toast(`Requested ${action} of ${jobs.length - refused} of ${plural(jobs.length, "job")}`);
}

function filterForm(query) {
  const status = select([["", "any"], ...STATES], { name: "status", value: query.get("status") ?? "" });
  const name = h("input", { name: "name", value: query.get("name") ?? "", placeholder: "exact name" });
  const label = h("input", { name: "label", value: query.get("label") ?? "", placeholder: "key=value" });
  const sweep = query.get("sweep");
  const apply = () => { location.hash = address(query, { status: status.value, name: name.value.trim(), label: label.value.trim(), after: "" }); };
  for (const input of [status, name, label]) input.onchange = apply;
  return h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); apply(); } },
    field("Status", status), field("Name", name), field("Label", label),
    sweep && h("p", {}, "Sweep: ", h("a", { href: `#/sweep/${sweep}` }, sweep), " ", h("a", { href: address(query, { sweep: "" }) }, "(clear)")));
}

/** The page's filters as query parameters of GET /v1/jobs. */
function apiFilters(query) {
  const filters = {};
  for (const name of ["status", "name", "sweep"]) if (query.get(name)) filters[name] = query.get(name);
  const [key, ...value] = (query.get("label") ?? "").split("=");
  if (key && !value.length) throw new Error(`Label filter must be key=value, not “${key}”`);
  if (key) filters[`label.${key}`] = value.join("=");
  return filters;
}

function describe(filters) {
  const parts = Object.entries(filters).map(([name, value]) => `${name}: ${value}`);
  return parts.length ? parts.join(", ") : "all queued, running and paused jobs";
}

function address(query, changes) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  return `#/jobs${next.size ? `?${next}` : ""}`;
}
