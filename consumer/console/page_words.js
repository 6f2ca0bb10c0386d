// Figures, times and states in words.

const NUMBER = new Intl.NumberFormat("en");

// The service's clock, so that ages are right on a machine whose own clock is not.
export const clock = {
  ahead: 0,
  now: () => Date.now() / 1000 + clock.ahead,
  set: (seconds) => (clock.ahead = seconds - Date.now() / 1000),
};

export const count = (n) => (n === null || n === undefined ? "—" : NUMBER.format(n));

// "832 kB", "1.4 GB"
export function size(bytes) {
  const power = Math.min(3, Math.max(1, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const amount = bytes / 1000 ** power;
  return `${amount < 10 ? amount.toFixed(1) : count(Math.round(amount))} ${["kB", "MB", "GB"][power - 1]}`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return both(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return both(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

const both = (n, unit, rest, smaller) => `${n} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;

export function ago(iso) {
  const seconds = clock.now() - Date.parse(iso) / 1000;
  return seconds < -1 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
}

export const wallClock = (date) => date.toLocaleTimeString("en-GB");

const dayBefore = (when) => (when.toDateString() === new Date().toDateString() ? "" : `${when.toLocaleDateString("en-GB", { day: "2-digit", month: "short" })} `);

// "21 Nov 18:30:14", without the day where it is today.
export const dayAndTime = (when) => dayBefore(when) + wallClock(when);

// Somebody's or the service's sentence: no number in full, and moments by the reader's clock.
export const told = (text) => mask(text).replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:[\d.]+Z/g, (iso) => dayAndTime(new Date(iso)));

export function setTime(node, iso, otherwise = "never") {
  if (!iso) {
    node.removeAttribute("datetime");
    node.removeAttribute("title");
    if (node.textContent !== otherwise) node.textContent = otherwise;
  } else {
    if (node.dateTime !== iso) {
      node.dateTime = iso;
      node.title = new Date(iso).toLocaleString("en-GB", { timeZoneName: "short" });
    }
    const text = ago(iso);
    if (node.textContent !== text) node.textContent = text;
  }
  return node;
}

export const timeOf = (iso) => setTime(document.createElement("time"), iso);

export function refreshTimes() {
  for (const node of document.querySelectorAll("time[datetime]:not([data-exact])")) setTime(node, node.dateTime);
}

// Everything in somebody's own words goes through here: of a phone number the last four digits are shown.
export function mask(text) {
  return String(text).replace(/\+\d[\d ().-]{4,18}\d|(?<![\w-])\d{10,15}(?![\w-])/g, (found) => maskNumber(found));
}

export function maskNumber(number) {
  return number ? `•••${String(number).replace(/\D/g, "").slice(-4)}` : "—";
}

export const STATES = {
  proposed: "proposed",
  awaiting_approval: "awaits approval",
  in_force: "in force",
  released: "released",
  expired: "expired",
  rejected: "rejected",
};

// How terminations end, in the order of the bar. What is not among them is under way.
export const OUTCOMES = {
  confirmed: "confirmed",
  missed: "missed",
  not_found: "not found",
  expired: "expired",
  failed: "failed",
  unconfirmed: "unconfirmed",
  withdrawn: "withdrawn",
  shadow: "shadow",
};

const UNITS = { s: "second", m: "minute", h: "hour", d: "day" };

// "30d" → "for 30 days", "0" → "once", "until-released" → "until released".
export function inHold(hold) {
  const [, amount, unit] = /^(\d+)([smhd])$/.exec(hold) ?? [];
  if (amount) return `for ${plural(Number(amount), UNITS[unit])}`;
  return hold === "0" ? "once" : hold === "until-released" ? "until released" : `for ${hold}`;
}

export const list = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`);

export const author = (order) => order.who ?? (order.rule ? `rule ${order.rule.name}` : "—");
