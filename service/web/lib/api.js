// HTTP client of the public API, the only thing the dashboard calls.

import { syncClock } from "./format.js";

const KEY_ITEM = "bestepoch.key"; // in sessionStorage
const RECONNECT_MILLISECONDS = 2000;
const STREAM_TIMEOUT_MILLISECONDS = 45000; // the server sends a heartbeat every 15 seconds

/** An error response: `status`, `errors` (one for each invalid field) and the server's message. */
export class ApiError extends Error {
  constructor(status, problem) {
    const detail = problem.detail ?? problem.title ?? `HTTP status ${status}`;
    const fields = (problem.errors ?? []).slice(0, 3).map((each) => `${each.pointer ?? each.parameter}: ${each.message}`)
      .filter((text) => !detail.includes(text)); // the detail is often the first of them
    super((fields.some((text) => text.includes(detail)) ? fields : [detail, ...fields]).join("; "));
    this.status = status;
    this.errors = problem.errors ?? [];
    this.retryable = status >= 500 || status === 429;
  }
}

/** No response at all. */
class NetworkError extends Error {
  retryable = true;

  constructor() {
    super("cannot reach the service");
  }
}

/** Keep the API key until the tab is closed. */
export function setApiKey(key) {
  sessionStorage.setItem(KEY_ITEM, key);
}

function authHeaders(headers = {}) {
  const key = sessionStorage.getItem(KEY_ITEM);
  return key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
}

/** Relative to the page, so that a reverse proxy may serve both under a path prefix. */
function urlOf(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI).href.replace(/#.*/, "");
}

/** The service's base URL as other clients write it, without a trailing slash. */
export function serviceUrl() {
  return urlOf("").replace(/\/$/, "");
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(urlOf(path), { ...options, headers: authHeaders(options.headers) });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw reportOutage(new NetworkError());
  }
  syncClock(response.headers.get("Date"));
  if (response.ok) {
    dispatchEvent(new Event("connection-restored"));
    return response;
  }
  const error = new ApiError(response.status, await response.json().catch(() => ({})));
  if (response.status === 401) dispatchEvent(new Event("api-key-required"));
  throw error.retryable ? reportOutage(error) : error;
}

function reportOutage(error) {
  dispatchEvent(new CustomEvent("connection-lost", { detail: error.message }));
  return error;
}

export async function get(path, signal) {
  return (await request(path, { signal })).json();
}

/** POST, PUT, PATCH or DELETE. With an idempotency key, a repeated POST creates nothing new. */
export async function send(method, path, body, signal, idempotencyKey) {
  const headers = {
    ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    ...(idempotencyKey ? { "Idempotency-Key": idempotencyKey } : {}),
  };
  const response = await request(path, { method, signal, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return response.status === 204 ? null : response.json();
}

/** Not crypto.randomUUID(): unavailable in insecure contexts, i.e. plain HTTP from another host. */
export function newIdempotencyKey() {
  return `page-${[...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16)).join("")}`;
}

/** All items of a paginated list, at most `limit`; `path` may have a query string. */
export async function listAll(path, signal, limit = Infinity, cursorName = "after") {
  const items = [];
  for (let cursor = null; items.length < limit; ) {
    const url = new URL(path, "http://any/");
    if (cursor !== null) url.searchParams.set(cursorName, cursor);
    const page = await get(url.pathname + url.search, signal);
    items.push(...page.data);
    if (page.next === null || page.has_more === false) break;
    cursor = page.next;
  }
  return items.slice(0, limit);
}

/** Stream a job's server-sent events after an epoch until the job ends; reconnects where a broken stream stopped.
 *
 * Disconnects while the tab is hidden: browsers allow six connections per host, and other tabs need theirs.
 */
export async function streamJob(jobId, lastEpoch, signal, onEvent) {
  while (!signal.aborted) {
    await untilVisible(signal);
    const hidden = new AbortController();
    const onVisibility = () => { if (document.hidden) hidden.abort(); };
    document.addEventListener("visibilitychange", onVisibility);
    try {
      const either = AbortSignal.any([signal, hidden.signal]);
      const response = await request(`/v1/jobs/${jobId}/stream?after_epoch=${lastEpoch}`, { signal: either });
      for await (const { event, data } of serverSentEvents(response.body)) {
        if (event === "epoch") lastEpoch = data.epoch;
        onEvent(event, data);
        if (event === "end") return;
      }
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && !error.retryable)) throw error;
    } finally {
      document.removeEventListener("visibilitychange", onVisibility);
    }
    if (!hidden.signal.aborted) await new Promise((resolve) => setTimeout(resolve, RECONNECT_MILLISECONDS));
  }
}

function untilVisible(signal) {
  if (!document.hidden) return null;
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true, signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

async function* serverSentEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let buffer = ""; ; ) {
    const timeout = setTimeout(() => reader.cancel(), STREAM_TIMEOUT_MILLISECONDS); // a dead connection raises no error
    const { done, value } = await reader.read().finally(() => clearTimeout(timeout));
    if (done) return;
    const blocks = (buffer + value).split(/\r?\n\r?\n/);
    buffer = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/);
      const valuesOf = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      if (valuesOf("data").length) yield { event: valuesOf("event")[0], data: JSON.parse(valuesOf("data").join("\n")) };
    }
  }
}

/** Send bytes, with progress: `onProgress` gets the number of bytes sent. Returns the JSON of the response, if any. */
export function sendBytes(method, path, body, onProgress) {
  const xhr = new XMLHttpRequest(); // fetch has no upload progress
  xhr.open(method, urlOf(path));
  for (const [name, value] of Object.entries(authHeaders())) xhr.setRequestHeader(name, value);
  xhr.setRequestHeader("Content-Type", "application/octet-stream");
  xhr.upload.onprogress = (event) => onProgress(event.loaded);
  return new Promise((resolve, reject) => {
    xhr.onerror = () => reject(new Error("upload interrupted: cannot reach the service"));
    xhr.onload = () => {
      if (xhr.status < 300) return resolve(xhr.responseText ? JSON.parse(xhr.responseText) : null);
      if (xhr.status === 401) dispatchEvent(new Event("api-key-required"));
      let problem = {};
      try {
        problem = JSON.parse(xhr.responseText);
      } catch {
        // a reverse proxy's HTML error page
      }
      reject(new ApiError(xhr.status, problem));
    };
    xhr.send(body);
  });
}

/** POST a CSV or Parquet file; returns the response. */
export async function sendFile(path, file, signal, headers = {}) {
  const type = /\.parquet$/i.test(file.name) ? "application/vnd.apache.parquet" : "text/csv";
  return request(path, { method: "POST", signal, headers: { ...headers, "Content-Type": type }, body: file });
}

/** Download what is at `path` as a file; natively by the browser where no request header is needed. */
export async function download(path, accept = null, signal = null) {
  if (sessionStorage.getItem(KEY_ITEM) || accept) await saveResponse(await request(path, { signal, headers: accept ? { Accept: accept } : {} }));
  else save(urlOf(path), "");
}

/** Save a response's body as a file. */
export async function saveResponse(response) {
  const name = /filename="?([^";]+)/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "";
  const url = URL.createObjectURL(await response.blob());
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

function save(url, name) {
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
}
