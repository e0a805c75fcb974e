// Menu of files to download.

import { download } from "../lib/api.js";
import { button, h } from "../lib/dom.js";

/** files: [{text, path, accept}, ...]; making a file may take seconds, and of an ensemble minutes. */
export function exportMenu(files, signal) {
  const menu = h("select", { "aria-label": "File to export" }, files.map(({ text }, place) => h("option", { value: place }, text)));
  const status = h("span", { role: "status" });
  let running = null;
  const cancel = h("button", { type: "button", hidden: true, onclick: () => running.abort() }, "Cancel export");
  const start = button("Export", async () => {
    const { text, path, accept } = files[Number(menu.value)];
    running = new AbortController();
    status.textContent = `Making ${text}…`;
    cancel.hidden = false;
    try {
      await download(path, accept ?? "*/*", AbortSignal.any([signal, running.signal]));
    } finally {
      if (document.activeElement === cancel) start.focus();
      cancel.hidden = true;
      status.textContent = "";
    }
  });
  return h("div", { class: "export" }, menu, start, cancel, status);
}
