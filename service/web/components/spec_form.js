// Form of a job spec. The spec object is the source of truth: each field reads and writes one dotted name of it.

import { h, select } from "../lib/dom.js";
import { plural } from "../lib/format.js";

const ACTIVATIONS = ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"];
const MONITORS = ["val_loss", "val_accuracy", "val_balanced_accuracy", "val_f1_macro", "val_roc_auc", "val_log_loss", "val_mae", "val_rmse", "val_r2", "val_poisson_deviance", "train_loss"];
// The API's defaults, by architecture.
const HIDDEN = { mlp: [64, 32], cnn: [64], tabm: [256, 256] };
const WIDTH = { resnet: 192, ft_transformer: 128 };
const DROPOUT = { mlp: 0, cnn: 0, resnet: 0.15, tabm: 0.1 };
const MAX_FEATURE_BOXES = 200;
const MAX_CLASSES = 50; // distinct values of a text column that is suggested as the target
const DEFAULT_TEST_FRACTION = 0.1; // the API's default is none
export const SYNTHETIC = { kind: "synthetic", signal: 2 }; // the API's default signal is 0: random labels

const listOf = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);
const NUMBER_LIST = { parse: (text) => listOf(text).map(parseNumber), format: (value) => value.join(", ") };
const LABELS = {
  parse: (text) => Object.fromEntries(listOf(text).map((part) => part.split("=").map((side) => side.trim()))),
  format: (value) => Object.entries(value).map(([key, each]) => `${key}=${each}`).join(", "),
};

// `name`: dotted name in the spec; `type`: text, number, checkbox, toggle (object or null), list of choices, or
// {parse, format}; `when`: whether the field applies to a spec.
const GROUPS = {
  Job: [
    { name: "name", label: "Name", type: "text", hint: "optional" },
    { name: "labels", label: "Labels", type: LABELS, default: {}, hint: "optional: key=value, comma-separated" },
  ],
  Network: [
    { name: "architecture.kind", label: "Architecture", type: ["mlp", "resnet", "tabm", "ft_transformer", "cnn"], default: "mlp" },
    { name: "architecture.shape", label: "Input shape", type: NUMBER_LIST, when: isOneOf("cnn"), default: [], hint: "channels, height, width" },
    { name: "architecture.channels", label: "Channels", type: NUMBER_LIST, when: isOneOf("cnn"), default: [16, 32], hint: "one per convolution, comma-separated" },
    { name: "architecture.hidden", label: "Hidden layers", type: NUMBER_LIST, when: isOneOf("mlp", "cnn", "tabm"), default: (spec) => HIDDEN[kindOf(spec)], hint: "widths, comma-separated" },
    { name: "architecture.width", label: "Width", type: "number", when: isOneOf("resnet", "ft_transformer"), default: (spec) => WIDTH[kindOf(spec)] },
    { name: "architecture.blocks", label: "Blocks", type: "number", when: isOneOf("resnet", "ft_transformer"), default: 2 },
    { name: "architecture.heads", label: "Heads", type: "number", when: isOneOf("tabm"), default: 16, hint: "networks that share weights" },
    { name: "architecture.batch_norm", label: "Batch normalization", type: "checkbox", when: isOneOf("mlp", "cnn"), default: true },
    { name: "architecture.activation", label: "Activation", type: ACTIVATIONS, when: isOneOf("mlp", "cnn", "resnet", "tabm"), default: "relu" },
    { name: "architecture.dropout", label: "Dropout", type: "number", when: isOneOf("mlp", "cnn", "resnet", "tabm"), default: (spec) => DROPOUT[kindOf(spec)] },
  ],
  Preprocessing: [
    { name: "preprocess.numeric", label: "Numbers", type: ["standardize", "robust", "quantile", "piecewise_linear", "none"], default: "standardize" },
    { name: "preprocess.categorical", label: "Categories", type: ["one_hot", "embedding"], default: "one_hot" },
  ],
  Training: [
    { name: "optimizer.kind", label: "Optimizer", type: ["adam", "adamw", "sgd"], default: "adam" },
    { name: "optimizer.lr", label: "Learning rate", type: "number", default: 0.003 },
    { name: "batch_size", label: "Batch size", type: "number", default: 64, hint: "rows, or “full”" },
    { name: "max_epochs", label: "Max epochs", type: "number", default: 100 },
    { name: "seed", label: "Random seed", type: "number", default: 0 },
  ],
  "Early stopping": [
    { name: "early_stopping", label: "Enabled", type: "toggle", default: {} },
    { name: "early_stopping.patience", label: "Patience", type: "number", when: usesPatience, default: 10, hint: "epochs without improvement" },
    { name: "early_stopping.monitor", label: "Monitored metric", type: MONITORS, when: (spec) => spec.early_stopping !== null, default: "val_loss" },
    { name: "early_stopping.min_delta", label: "Min delta", type: "number", when: usesPatience, default: 0, hint: "smallest change that counts" },
  ],
  "Train/validation/test split": [
    { name: "split.validation", label: "Validation fraction", type: "number", when: usesFractions, default: 0.2 },
    { name: "split.test", label: "Test fraction", type: "number", when: usesFractions, default: 0 },
  ],
  Scheduling: [
    { name: "device", label: "Device", type: ["auto", "cpu", "cuda"], default: "auto" },
    { name: "priority", label: "Priority", type: "number", default: 0, hint: "higher runs first" },
  ],
};

function kindOf(spec) {
  return spec.architecture?.kind ?? "mlp";
}

function isOneOf(...kinds) {
  return (spec) => kinds.includes(kindOf(spec));
}

function usesPatience(spec) {
  return spec.early_stopping !== null && (spec.early_stopping?.rule ?? "patience") === "patience";
}

function usesFractions(spec) {
  return !spec.split?.column && !spec.split?.folds;
}

/** Point a spec at a data set (null: synthetic data) and drop what only applied to the previous one.
 *
 * Images start with a convolutional network, and a new spec holds out a test set.
 */
export function setDataset(spec, set) {
  const isImage = set?.read_as.shape?.length >= 2;
  if (isImage) spec.architecture = { kind: "cnn", shape: set.read_as.shape };
  else if (kindOf(spec) === "cnn" || spec.architecture?.shape) delete spec.architecture;
  spec.data = set ? { kind: "dataset", id: set.id, target: suggestedTarget(set) } : { ...SYNTHETIC };
  delete spec.task;
  delete spec.split?.stratify;
  spec.split ??= { test: DEFAULT_TEST_FRACTION };
  return spec;
}

/** A column with a usual target name; else the first text column with few values; else the last column. */
function suggestedTarget(set) {
  const names = set.columns.map((column) => column.name);
  const text = set.columns.find((column) => column.type === "text" && column.distinct > 1 && column.distinct <= MAX_CLASSES);
  return names.find((name) => /^(target|label|class|y)$/i.test(name)) ?? text?.name ?? names.at(-1);
}

/** `sets`: data sets to choose from, without columns; `set`: the spec's one; `loadDataset(id)`: one with its columns.
 *
 * `onChange` is called after each change of the spec. `afterData`: nodes shown after the fields of the data.
 */
export function specForm(spec, sets, set, loadDataset, onChange, afterData = []) {
  const element = h("div");
  let inputs = new Map(); // dotted name -> {input, note}

  function write(name, value) {
    const parts = name.split(".");
    const last = parts.pop();
    let object = spec;
    for (const part of parts) object = object[part] ??= {};
    if (value === undefined) delete object[last];
    else object[last] = value;
    onChange();
  }

  function read(name) {
    return name.split(".").reduce((object, part) => object?.[part], spec);
  }

  function render() {
    inputs = new Map();
    const focused = document.activeElement?.name;
    const groups = Object.entries(GROUPS).map(([name, fields]) => [name, fields.filter((each) => !each.when || each.when(spec)).map(specField)]);
    const group = ([name, fields]) => h("fieldset", {}, h("legend", {}, name), h("div", { class: "fields" }, fields));
    element.replaceChildren(group(["Data", dataFields()]), ...afterData, ...groups.filter(([, fields]) => fields.length).map(group));
    if (focused) element.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
  }

  function rerender() {
    render();
    onChange();
  }

  function dataFields() {
    const options = [...sets.map(({ id, name, rows }) => [id, `${name ?? id} (${plural(rows, "row")})`]), ["", "Synthetic data"]];
    const choose = async (event) => {
      set = event.target.value ? await loadDataset(event.target.value) : null;
      setDataset(spec, set);
      rerender();
    };
    const fields = [labelled("data", "Data set", select(options, { name: "data", value: spec.data?.id ?? "", onchange: choose }))];
    if (!set || spec.data?.id !== set.id) return fields;
    const names = set.columns.map((column) => column.name);
    fields.push(labelled("data.target", "Target column", select(names, { name: "data.target", value: spec.data.target, onchange: (event) => {
      spec.data.target = event.target.value;
      delete spec.data.features;
      delete spec.task;
      delete spec.split?.stratify;
      rerender();
    } }), "the column to predict"));
    if (names.length <= MAX_FEATURE_BOXES) fields.push(featureList(spec, names, rerender));
    return fields;
  }

  function specField(each) {
    const value = read(each.name) ?? (read(each.name) === null ? null : typeof each.default === "function" ? each.default(spec) : each.default);
    return labelled(each.name, each.label, inputFor(each, value), each.hint);
  }

  function inputFor({ name, type }, value) {
    if (type === "checkbox") return h("input", { name, type: "checkbox", checked: value, onchange: (event) => write(name, event.target.checked) });
    if (type === "toggle") {
      return h("input", { name, type: "checkbox", checked: value !== null, onchange: (event) => { write(name, event.target.checked ? {} : null); render(); } });
    }
    if (Array.isArray(type)) {
      const options = type.includes(value) ? type : [...type, value];
      return select(options, { name, value, onchange: (event) => {
        if (name === "architecture.kind") spec.architecture = {};
        write(name, event.target.value);
        render();
      } });
    }
    const { parse, format, empty } = type.parse ? { ...type, empty: [] } : { parse: type === "number" ? parseNumber : (text) => text || undefined, format: (given) => given, empty: "" };
    return h("input", { name, value: format(value ?? empty), inputmode: type === "number" ? "decimal" : null, autocomplete: "off",
      oninput: (event) => write(name, parse(event.target.value.trim())) });
  }

  function labelled(name, label, input, hint) {
    const note = h("small", { class: "error" });
    inputs.set(name, { input, note });
    return h("label", { class: input.type === "checkbox" ? "field check" : "field" }, h("span", {}, label), input, hint && h("small", {}, hint), note);
  }

  /** Show each validation error beside its field; returns the errors that have no field. */
  function showErrors(errors) {
    for (const { input, note } of inputs.values()) {
      note.textContent = "";
      input.removeAttribute("aria-invalid");
    }
    return errors.filter(({ pointer, message }) => {
      const parts = (pointer ?? "").split("/").slice(1);
      for (; parts.length; parts.pop()) {
        const found = inputs.get(parts.join("."));
        if (!found) continue;
        found.note.textContent = message;
        found.input.setAttribute("aria-invalid", "true");
        return false;
      }
      return true;
    });
  }

  render();
  return {
    element, showErrors, spec: () => spec, set: () => set,
    replace(next) { spec = next; rerender(); },
  };
}

/** Empty text is undefined, so that the API's default applies; an invalid number stays text, and the API rejects it. */
function parseNumber(text) {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  return Number.isNaN(Number(trimmed)) ? trimmed : Number(trimmed);
}

/** Checkboxes of the feature columns; all columns but the target by default. */
function featureList(spec, names, rerender) {
  const candidates = names.filter((name) => name !== spec.data.target);
  const chosen = new Set(spec.data.features ?? candidates);
  const box = (name) => h("label", { class: "inline" }, h("input", { type: "checkbox", name: `feature ${name}`, checked: chosen.has(name), onchange: (event) => {
    if (event.target.checked) chosen.add(name);
    else chosen.delete(name);
    spec.data.features = chosen.size === candidates.length ? null : candidates.filter((each) => chosen.has(each));
    rerender();
  } }), ` ${name}`);
  const all = !spec.data.features;
  return h("details", { class: "field", open: !all || document.activeElement?.name?.startsWith("feature ") },
    h("summary", {}, `Features: ${all ? "all other columns" : `${chosen.size} of ${plural(candidates.length, "column")}`}`), h("div", { class: "checkboxes" }, candidates.map(box)));
}
