// Which page the address asks for; the key; light and dark.

import { get, Refused, setKey } from "./lib/api.js";
import { button, field, h, renewTimes, say } from "./lib/dom.js";
import * as compare from "./pages/compare.js";
import * as dataset from "./pages/dataset.js";
import * as datasets from "./pages/datasets.js";
import * as job from "./pages/job.js";
import * as jobs from "./pages/jobs.js";
import * as newJob from "./pages/new_job.js";
import * as service from "./pages/service.js";
import * as sweep from "./pages/sweep.js";
import * as sweeps from "./pages/sweeps.js";

const PAGES = { jobs, job, new: newJob, compare, sweeps, sweep, datasets, dataset, service };

let leave = new AbortController();

/** #/job/job_1?x=2 -> the page `job`, shown with {id: "job_1", query}. */
async function show() {
  leave.abort(); // ends what the page before still asks or follows
  leave = new AbortController();
  const { signal } = leave;
  const [path, query] = location.hash.slice(2).split("?");
  const [name, id] = (path || "jobs").split("/");
  const main = document.getElementById("main");
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === `#/${name}` || link.hash === `#/${name}s`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const page = PAGES[name];
  const root = h("div");
  main.replaceChildren(root);
  scrollTo(0, 0);
  try {
    if (!page) throw new Error(`there is no page ${name}`);
    document.title = `${page.title} – bestepoch`;
    await page.show(root, { id, query: new URLSearchParams(query), signal });
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof Refused && error.status === 401) {
      root.append(h("p", {}, "This service asks for a key. ", button("Enter one", askForKey)));
      return;
    }
    root.append(h("p", { class: "wrong", role: "alert" }, error.message));
  }
}

/** A dialog, once, for whoever has no key or a wrong one. */
function askForKey() {
  if (document.querySelector("dialog[open]")) return;
  const input = h("input", { type: "password", autocomplete: "off", required: true, size: 40 });
  const enter = (event) => {
    event.preventDefault();
    setKey(input.value.trim());
    dialog.close();
    ask();
    show();
  };
  const dialog = h("dialog", { "aria-label": "Key", onclose: () => dialog.remove() },
    h("form", { onsubmit: enter },
      h("h2", {}, "This service asks for a key"),
      h("p", {}, "Whoever runs it makes one with ", h("code", {}, "bestepoch keys create"), ". It is kept until this tab is closed."),
      field("Key", input), h("button", { class: "main" }, "Enter")));
  document.body.append(dialog);
  dialog.showModal();
}

function theme() {
  const toggle = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const dark = (localStorage.getItem("bestepoch.theme") ?? (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    toggle.textContent = dark ? "Light" : "Dark";
    toggle.setAttribute("aria-label", `Change to ${dark ? "light" : "dark"} colours`);
  };
  toggle.onclick = () => {
    localStorage.setItem("bestepoch.theme", toggle.textContent.toLowerCase());
    apply();
  };
  system.addEventListener("change", apply);
  apply();
}

/** What the key allows: buttons that need more are left out (style.css). */
async function ask() {
  const usage = await get("/v1/usage").catch(() => null);
  document.body.dataset.scope = usage?.scope ?? "admin";
}

/** Say that what is shown may be old, as long as nobody answers. */
function outages() {
  const bar = h("p", { class: "lost", role: "status", hidden: true });
  document.querySelector("header").after(bar);
  addEventListener("service-lost", (event) => {
    if (!bar.hidden) return;
    bar.textContent = `No answer since ${new Date().toLocaleTimeString()}: ${event.detail}. What you see is from then; it is asked for again and again.`;
    bar.hidden = false;
  });
  addEventListener("service-back", () => { bar.hidden = true; });
}

/** A file dropped anywhere is uploaded. */
function drops() {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (!file) return;
    datasets.take(file);
    location.hash = "#/datasets";
  });
}

let page = "";
addEventListener("hashchange", () => {
  const [before, field] = [page, document.activeElement?.name];
  page = location.hash.split("?")[0];
  const main = document.getElementById("main");
  if (page !== before) main.focus();
  show();
  // Another filter of the same list: whoever set it goes on there.
  if (page === before && field) main.querySelector(`[name="${CSS.escape(field)}"]`)?.focus();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address would be taken for a page
  document.getElementById("main").focus();
});
addEventListener("key-needed", askForKey);
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  else say(event.reason?.message ?? "something went wrong");
});
theme();
drops();
outages();
ask();
show();
page = location.hash.split("?")[0];
setInterval(renewTimes, 10000);
