// Two versions of a model side by side: metrics, and what differs in members, data sets and settings.

import { fixedTable, h } from "../lib/dom.js";
import { flatten, number, shortId, specValue } from "../lib/format.js";

const NOT_COMPARABLE = "different rows";
const PARTS = { test: "Test", validation: "Validation" };

/** from, to: versions with their members. */
export function versionDiff(from, to) {
  const columns = (cellOf) => [from, to].map((version) => ({ title: `Version ${version.version}`, number: cellOf === metricCell, cell: (row) => cellOf(row, version) }));
  return h("div", {},
    fixedTable("Metrics of both versions", [
      { title: "Metric", cell: ({ part, name }) => `${PARTS[part]} ${name}` }, ...columns(metricCell),
      { title: "Change", number: true, cell: (row) => changeText(row, from, to) },
    ], metricRows(from, to), "Neither version has metrics of its own."),
    differentParts(from, to).length > 0 && h("p", { class: "warning" }, "The metrics were measured on different rows, so that their difference does not tell which version is better. Evaluate both on the same rows."),
    fixedTable("Differences", [{ title: "Setting", cell: (row) => h("code", {}, row.name) }, ...columns((row, version) => (version === from ? row.from : row.to))],
      differences(from, to), "Members and settings are the same."));
}

function metricRows(...versions) {
  return Object.keys(PARTS).flatMap((part) => {
    const names = new Set(versions.flatMap(({ metrics }) => Object.keys(metrics[part]?.values ?? {})));
    return [...names].map((name) => ({ part, name }));
  });
}

function metricOf({ part, name }, { metrics }) {
  return metrics[part]?.values[name] ?? null;
}

function metricCell(row, version) {
  const value = metricOf(row, version);
  return value === null ? "–" : h("span", {}, number(value), h("small", {}, ` (${number(version.metrics[row.part].rows)} rows)`));
}

function changeText(row, from, to) {
  const [before, after] = [metricOf(row, from), metricOf(row, to)];
  if (before === null || after === null) return "–";
  if (differentParts(from, to).includes(row.part)) return NOT_COMPARABLE;
  const change = after - before;
  return `${change > 0 ? "+" : ""}${number(change, 3)}`;
}

/** The parts that both versions have metrics of, but of other rows: of another data set, target or split. */
function differentParts(from, to) {
  const rowsOf = ({ target, members, metrics }, part) => JSON.stringify([metrics[part].rows, target,
    distinct(members.map(({ dataset, spec }) => (dataset ? dataset.sha256 : JSON.stringify(spec.data))).sort()),
    distinct(members.map(({ spec }) => JSON.stringify({ ...spec.split, train_fraction: null, train_seed: null })).sort())]);
  return Object.keys(PARTS).filter((part) => from.metrics[part] && to.metrics[part] && rowsOf(from, part) !== rowsOf(to, part));
}

/** Settings whose values differ; those of several members are listed, each value once. */
function differences(from, to) {
  const [first, second] = [settingsOf(from), settingsOf(to)];
  const names = [...new Set([...Object.keys(first), ...Object.keys(second)])];
  return names.map((name) => ({ name, from: first[name] ?? "–", to: second[name] ?? "–" })).filter((row) => row.from !== row.to);
}

function settingsOf(version) {
  const settings = {
    "members": version.members.map(({ job, weight }) => `${shortId(job)} × ${number(weight, 3)}`).join(", "),
    "data sets": distinct(version.members.map(({ dataset }) => dataset && `${dataset.name ?? dataset.id} (SHA-256 ${dataset.sha256.slice(0, 12)}…)`)),
    "target": version.target,
    "classes": version.classes === null ? undefined : version.classes.join(", "),
    "features": version.features.join(", "),
    "service version": version.service_version,
  };
  const specs = version.members.map(({ spec }) => flatten(spec));
  for (const name of new Set(specs.flatMap((spec) => Object.keys(spec)))) settings[name] = distinct(specs.map((spec) => spec[name] !== undefined && specValue(spec[name])));
  return settings;
}

function distinct(texts) {
  return [...new Set(texts.filter(Boolean))].join(", ") || undefined;
}
