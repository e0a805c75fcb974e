// Menu of files to download.

import { download } from "../lib/api.js";
import { h, toast } from "../lib/dom.js";

/** files: [{text, path, accept}, ...]; making a file may take seconds. */
export function exportMenu(files) {
  const menu = h("select", { "aria-label": "Export" }, h("option", { value: "" }, "Export…"), files.map(({ text }, place) => h("option", { value: place }, text)));
  menu.onchange = async () => {
    const { path, accept } = files[Number(menu.value)];
    menu.value = "";
    await download(path, accept ?? "*/*").catch((error) => toast(error.message));
  };
  return menu;
}
