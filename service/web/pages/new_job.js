// A form that builds a spec, with the plan of what it would train beside it.

import { all, get, Refused, send, unique } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { layers } from "../components/network.js";
import { later } from "../lib/polling.js";
import { begin, specForm } from "../components/spec_form.js";

export const title = "New job";

const PAUSE = 300; // milliseconds without a change, before the plan is asked for

export async function show(root, { query, signal }) {
  const sets = await all("/v1/datasets?columns=false&limit=100", signal, 1000);
  const whole = (id) => get(`/v1/datasets/${id}`, signal);
  const from = query.get("from") ? (await get(`/v1/jobs/${query.get("from")}`, signal)).spec : null;
  const asked = from ? from.data.id : query.get("data") ?? sets[0]?.id;
  const set = asked ? await whole(asked).catch(() => null) : null; // one that a job names may be deleted
  const spec = from ?? begin({}, set);
  if (from) delete spec.name;
  let once = unique(); // for this spec: however often it is sent, one job comes of it
  let broken = ""; // what is wrong with the JSON
  const plan = h("section", { class: "plan", "aria-label": "Plan" });
  const gist = h("p", { class: "hidden", "aria-live": "polite" });
  const json = h("textarea", { rows: 16, spellcheck: "false", "aria-label": "Spec as JSON" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const start = h("button", { class: "main", type: "submit" }, "Train");
  const form = specForm(spec, sets, set, whole, changed);
  root.append(h("h1", {}, "New job"), sets.length ? "" : h("p", {}, "There is no data set yet: drop a table onto this page, or train on made-up rows."),
    h("div", { class: "two" },
      h("form", { onsubmit: submit }, form.element, gist, h("details", {}, h("summary", {}, "The spec as JSON: everything can be set here"), json), wrong, start), plan));

  json.onchange = () => {
    try {
      const written = JSON.parse(json.value);
      if (written === null || typeof written !== "object" || Array.isArray(written)) throw new Error("a spec is an object: { … }");
      broken = "";
      form.replace(written);
    } catch (error) {
      broken = `The spec as JSON: ${error.message}`;
      wrong.textContent = broken;
    }
  };

  const replan = later(PAUSE, async () => {
    const asked = JSON.stringify(form.spec());
    try {
      const answer = await send("POST", "/v1/jobs/plan", form.spec(), signal);
      if (asked !== JSON.stringify(form.spec())) return; // changed meanwhile: another plan is on its way
      form.complain([]);
      wrong.textContent = broken;
      gist.textContent = `${answer.task}, ${answer.parameters} parameters, ${answer.warnings.length} warnings`;
      plan.replaceChildren(h("h2", {}, "What would be trained"), layers(answer),
        ...answer.warnings.map((warning) => h("p", { class: "warning" }, warning.message)));
    } catch (error) {
      if (!signal.aborted) refuse(error);
    }
  });

  function changed() {
    once = unique();
    if (!broken) json.value = JSON.stringify(form.spec(), null, 2);
    replan();
  }

  function refuse(error) {
    const left = form.complain(error instanceof Refused ? error.errors : []);
    const listed = left.map((each) => `${each.pointer ?? each.parameter}: ${each.message}`);
    wrong.textContent = error instanceof Refused && error.errors.length ? listed.join("; ") || "Some settings are wrong; they say why." : error.message;
  }

  async function submit(event) {
    event.preventDefault();
    if (broken) {
      wrong.textContent = broken;
      return;
    }
    start.disabled = true;
    try {
      const job = await send("POST", "/v1/jobs", form.spec(), undefined, once);
      location.hash = `#/job/${job.id}`;
    } catch (error) {
      refuse(error);
    } finally {
      start.disabled = false;
    }
  }

  changed();
}
