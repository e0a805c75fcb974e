// Formatting of numbers, durations, sizes and spec values.

let clockOffset = 0; // milliseconds: the server's clock minus this machine's

/** Set the clock offset from a response's `Date` header, which has a resolution of one second. */
export function syncClock(dateHeader) {
  const offset = Date.parse(dateHeader ?? "") - Date.now();
  if (Number.isFinite(offset)) clockOffset = Math.abs(offset) < 2000 ? 0 : offset;
}

const [MAX_PLAIN, MIN_GROUPED] = [1e15, 1e4]; // larger numbers have an exponent, and thousands are separated

/** Significant digits, but integers and the digits before the point in full; a dash for null and undefined. */
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= MAX_PLAIN || (size < 1e-4 && value !== 0)) return value.toExponential(2);
  const rounded = Number.isInteger(value) ? value : Number(value.toPrecision(Math.max(digits, String(Math.trunc(size)).length)));
  return size < MIN_GROUPED ? String(rounded) : rounded.toLocaleString("en", { maximumFractionDigits: digits });
}

/** "80%", "97.5%" of 0.8, 0.975. */
export function percent(share) {
  return `${number(Number((share * 100).toPrecision(3)))}%`;
}

const MAX_TEXT = 60; // characters of a data set's value

/** A value of a data set, long texts cut; `time`: a number is a time, in seconds since 1970 (UTC). */
export function dataValue(value, time = false) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value).length > MAX_TEXT ? `${String(value).slice(0, MAX_TEXT - 1)}…` : String(value);
  return time ? dateText(value) : number(value, 5);
}

/** "2024-03-01", with the time of day unless that is midnight (UTC), of seconds since 1970. */
export function dateText(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return number(seconds);
  const [day, time] = date.toISOString().split("T");
  return seconds % 86400 === 0 ? day : `${day} ${time.slice(0, 5)}`;
}

/** `count` and its noun: "1 row", "12,000 rows". */
export function plural(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** "40 ms", "3.2 s", "5 min 10 s", "2 h 5 min", "3 d 4 h". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** Seconds from one API timestamp to another, or to now. */
export function elapsed(from, to) {
  return from ? Math.max(0, (to ? Date.parse(to) : Date.now() + clockOffset) - Date.parse(from)) / 1000 : null;
}

/** "31 s ago", "4 min ago", "3 h ago", "2 d ago". */
export function ago(time) {
  const seconds = Math.floor(elapsed(time, null));
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** A short axis label. */
export function tickLabel(value) {
  return Math.abs(value) >= 1e5 ? value.toExponential(Number.isInteger(Math.log10(Math.abs(value))) ? 0 : 1) : number(value);
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${number(Number(value.toPrecision(3)))} ${units[unit]}`;
}

/** "val_loss 0.12, accuracy 0.97" of {val_loss: 0.12, accuracy: 0.97}. */
export function metricList(metrics) {
  return Object.entries(metrics).map(([name, value]) => `${name} ${number(value)}`).join(", ");
}

/** Who did something: the name of an API key, or its ID. */
export function actorName({ key, name }) {
  return name ?? key ?? "anonymous";
}

/** "early stopped" of the API's `early_stopped`. */
export function words(code) {
  return code.replaceAll("_", " ");
}

/** "job_…466edf22" of "job_18ec5d64466edf22b877f175": the digits that differ between the jobs of one server. */
export function shortId(id) {
  return `${id.split("_")[0]}_…${id.slice(-16, -8)}`;
}

/** A spec value on one line. */
export function specValue(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** {a: {b: 1}} -> {"a.b": 1}; arrays are values. */
export function flatten(object, prefix = "", found = {}) {
  for (const [name, value] of Object.entries(object)) {
    const dotted = prefix + name;
    if (value !== null && typeof value === "object" && !Array.isArray(value)) flatten(value, `${dotted}.`, found);
    else found[dotted] = value;
  }
  return found;
}
