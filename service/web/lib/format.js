// Numbers, times and sizes as people read them.

let ahead = 0; // milliseconds by which the service's clock is ahead of this machine's

/** Go by the clock of the service: `date` of one of its answers. Its seconds are whole. */
export function setClock(date) {
  const found = Date.parse(date ?? "") - Date.now();
  if (Number.isFinite(found)) ahead = Math.abs(found) < 2000 ? 0 : found;
}

/** Four digits that count, whole numbers whole; what is undefined is a dash. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return Math.abs(value) < 10000 ? String(value) : value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** Seconds from one time of the API to another, or to now. */
export function between(from, to) {
  return from ? Math.max(0, (to ? Date.parse(to) : Date.now() + ahead) - Date.parse(from)) / 1000 : null;
}

export function ago(time) {
  return time ? `${seconds(Math.floor(between(time, null)))} ago`.replace(".0", "") : "–";
}

/** A number beside an axis, in little room. */
export function tick(value) {
  return Math.abs(value) >= 1e5 ? value.toExponential(Number.isInteger(Math.log10(Math.abs(value))) ? 0 : 1) : number(value);
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${number(Number(value.toPrecision(3)))} ${units[unit]}`;
}

/** A value of a spec in a few characters. */
export function brief(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** {a: {b: 1}} -> {"a.b": 1}; lists stay values. */
export function flat(object, prefix = "", found = {}) {
  for (const [name, value] of Object.entries(object)) {
    const dotted = prefix + name;
    if (value !== null && typeof value === "object" && !Array.isArray(value)) flat(value, `${dotted}.`, found);
    else found[dotted] = value;
  }
  return found;
}
