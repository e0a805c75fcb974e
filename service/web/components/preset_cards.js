// Presets of the new-job form: what each would train and about how long, before anything runs, and a button for each.

import { newIdempotencyKey, send } from "../lib/api.js";
import { button, field, h } from "../lib/dom.js";
import { duration, number, plural } from "../lib/format.js";
import { debounce } from "../lib/polling.js";

const PRESETS = [
  ["fast", "Fast", "One network with the best single recipe."],
  ["good", "Good", "One recipe, cross-validated: an ensemble of its networks."],
  ["best", "Best", "Several recipes, cross-validated: an ensemble of the best of them."],
];
const DELAY_MILLISECONDS = 300; // after the last change
const MAX_NAME = 63; // characters of a model's name

/** `update(spec, set)`: plans the presets for the data and the split of the spec; set: its data set, or null. */
export function presetCards(signal) {
  let spec = {};
  let planned = ""; // what the cards show
  let suggested = "";
  const model = h("input", { name: "model", autocomplete: "off", maxlength: MAX_NAME, onkeydown: (event) => { if (event.key === "Enter") event.preventDefault(); } });
  const cards = PRESETS.map(([preset, title, text]) => {
    const plan = h("p", { "aria-live": "polite" });
    const train = button(`Train ${title.toLowerCase()}`, () => submit(preset), { class: preset === "good" ? "primary" : null, "data-needs": "submit" });
    return { preset, plan, train, element: h("div", { class: "card" }, h("h3", {}, title), h("p", {}, text), plan, train) };
  });
  const element = h("fieldset", {}, h("legend", {}, "Presets"),
    h("p", {}, "Tested recipes for tables. They use the data above and the split below; all other settings are theirs."),
    h("div", { class: "fields" }, field("Model", model, "a version is published at the end; empty: none")),
    h("div", { class: "cards" }, cards.map((card) => card.element)));

  function request(preset) {
    const { name, labels, data, task, split } = spec;
    return { name, labels, base: { data, task, split }, preset, model: model.value.trim() || null };
  }

  async function submit(preset) {
    const sweep = await send("POST", "/v1/sweeps", request(preset), signal, newIdempotencyKey());
    location.hash = `#/sweep/${sweep.id}`;
  }

  const planSoon = debounce(DELAY_MILLISECONDS, async () => {
    const key = JSON.stringify(request("").base);
    if (key === planned || signal.aborted) return;
    planned = key;
    for (const { preset, plan, train } of cards) {
      try {
        const found = await send("POST", "/v1/sweeps/plan", { ...request(preset), name: null, model: null }, signal);
        plan.textContent = planText(found);
        plan.className = "";
        train.disabled = false;
      } catch (error) {
        if (signal.aborted) return;
        plan.textContent = error.message;
        plan.className = "error";
        train.disabled = true;
      }
      if (key !== planned) return; // outdated: a newer one is on its way
    }
  });

  return {
    element,
    update(next, set) {
      spec = next;
      const name = modelName(spec, set);
      if (model.value === suggested) model.value = name;
      suggested = name;
      planSoon();
    },
  };
}

/** "8 networks in 1 array, at most 800 epochs, about 10 s on 2 trainers." */
function planText({ jobs, arrays, epochs, seconds, trainers, folds, recipes }) {
  return `${plural(jobs, "network")} in ${plural(arrays, "array")}${folds ? `, ${folds} folds` : ""}, at most ${plural(epochs, "epoch")}: ${seconds < 1 ? "less than a second" : `about ${duration(seconds)}`} on ${plural(trainers, "trainer")} (${recipes}).`;
}

/** "penguins-species" of the data set penguins.csv and the target species. */
function modelName(spec, set) {
  const file = (set?.name ?? spec.data?.kind ?? "").replace(/\.[a-z]+(\.gz)?$/i, "");
  const text = [file, spec.data?.target].filter(Boolean).join("-").toLowerCase();
  return text.replace(/[^a-z0-9]+/g, "-").replace(/^-+/, "").slice(0, MAX_NAME).replace(/-+$/, "");
}
