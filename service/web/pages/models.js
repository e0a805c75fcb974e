// The list of published models.

import { get } from "../lib/api.js";
import { h, relativeTime, table } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { versionLink } from "../components/aliases.js";

export const title = "Models";

const PAGE_SIZE = 50;

export async function show(root, { query, signal }) {
  const list = table(title, [
    { title: "Model", nowrap: true, cell: (model) => h("a", { href: `#/model/${model.name}` }, model.name) },
    { title: "Versions", number: true, cell: (model) => number(model.versions) },
    { title: "Latest", nowrap: true, cell: (model) => (model.latest === null ? "–" : versionLink(model.name, model.latest)) },
    { title: "Aliases", cell: (model) => h("span", {}, model.aliases.map(({ alias, version }) => h("span", { class: "label" }, `${alias} → ${version}`))) },
    { title: "Created", nowrap: true, cell: (model) => relativeTime(model.created_at), text: (model) => model.created_at },
  ], (model) => model.id, ["No models yet. Publish one from the page of a finished ", h("a", { href: "#/jobs" }, "job"), " or ", h("a", { href: "#/sweeps" }, "sweep"), ": then it predicts under a name that stays."]);
  root.append(h("h1", {}, title), list.element);
  const parameters = new URLSearchParams({ limit: PAGE_SIZE, ...(query.get("after") ? { after: query.get("after") } : {}) });
  const page = await get(`/v1/models?${parameters}`, signal);
  list.update(page.data);
  if (page.has_more) root.append(h("p", { class: "pagination" }, h("a", { href: `#/models?after=${page.next}` }, "Older")));
}
