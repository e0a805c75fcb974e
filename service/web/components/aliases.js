// The aliases of a model: where they point, moving them, rolling back, and their history.

import { listAll, send } from "../lib/api.js";
import { button, field, h, openDialog, relativeTime, select, table, toast } from "../lib/dom.js";
import { actorName } from "../lib/format.js";

/** `onMoved()` is called after each change. `update(model, versions)` shows what the API returned. */
export function aliasPanel(name, onMoved) {
  const list = table("Aliases", [
    { title: "Alias", nowrap: true, cell: (alias) => h("code", {}, alias.alias) },
    { title: "Version", nowrap: true, cell: (alias) => versionLink(name, alias.version) },
    { title: "Previous", nowrap: true, cell: (alias) => (alias.previous === null ? "–" : versionLink(name, alias.previous)) },
    { title: "Moved", nowrap: true, cell: (alias) => relativeTime(alias.moved_at), text: (alias) => alias.moved_at },
    { title: "By", cell: (alias) => actorName(alias.moved_by) },
    { title: "", cell: (alias) => controls(alias), text: (alias) => JSON.stringify(alias) },
  ], (alias) => alias.alias, "No aliases. Move one to a version below.");
  const alias = h("input", { name: "alias", required: true, maxlength: 63, autocomplete: "off", value: "champion" });
  const version = h("select", { name: "version", required: true });
  const form = h("form", { class: "controls", "data-needs": "submit", onsubmit: (event) => { event.preventDefault(); moveButton.click(); } },
    field("Alias", alias), field("Version", version));
  const moveButton = button("Move alias", async () => { if (form.reportValidity()) await move(alias.value.trim(), Number(version.value)); });
  form.append(moveButton);

  /** `expected`: the version that the alias points to, so that nobody else's move is overwritten. */
  async function move(which, target, expected = null) {
    const moved = await send("PUT", `/v1/models/${name}/aliases/${which}`, { version: target, expected });
    toast(`${which} points to version ${moved.version}`);
    await onMoved();
  }

  function controls(each) {
    const rollBack = async () => {
      if (confirm(`Point ${each.alias} back to version ${each.previous}?`)) await move(each.alias, each.previous, each.version);
    };
    const remove = async () => {
      if (!confirm(`Delete the alias ${each.alias}? Requests by this name will fail.`)) return;
      await send("DELETE", `/v1/models/${name}/aliases/${each.alias}`);
      await onMoved();
    };
    return h("span", { class: "row-actions" },
      each.previous !== null && button("Roll back", rollBack, { "data-needs": "submit" }),
      button("History", () => showHistory(name, each.alias)),
      button("Delete", remove, { "data-needs": "admin" }));
  }

  return {
    element: h("div", {}, list.element, form),
    update(model, versions) {
      list.update(model.aliases);
      const chosen = version.value || String(versions[0]?.version ?? "");
      version.replaceChildren(...versions.map((each) => h("option", { value: each.version, selected: String(each.version) === chosen }, `version ${each.version}`)));
    },
  };
}

async function showHistory(name, alias) {
  const moves = await listAll(`/v1/models/${name}/aliases/${alias}/history?limit=100`);
  const dialog = openDialog(`History of ${alias}`, h("h2", {}, `History of ${alias}`),
    h("ol", { class: "log" }, moves.map((move) => h("li", {}, relativeTime(move.at), ` ${moveText(move)} by ${actorName(move.by)}`))),
    h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close"));
}

function moveText({ from_version: from, to_version: to }) {
  if (from === null) return `created, to version ${to}`;
  return to === null ? `deleted; it pointed to version ${from}` : `moved from version ${from} to version ${to}`;
}

export function versionLink(name, version) {
  return h("a", { href: `#/version/${name}:${version}` }, `version ${version}`);
}
