// DOM helpers: elements from tag, attributes and children (text is never parsed as HTML), form fields, tables, toasts.

import { ago } from "./format.js";

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const TOAST_MILLISECONDS = 8000;

/** Create an HTML element. `on…` attributes are event listeners; null, undefined and false attributes are skipped. */
export function h(tag, attributes = {}, ...children) {
  return populate(document.createElement(tag), attributes, children);
}

/** Create an SVG element; arguments as for `h`. */
export function svg(tag, attributes = {}, ...children) {
  return populate(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
}

function populate(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button. `onClick` may be async; clicks are ignored while it runs, and its error is shown as a toast. */
export function button(text, onClick, attributes = {}) {
  const element = h("button", { type: "button", ...attributes, onclick: run }, text);
  async function run() {
    if (element.getAttribute("aria-disabled")) return;
    element.setAttribute("aria-disabled", "true"); // `disabled` would drop keyboard focus
    try {
      await onClick();
    } catch (error) {
      if (error.name !== "AbortError") toast(error.message);
    } finally {
      element.removeAttribute("aria-disabled");
    }
  }
  return element;
}

/** A label wrapped around an input, with an optional hint. */
export function field(label, input, hint = null) {
  return h("label", { class: "field" }, h("span", {}, label), input, hint && h("small", {}, hint));
}

/** A <select>; `options`: values, or [value, text] pairs. */
export function select(options, attributes = {}) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return h("select", attributes, pairs.map(([value, text]) =>
    h("option", { value, selected: String(value) === String(attributes.value) }, text)));
}

/** Replace the options of a <select>, only if they changed. */
export function setOptions(element, values, selected) {
  if (element.dataset.options === values.join()) return;
  element.dataset.options = values.join();
  element.replaceChildren(...values.map((value) => h("option", { value, selected: value === selected }, value)));
}

/** A <time> such as "5 min ago", with the absolute time as its tooltip; `refreshTimes` keeps it current. */
export function relativeTime(time) {
  if (!time) return "–";
  const local = new Date(time);
  return h("time", { datetime: time, title: `${local.toLocaleString()} (${local.toISOString()})` }, ago(time));
}

/** Update every relative time on the page. */
export function refreshTimes() {
  for (const element of document.querySelectorAll("time[datetime]")) element.textContent = ago(element.dateTime);
}

/** A table whose `update(rows)` changes cells in place, so that focus, selection and scroll position survive.
 *
 * columns: {title, cell: row -> text or element, text: row -> change key of the cell (default: its text),
 * number: right-aligned, nowrap}. `emptyText`: text or nodes.
 */
export function table(caption, columns, keyOf, emptyText) {
  const body = h("tbody");
  const lines = new Map(); // key -> <tr>
  const empty = h("p", { class: "empty", hidden: true }, emptyText);
  const element = h("div", { class: "table", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "visually-hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) =>
        h("th", { scope: "col", class: classOf(column) }, column.title)))), body), empty);

  function update(rows) {
    const keys = new Set(rows.map(keyOf));
    for (const [key, line] of lines) {
      if (keys.has(key)) continue;
      line.remove();
      lines.delete(key);
    }
    rows.forEach((row, index) => {
      const key = keyOf(row);
      if (!lines.has(key)) lines.set(key, h("tr", {}, columns.map((column) => h("td", { class: classOf(column) }))));
      const line = lines.get(key);
      if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
      columns.forEach((column, position) => updateCell(line.children[position], column, row));
    });
    empty.hidden = rows.length > 0;
    element.firstChild.hidden = rows.length === 0;
  }

  function updateCell(cell, column, row) {
    const content = column.cell(row) ?? "";
    const text = column.text ? column.text(row) : content.textContent ?? String(content);
    if (cell.dataset.text === text) return;
    cell.dataset.text = text;
    cell.replaceChildren(content);
  }

  return { element, update };
}

/** A table of rows that do not change; arguments as for `table`. */
export function fixedTable(caption, columns, rows, emptyText = "") {
  const places = new Map(rows.map((row, place) => [row, place]));
  const list = table(caption, columns, (row) => places.get(row), emptyText);
  list.update(rows);
  return list.element;
}

/** A description list of [name, value] pairs; pairs without a value are left out. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** A section that can be folded. */
export function foldable(name, content, open = false) {
  return h("details", { open }, h("summary", {}, h("h2", {}, name)), content);
}

/** Links to the views of one page; `views`: [view, text] pairs, `path`: the page's address. */
export function tabs(path, views, current) {
  return h("nav", { class: "tabs", "aria-label": "Views" }, views.map(([view, text]) =>
    h("a", { href: `#/${path}/${view}`, "aria-current": view === current && "page" }, text)));
}

function classOf({ number, nowrap }) {
  return number ? "number" : nowrap && "nowrap";
}

/** Open a modal dialog; it is removed when it is closed. Escape closes it. */
export function openDialog(label, ...children) {
  const dialog = h("dialog", { "aria-label": label, onclose: () => dialog.remove() }, ...children);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Show a message for some seconds; screen readers announce it. */
export function toast(text) {
  const note = h("p", {}, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), TOAST_MILLISECONDS);
}
