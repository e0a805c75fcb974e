// The public API, as any other client calls it; nothing else is asked of the server.

import { setClock } from "./format.js";

const KEY = "bestepoch.key";
const PAUSE = 2000; // milliseconds before a broken stream is taken up again
const SILENCE = 45000; // milliseconds: the service says something every 15 seconds

/** The service says no: `status`, `errors` (the wrong places), and its own words. */
export class Refused extends Error {
  constructor(status, problem) {
    const places = (problem.errors ?? []).map((each) => `${each.pointer ?? each.parameter}: ${each.message}`);
    super([problem.detail ?? problem.title ?? `status ${status}`, ...places.slice(0, 3)].join("; "));
    this.status = status;
    this.errors = problem.errors ?? [];
    this.passing = status >= 500 || status === 429; // the same may be answered later
  }
}

/** Kept until the tab is closed. */
export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

function headers(more = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

/** Beside the page, so that a proxy may serve all of it under a prefix. */
function address(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI).href.replace(/#.*/, "");
}

async function answered(path, options = {}) {
  let response;
  try {
    response = await fetch(address(path), { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw lost(new Unreachable());
  }
  setClock(response.headers.get("Date"));
  if (response.ok) {
    dispatchEvent(new Event("service-back"));
    return response;
  }
  const refused = new Refused(response.status, await response.json().catch(() => ({})));
  if (response.status === 401) dispatchEvent(new Event("key-needed"));
  throw refused.passing ? lost(refused) : refused;
}

/** Nobody answers, or nothing of use: those who repeat their question may be answered later. */
class Unreachable extends Error {
  passing = true;

  constructor() {
    super("the service cannot be reached");
  }
}

function lost(error) {
  dispatchEvent(new CustomEvent("service-lost", { detail: error.message }));
  return error;
}

export async function get(path, signal) {
  return (await answered(path, { signal })).json();
}

/** POST, PATCH or DELETE; with a `once` of its own, what a POST creates is created once, however often it is sent. */
export async function send(method, path, body, signal, once) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const named = { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...(once ? { "Idempotency-Key": once } : {}) };
  const response = await answered(path, { method, signal, headers: named, ...sent });
  return response.status === 204 ? null : response.json();
}

/** Not randomUUID, which browsers keep from pages that come over plain HTTP from another machine. */
export function unique() {
  return `page-${[...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16)).join("")}`;
}

/** Every item of a list, `most` at most; `path` may have a query. */
export async function all(path, signal, most = Infinity, cursor = "after") {
  const found = [];
  for (let next = null; found.length < most; ) {
    const asked = new URL(path, "http://any/");
    if (next !== null) asked.searchParams.set(cursor, next);
    const page = await get(asked.pathname + asked.search, signal);
    found.push(...page.data);
    if (page.next === null || page.has_more === false) break;
    next = page.next;
  }
  return found.slice(0, most);
}

/** Follow a job behind an epoch: calls `hear(event, data)` until its end, and takes broken streams up where they were.
 *
 * Not while the page is hidden: a browser keeps six connections to a host, and other tabs want theirs.
 */
export async function follow(jobId, last, signal, hear) {
  while (!signal.aborted) {
    await seen(signal);
    const hidden = new AbortController();
    const hide = () => { if (document.hidden) hidden.abort(); };
    document.addEventListener("visibilitychange", hide);
    try {
      const either = AbortSignal.any([signal, hidden.signal]);
      const response = await answered(`/v1/jobs/${jobId}/stream?after_epoch=${last}`, { signal: either });
      for await (const { event, data } of events(response.body)) {
        if (event === "epoch") last = data.epoch;
        hear(event, data);
        if (event === "end") return;
      }
    } catch (error) {
      if (signal.aborted || (error instanceof Refused && !error.passing)) throw error;
    } finally {
      document.removeEventListener("visibilitychange", hide);
    }
    if (!hidden.signal.aborted) await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

/** Returns when the page is not hidden. */
function seen(signal) {
  if (!document.hidden) return null;
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true, signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const watch = setTimeout(() => reader.cancel(), SILENCE); // a network that is gone says nothing
    const { done, value } = await reader.read().finally(() => clearTimeout(watch));
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split(/\r?\n/);
      const find = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      if (find("data").length) yield { event: find("event")[0], data: JSON.parse(find("data").join("\n")) };
    }
  }
}

/** Upload a file; `progress` hears the share that is sent. */
export function upload(file, options, progress) {
  const query = new URLSearchParams({ name: file.name, ...options });
  const request = new XMLHttpRequest(); // fetch does not tell how far it is
  request.open("POST", address(`/v1/datasets?${query}`));
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.onprogress = (event) => progress(event.loaded / event.total);
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(new Error("the service cannot be reached, or broke the upload off"));
    request.onload = () => {
      if (request.status < 300) return resolve(JSON.parse(request.responseText));
      if (request.status === 401) dispatchEvent(new Event("key-needed"));
      let problem = {};
      try {
        problem = JSON.parse(request.responseText);
      } catch {
        // a proxy's page
      }
      reject(new Refused(request.status, problem));
    };
    request.send(file);
  });
}

/** Save what is at `path` as a file; by the browser's own download where no key must be sent. */
export async function save(path, accept = null) {
  let url = address(path);
  let name = "";
  if (sessionStorage.getItem(KEY) || accept) {
    const response = await answered(path, { headers: accept ? { Accept: accept } : {} });
    name = /filename="?([^";]+)/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "";
    url = URL.createObjectURL(await response.blob());
  }
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  if (url.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(url), 60000);
}
