// The fields of a job spec. The spec is the truth: each field shows and changes one dotted name of it.

import { h, select } from "../lib/dom.js";

const ACTIVATIONS = ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"];
const MONITORS = ["val_loss", "val_accuracy", "val_f1_macro", "val_roc_auc", "val_log_loss", "val_mae", "val_rmse", "val_r2", "train_loss"];
const widths = { read: (text) => text.split(",").filter((part) => part.trim()).map((part) => number(part)), write: (value) => value.join(", ") };
const pairs = {
  read: (text) => Object.fromEntries(text.split(",").filter((part) => part.trim()).map((part) => part.split("=").map((side) => side.trim()))),
  write: (value) => Object.entries(value).map(([key, each]) => `${key}=${each}`).join(", "),
};

// Dotted name, label, kind, default, hint; `when` says for which specs it is shown.
const FIELDS = [
  { name: "name", label: "Name", kind: "text", hint: "for people" },
  { name: "labels", label: "Labels", kind: pairs, default: {}, hint: "key=value, with commas between" },
  { name: "architecture.kind", label: "Network", kind: ["mlp", "cnn"], default: "mlp" },
  { name: "architecture.shape", label: "Shape of a row", kind: widths, when: (spec) => spec.architecture?.kind === "cnn", default: [], hint: "channels, height, width" },
  { name: "architecture.channels", label: "Channels", kind: widths, when: (spec) => spec.architecture?.kind === "cnn", default: [16, 32], hint: "of each convolution" },
  { name: "architecture.hidden", label: "Hidden layers", kind: widths, when: (spec) => spec.architecture?.kind !== "layers", default: (spec) => (spec.architecture?.kind === "cnn" ? [64] : [64, 32]), hint: "widths, with commas between" },
  { name: "architecture.batch_norm", label: "Batch normalization", kind: "check", when: (spec) => spec.architecture?.kind !== "layers", default: true },
  { name: "architecture.activation", label: "Activation", kind: ACTIVATIONS, when: (spec) => spec.architecture?.kind !== "layers", default: "relu" },
  { name: "architecture.dropout", label: "Dropout", kind: "number", when: (spec) => spec.architecture?.kind !== "layers", default: 0 },
  { name: "optimizer.kind", label: "Optimizer", kind: ["adam", "adamw", "sgd"], default: "adam" },
  { name: "optimizer.lr", label: "Learning rate", kind: "number", default: 0.003 },
  { name: "batch_size", label: "Batch size", kind: "number", default: 64, hint: "rows, or full" },
  { name: "max_epochs", label: "Epochs at most", kind: "number", default: 100 },
  { name: "early_stopping", label: "Early stopping", kind: "rule", default: {} },
  { name: "early_stopping.patience", label: "Patience", kind: "number", when: patient, default: 10, hint: "epochs without a better one" },
  { name: "early_stopping.monitor", label: "What decides", kind: MONITORS, when: (spec) => spec.early_stopping !== null, default: "val_loss" },
  { name: "early_stopping.min_delta", label: "Better by more than", kind: "number", when: patient, default: 0 },
  { name: "split.validation", label: "Share that validates", kind: "number", when: shares, default: 0.2 },
  { name: "split.test", label: "Share that tests", kind: "number", when: shares, default: 0 },
  { name: "seed", label: "Seed", kind: "number", default: 0 },
  { name: "device", label: "Device", kind: ["auto", "cpu", "cuda"], default: "auto" },
  { name: "priority", label: "Priority", kind: "number", default: 0 },
];

function patient(spec) {
  return spec.early_stopping !== null && (spec.early_stopping?.rule ?? "patience") === "patience";
}

function shares(spec) {
  return !spec.split?.column && !spec.split?.folds;
}

/** A spec on another data set: what only fitted the one before goes. Images begin with a convolutional network. */
export function begin(spec, set) {
  const shaped = set?.read_as.shape?.length >= 2;
  const before = spec.architecture?.kind;
  if (shaped) spec.architecture = { kind: "cnn", shape: set.read_as.shape };
  else if (before === "cnn" || spec.architecture?.shape) delete spec.architecture;
  spec.data = set ? { kind: "dataset", id: set.id, target: targetOf(set) } : { kind: "synthetic" };
  delete spec.task;
  delete spec.split?.stratify;
  return spec;
}

/** The column that is named like one; else the first text with few values; else the last one. */
function targetOf(set) {
  const names = set.columns.map((column) => column.name);
  const text = set.columns.find((column) => column.type === "text" && column.distinct <= 50);
  return names.find((name) => /^(target|label|class|y)$/i.test(name)) ?? text?.name ?? names.at(-1);
}

/** sets: data sets to choose from, without their columns, which `whole(id)` brings; `set`: the one that the spec names.
 *
 * `changed` is called after each change of the spec.
 */
export function specForm(spec, sets, set, whole, changed) {
  const element = h("div", { class: "fields" });
  let notes = new Map(); // dotted name -> where its fault is said

  function put(name, value) {
    const parts = name.split(".");
    const last = parts.pop();
    let place = spec;
    for (const part of parts) place = place[part] ??= {};
    if (value === undefined) delete place[last];
    else place[last] = value;
    changed();
  }

  function read(name) {
    return name.split(".").reduce((place, part) => place?.[part], spec);
  }

  function draw() {
    notes = new Map();
    const focused = document.activeElement?.name;
    element.replaceChildren(...dataFields(), ...FIELDS.filter((each) => !each.when || each.when(spec)).map(one));
    if (focused) element.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
  }

  function redraw() {
    draw();
    changed();
  }

  function dataFields() {
    const options = [...sets.map(({ id, name, rows }) => [id, `${name ?? id} (${rows} rows)`]), ["", "made-up rows"]];
    const choose = async (event) => {
      set = event.target.value ? await whole(event.target.value) : null;
      begin(spec, set);
      redraw();
    };
    const fields = [wrap("data", "Data", select(options, { name: "data", value: spec.data?.id ?? "", onchange: choose }))];
    if (!set || spec.data?.id !== set.id) return fields;
    const names = set.columns.map((column) => column.name);
    fields.push(wrap("data.target", "Column to predict", select(names, { name: "data.target", value: spec.data.target, onchange: (event) => {
      spec.data.target = event.target.value;
      delete spec.data.features;
      delete spec.task;
      delete spec.split?.stratify;
      redraw();
    } })));
    if (names.length <= 200) fields.push(featuresOf(spec, names, redraw));
    return fields;
  }

  function one(each) {
    const value = read(each.name) ?? (read(each.name) === null ? null : typeof each.default === "function" ? each.default(spec) : each.default);
    return wrap(each.name, each.label, inputOf(each, value), each.hint);
  }

  function inputOf(each, value) {
    const named = { name: each.name };
    if (each.kind === "check") return h("input", { ...named, type: "checkbox", checked: value, onchange: (event) => put(each.name, event.target.checked) });
    if (each.kind === "rule") {
      return h("input", { ...named, type: "checkbox", checked: value !== null, onchange: (event) => { put(each.name, event.target.checked ? {} : null); draw(); } });
    }
    if (Array.isArray(each.kind)) {
      const options = each.kind.includes(value) ? each.kind : [...each.kind, value];
      return select(options, { ...named, value, onchange: (event) => {
        if (each.name === "architecture.kind") spec.architecture = {};
        put(each.name, event.target.value);
        draw();
      } });
    }
    const kind = each.kind.read ? each.kind : { read: each.kind === "number" ? number : (text) => text || undefined, write: (given) => given ?? "" };
    return h("input", { ...named, value: kind.write(value ?? (each.kind.read ? [] : "")), inputmode: each.kind === "number" ? "decimal" : null, autocomplete: "off",
      oninput: (event) => put(each.name, kind.read(event.target.value.trim())) });
  }

  function wrap(name, label, input, hint) {
    const note = h("small", { class: "wrong" });
    notes.set(name, { note, input });
    return h("label", { class: input.type === "checkbox" ? "field check" : "field" }, h("span", {}, label), input, hint && h("small", {}, hint), note);
  }

  /** Say each fault beside its field; those without one are given back. */
  function complain(errors) {
    for (const { note, input } of notes.values()) {
      note.textContent = "";
      input.removeAttribute("aria-invalid");
    }
    return errors.filter(({ pointer, message }) => {
      const parts = (pointer ?? "").split("/").slice(1);
      for (; parts.length; parts.pop()) {
        const found = notes.get(parts.join("."));
        if (!found) continue;
        found.note.textContent = message;
        found.input.setAttribute("aria-invalid", "true");
        return false;
      }
      return true;
    });
  }

  draw();
  return {
    element, complain, spec: () => spec,
    replace(next) { spec = next; redraw(); },
  };
}

/** An empty field is left to its default; what is no number goes as it is, for the service to say so. */
function number(text) {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  return Number.isNaN(Number(trimmed)) ? trimmed : Number(trimmed);
}

/** All other columns are learnt from, but for those that are ticked off. */
function featuresOf(spec, names, redraw) {
  const others = names.filter((name) => name !== spec.data.target);
  const chosen = new Set(spec.data.features ?? others);
  const box = (name) => h("label", {}, h("input", { type: "checkbox", name: `feature ${name}`, checked: chosen.has(name), onchange: (event) => {
    if (event.target.checked) chosen.add(name);
    else chosen.delete(name);
    spec.data.features = chosen.size === others.length ? null : others.filter((each) => chosen.has(each));
    redraw();
  } }), ` ${name}`);
  const all = !spec.data.features;
  return h("details", { class: "field", open: !all || document.activeElement?.name?.startsWith("feature ") }, h("summary", {}, `Learnt from: ${all ? "all other columns" : `${chosen.size} of ${others.length} columns`}`), h("div", { class: "ticks" }, others.map(box)));
}
