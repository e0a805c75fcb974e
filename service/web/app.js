// Entry point: hash router, API key dialog, colour theme, file drop, outage banner.

import { ApiError, get, setApiKey } from "./lib/api.js";
import { button, field, h, openDialog, refreshTimes, toast } from "./lib/dom.js";
import * as compare from "./pages/compare.js";
import * as dataset from "./pages/dataset.js";
import * as datasets from "./pages/datasets.js";
import * as job from "./pages/job.js";
import * as jobs from "./pages/jobs.js";
import * as model from "./pages/model.js";
import * as models from "./pages/models.js";
import * as modelVersion from "./pages/model_version.js";
import * as newJob from "./pages/new_job.js";
import * as service from "./pages/service.js";
import * as sweep from "./pages/sweep.js";
import * as sweeps from "./pages/sweeps.js";

const PAGES = { jobs, job, new: newJob, compare, sweeps, sweep, models, model, version: modelVersion, datasets, dataset, service };
const TIME_REFRESH_MILLISECONDS = 10000;

let navigation = new AbortController();

/** Render the page of the current hash: #/job/job_1/report?x=2 -> PAGES.job.show(root, {id: "job_1", view: "report", query, signal}). */
async function route() {
  navigation.abort(); // cancels requests, polls and streams of the previous page
  navigation = new AbortController();
  const { signal } = navigation;
  const [path, query] = location.hash.slice(2).split("?");
  const [name, id, view] = (path || "jobs").split("/");
  highlightNavigation(name);
  const page = PAGES[name];
  const root = h("div");
  document.getElementById("main").replaceChildren(root);
  scrollTo(0, 0);
  try {
    if (!page) throw new Error(`There is no page “${name}”. Choose one from the menu above.`);
    document.title = `${page.title} – bestepoch`;
    await page.show(root, { id, view, query: new URLSearchParams(query), signal });
  } catch (error) {
    if (signal.aborted) return;
    if (!root.querySelector("h1")) root.prepend(h("h1", {}, page?.title ?? "Page not found"));
    if (error instanceof ApiError && error.status === 401) {
      root.append(h("p", {}, "This service requires an API key. ", button("Enter API key", askForApiKey)));
      return;
    }
    root.append(h("p", { class: "error", role: "alert" }, error.message));
  }
}

function highlightNavigation(name) {
  for (const link of document.querySelectorAll("nav a")) {
    const current = [name, `${name}s`, name === "version" && "models"].some((each) => link.hash === `#/${each}`);
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Open the API key dialog, unless it is open. */
function askForApiKey() {
  if (document.querySelector("dialog[open]")) return;
  const input = h("input", { type: "password", autocomplete: "off", required: true, size: 40 });
  const submit = (event) => {
    event.preventDefault();
    setApiKey(input.value.trim());
    dialog.close();
    loadScope();
    route();
  };
  const dialog = openDialog("API key",
    h("form", { onsubmit: submit },
      h("h2", {}, "API key required"),
      h("p", {}, "The operator creates keys with ", h("code", {}, "bestepoch keys create"), ". The key is kept in this tab and forgotten when it is closed."),
      field("API key", input), h("button", { class: "primary" }, "Sign in")));
}

function setUpTheme() {
  const toggle = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const dark = (localStorage.getItem("bestepoch.theme") ?? (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    toggle.textContent = dark ? "Light" : "Dark";
    toggle.setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} theme`);
  };
  toggle.onclick = () => {
    localStorage.setItem("bestepoch.theme", toggle.textContent.toLowerCase());
    apply();
  };
  system.addEventListener("change", apply);
  apply();
}

/** Set the key's scope on <body>; style.css hides the controls that need a higher one. */
async function loadScope() {
  const usage = await get("/v1/usage").catch(() => null);
  document.body.dataset.scope = usage?.scope ?? "admin";
}

/** Show a banner while the service cannot be reached: the page is stale. */
function setUpOutageBanner() {
  const banner = h("p", { class: "offline-banner", role: "status", hidden: true });
  document.querySelector("header").after(banner);
  addEventListener("connection-lost", (event) => {
    if (!banner.hidden) return;
    banner.textContent = `Connection lost at ${new Date().toLocaleTimeString()}: ${event.detail}. The page shows old data; retrying.`;
    banner.hidden = false;
  });
  addEventListener("connection-restored", () => { banner.hidden = true; });
}

/** A file dropped on any page is uploaded. */
function setUpFileDrop() {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (!files.length) return;
    datasets.queueUpload(files);
    location.hash = "#/datasets";
  });
}

let currentPath = "";
addEventListener("hashchange", () => {
  const [previousPath, focused] = [currentPath, document.activeElement?.name];
  currentPath = location.hash.split("?")[0];
  const main = document.getElementById("main");
  if (currentPath !== previousPath) main.focus();
  route();
  // Only the query changed, e.g. a filter: keep focus on the input that changed it.
  if (currentPath === previousPath && focused) main.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
});
document.querySelector(".skip-link").addEventListener("click", (event) => {
  event.preventDefault(); // the router would take #main for a page
  document.getElementById("main").focus();
});
addEventListener("api-key-required", askForApiKey);
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  else toast(event.reason?.message ?? "Something went wrong");
});
setUpTheme();
setUpFileDrop();
setUpOutageBanner();
loadScope();
route();
currentPath = location.hash.split("?")[0];
setInterval(refreshTimes, TIME_REFRESH_MILLISECONDS);
