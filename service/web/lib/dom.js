// Elements from tags, attributes and children; text is never read as markup.

import { ago } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Attributes: `onclick` and the like are listeners; null, undefined and false are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, in the same way. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button; `act` may be asynchronous, and what it throws is said. */
export function button(text, act, attributes = {}) {
  const element = h("button", { type: "button", ...attributes, onclick: run }, text);
  async function run() {
    if (element.getAttribute("aria-disabled")) return;
    element.setAttribute("aria-disabled", "true"); // not `disabled`, which takes the focus away
    try {
      await act();
    } catch (error) {
      if (error.name !== "AbortError") say(error.message);
    } finally {
      element.removeAttribute("aria-disabled");
    }
  }
  return element;
}

/** A label around a field. */
export function field(text, input, hint = null) {
  return h("label", { class: "field" }, h("span", {}, text), input, hint && h("small", {}, hint));
}

/** A choice; `options`: values, or [value, text]. */
export function select(options, attributes = {}) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return h("select", attributes, pairs.map(([value, text]) =>
    h("option", { value, selected: String(value) === String(attributes.value) }, text)));
}

/** Fill a choice anew where its options are others now. */
export function offer(choice, values, chosen) {
  if (choice.dataset.offered === values.join()) return;
  choice.dataset.offered = values.join();
  choice.replaceChildren(...values.map((value) => h("option", { value, selected: value === chosen }, value)));
}

/** When something happened: how long ago, with the time itself to point at; `renewTimes` keeps it true. */
export function when(time) {
  if (!time) return "–";
  const local = new Date(time);
  return h("time", { datetime: time, title: `${local.toLocaleString()} (${local.toISOString()})` }, ago(time));
}

export function renewTimes() {
  for (const element of document.querySelectorAll("time[datetime]")) element.textContent = ago(element.dateTime);
}

/** A table that `update(rows)` changes in place, so that focus and selections stay where they are.
 *
 * columns: {title, cell: row -> text or element, text: row -> what tells one content from another, number}.
 */
export function table(caption, columns, keyOf, empty) {
  const body = h("tbody");
  const known = new Map();
  const nothing = h("p", { class: "empty", hidden: true }, empty);
  const element = h("div", { class: "table", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) =>
        h("th", { scope: "col", class: column.number && "number" }, column.title)))), body), nothing);

  function update(rows) {
    const keys = new Set(rows.map(keyOf));
    for (const [key, line] of known) {
      if (keys.has(key)) continue;
      line.remove();
      known.delete(key);
    }
    rows.forEach((row, index) => {
      const key = keyOf(row);
      if (!known.has(key)) known.set(key, h("tr", {}, columns.map((c) => h("td", { class: c.number && "number" }))));
      const line = known.get(key);
      if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
      columns.forEach((column, place) => put(line.children[place], column, row));
    });
    nothing.hidden = rows.length > 0;
    element.firstChild.hidden = rows.length === 0;
  }

  function put(cell, column, row) {
    const content = column.cell(row) ?? "";
    const text = column.text ? column.text(row) : content.textContent ?? String(content);
    if (cell.dataset.text === text) return;
    cell.dataset.text = text;
    cell.replaceChildren(content);
  }

  return { element, update };
}

/** Tell what happened, aloud too, for some seconds. */
export function say(text) {
  const place = document.getElementById("said");
  const note = h("p", {}, text);
  place.append(note);
  setTimeout(() => note.remove(), 8000);
}
