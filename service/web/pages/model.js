// One model: how to call it, its aliases, its versions, and two versions side by side.

import { get, listAll, send, serviceUrl } from "../lib/api.js";
import { button, field, h, relativeTime, table } from "../lib/dom.js";
import { actorName, number, plural } from "../lib/format.js";
import { aliasPanel, versionLink } from "../components/aliases.js";
import { versionDiff } from "../components/version_diff.js";

export const title = "Model";

const MAX_VERSIONS = 500;

export async function show(root, { id: name, query, signal }) {
  const model = await get(`/v1/models/${name}`, signal);
  document.title = `${name} – bestepoch`;
  const aliases = aliasPanel(name, refresh);
  const versions = versionTable(name);
  const comparison = comparisonForm(name, query, signal);
  root.append(h("h1", {}, name), h("div", { class: "controls" }, deleteButton(name)),
    h("section", {}, h("h2", {}, "Aliases"), aliases.element),
    h("section", {}, h("h2", {}, "Versions"), versions.element),
    h("section", {}, h("h2", {}, "Compare two versions"), comparison.element),
    h("section", {}, h("h2", {}, "Predict from a program"),
      h("p", {}, "The address stays when the alias ", h("code", {}, "champion"), " moves. ", h("code", {}, `${name}@ALIAS`), " is another alias, ", h("code", {}, `${name}:VERSION`), " one version for good."),
      h("pre", { tabindex: 0 }, h("code", {}, `curl ${serviceUrl()}/v1/models/${name}/predict --json '{"rows": [{…}]}'`))));
  await refresh(model);

  async function refresh(found = null) {
    const current = found ?? await get(`/v1/models/${name}`, signal);
    const all = await listAll(`/v1/models/${name}/versions?limit=100`, signal, MAX_VERSIONS);
    aliases.update(current, all);
    versions.update(all);
    await comparison.update(all);
  }
}

function deleteButton(name) {
  return button("Delete model", async () => {
    if (!confirm(`Delete the model ${name} with all its versions?`)) return;
    await send("DELETE", `/v1/models/${name}`);
    location.hash = "#/models";
  }, { "data-needs": "admin" });
}

function versionTable(name) {
  return table("Versions", [
    { title: "Version", nowrap: true, cell: (version) => versionLink(name, version.version) },
    { title: "Aliases", cell: (version) => h("span", {}, version.aliases.map((alias) => h("span", { class: "label" }, alias))) },
    { title: "Made of", nowrap: true, cell: sourceText },
    { title: "Metrics", cell: (version) => metricsText(version.metrics) },
    { title: "Description", cell: (version) => version.description ?? "" },
    { title: "Published", nowrap: true, cell: (version) => relativeTime(version.created_at), text: (version) => version.created_at },
    { title: "By", cell: (version) => actorName(version.created_by) },
  ], (version) => version.version, "All versions were deleted.");
}

function sourceText({ from, member_count: count }) {
  if (from.job) return "one job";
  if (from.sweep) return `${from.select === "greedy" ? "ensemble" : "best"} of a sweep, ${count === 1 ? "one job" : `${number(count)} jobs`}`;
  return plural(count, "weighted job");
}

/** "test accuracy 0.97, log_loss 0.1", of validation rows where there are no test rows. */
function metricsText({ test, validation }) {
  const part = test ?? validation;
  if (!part) return "–";
  return `${test ? "test" : "validation"} ${Object.entries(part.values).map(([metric, value]) => `${metric} ${number(value)}`).join(", ")}`;
}

/** Two versions to choose; by default the two newest. They are in the address, so that a link to them can be sent. */
function comparisonForm(name, query, signal) {
  const [from, to] = ["from", "to"].map((side) => h("select", { name: side, onchange: go }));
  const result = h("div");
  const element = h("div", {}, h("div", { class: "controls" }, field("From", from), field("To", to)), result);

  function go() {
    location.hash = `#/model/${name}?${new URLSearchParams({ from: from.value, to: to.value })}`;
  }

  async function update(versions) {
    element.parentElement.hidden = versions.length < 2;
    if (versions.length < 2) return;
    const numbers = versions.map((each) => String(each.version));
    const chosen = (side, otherwise) => (numbers.includes(query.get(side)) ? query.get(side) : otherwise);
    const [first, second] = [chosen("from", numbers[1]), chosen("to", numbers[0])];
    for (const [element, value] of [[from, first], [to, second]]) element.replaceChildren(...numbers.map((each) => h("option", { value: each, selected: each === value }, `version ${each}`)));
    const found = await Promise.all([first, second].map((each) => get(`/v1/models/${name}/versions/${each}`, signal)));
    result.replaceChildren(versionDiff(...found));
  }

  return { element, update };
}
