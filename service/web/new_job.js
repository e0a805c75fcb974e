// A form that builds a spec, with the plan of what it would train beside it.

import { all, get, Refused, send } from "./api.js";
import { h } from "./dom.js";
import { layers } from "./layers.js";
import { later } from "./live.js";
import { specForm } from "./spec_form.js";

export const title = "New job";

const PAUSE = 300; // milliseconds without a change, before the plan is asked for

export async function show(root, { query, signal }) {
  const sets = await all("/v1/datasets?limit=100", signal, 500);
  const from = query.get("from") ? (await get(`/v1/jobs/${query.get("from")}`, signal)).spec : null;
  const spec = from ?? { data: dataOf(sets.find((set) => set.id === query.get("data")) ?? sets[0]) };
  if (from) delete spec.name;
  if (spec.data.shape) {
    spec.architecture = { kind: "cnn", shape: spec.data.shape };
    delete spec.data.shape;
  }
  const plan = h("section", { class: "plan", "aria-live": "polite", "aria-label": "Plan" });
  const json = h("textarea", { rows: 16, spellcheck: "false", "aria-label": "Spec as JSON" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const start = h("button", { class: "main", type: "submit" }, "Train");
  const form = specForm(spec, sets, changed);
  root.append(h("h1", {}, "New job"), sets.length ? "" : h("p", {}, "There is no data set yet: drop a table onto this page, or train on made-up rows."),
    h("div", { class: "two" },
      h("form", { onsubmit: submit }, form.element, h("details", {}, h("summary", {}, "The spec as JSON: everything can be set here"), json), wrong, start), plan));

  json.onchange = () => {
    try {
      form.replace(JSON.parse(json.value));
    } catch (error) {
      wrong.textContent = error.message;
    }
  };

  const replan = later(PAUSE, async () => {
    const asked = JSON.stringify(form.spec());
    try {
      const answer = await send("POST", "/v1/jobs/plan", form.spec(), signal);
      if (asked !== JSON.stringify(form.spec())) return; // changed meanwhile: another plan is on its way
      form.complain([]);
      wrong.textContent = "";
      plan.replaceChildren(h("h2", {}, "What would be trained"), layers(answer),
        ...answer.warnings.map((warning) => h("p", { class: "warning" }, warning.message)));
    } catch (error) {
      if (!signal.aborted) refuse(error);
    }
  });

  function changed() {
    json.value = JSON.stringify(form.spec(), null, 2);
    replan();
  }

  function refuse(error) {
    const left = form.complain(error instanceof Refused ? error.errors : []);
    const listed = left.map((each) => `${each.pointer ?? each.parameter}: ${each.message}`);
    wrong.textContent = error instanceof Refused && error.errors.length ? listed.join("; ") || "Some settings are wrong; they say why." : error.message;
  }

  async function submit(event) {
    event.preventDefault();
    start.disabled = true;
    try {
      const job = await send("POST", "/v1/jobs", form.spec());
      location.hash = `#/job/${job.id}`;
    } catch (error) {
      refuse(error);
    } finally {
      start.disabled = false;
    }
  }

  changed();
}

/** The last column is most often the target, but for text; of images it is their folder. */
export function dataOf(set) {
  if (!set) return { kind: "synthetic" };
  const names = set.columns.map((column) => column.name);
  const text = set.columns.filter((column) => column.type === "text" && column.distinct <= 50);
  const target = names.find((name) => /^(target|label|class|y)$/i.test(name)) ?? (text[0]?.name ?? names.at(-1));
  const shape = set.read_as.shape ?? undefined;
  return { kind: "dataset", id: set.id, target, ...(shape ? { shape } : {}) };
}
