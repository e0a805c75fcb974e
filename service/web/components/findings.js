// Findings of a report: what a reader should know first, in words.

import { h } from "../lib/dom.js";

const MARKS = { good: ["✔", "Good"], note: ["●", "Note"], warning: ["▲", "Warning"] };

export function findingList(findings) {
  return h("ul", { class: "findings", "aria-label": "Findings" }, findings.map(({ level, text }) => {
    const [mark, name] = MARKS[level];
    return h("li", { class: level }, h("span", { class: "mark", role: "img", "aria-label": name }, mark), ` ${text}`);
  }));
}
