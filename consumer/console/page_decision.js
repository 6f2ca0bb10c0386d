// What led to an order of a rule: the expression that matched with its values, the events, the limits that were consulted.

import { el } from "./page_dom.js";
import { count, mask, span } from "./page_words.js";

// [[name, value in words]] of what a rule saw.
export const valuesOf = (explanation) => Object.entries(explanation?.values ?? {}).map(([name, value]) => [name, inWords(value)]);

function inWords(value) {
  if (typeof value === "number") return String(Math.round(value * 1000) / 1000);
  return mask(typeof value === "string" ? value : JSON.stringify(value));
}

// A sentence for each limit that a change of an order was held against.
export const limitsOf = (change) =>
  (change.details?.limits ?? []).map((one) => {
    const share = one.open ? `, ${shareOf(one)}` : "";
    return `${one.of}: ${count(one.with_it)} of at most ${count(one.calls)} calls in ${span(one.within_seconds)}${share}${one.over ? ": over" : ""}`;
  });

// A small count is not held against the share, however large a part of the open calls it is.
function shareOf(one) {
  const part = one.with_it / one.open;
  if (part > one.share && !one.over) return `too few for its share of ${percent(one.share)}`;
  return `${percent(part)} of ${count(one.open)} open (at most ${percent(one.share)})`;
}

const percent = (share) => `${Math.round(share * 1000) / 10} %`;

export function expressionOf({ expression, values }) {
  const rows = valuesOf({ values }).flatMap(([name, value]) => [el("dt", {}, el("code", {}, name)), el("dd", {}, el("code", {}, value))]);
  return [expression ? el("pre", {}, el("code", {}, expression)) : null, rows.length ? el("dl", { class: "facts values" }, ...rows) : null];
}

// Nothing for an order that an operator gave. showCall(account, id) opens a call.
export function decisionOf(order, showCall) {
  if (!order.rule) return [];
  const events = (order.evidence ?? []).map((one) => el("li", {}, ...eventOf(order.account, one, showCall)));
  const limits = order.changes.flatMap((change) => limitsOf(change).map((text) => el("li", { class: text.endsWith("over") ? "over-limit" : "" }, text)));
  return [
    el("h3", {}, "Why the rule wanted it"),
    ...(order.explanation ? expressionOf(order.explanation) : [el("p", { class: "hint" }, "A rule in Python: its reason is above.")]),
    windowOf(order.explanation?.over),
    events.length ? el("ul", { class: "evidence", "aria-label": "Events that the rule matched" }, ...events) : null,
    limits.length ? el("h3", {}, "Limits consulted") : null,
    limits.length ? el("ul", { class: "evidence", "aria-label": "Limits consulted" }, ...limits) : null,
  ].filter(Boolean);
}

const windowOf = (over) =>
  over ? el("p", { class: "hint" }, `Over the totals of the ${over.scope} in ${span(over.window_seconds)}, with at least ${count(over.at_least)} finished attempts.`) : null;

function eventOf(account, one, showCall) {
  const place = el("small", {}, `${one.topic}/${one.partition}@${one.offset}`);
  if (!one.event) return ["an event ", place];
  const { type, status, call_id: id } = one.event;
  return [`${type}${status ? ` (${status})` : ""} of call `, el("button", { type: "button", class: "link", onclick: () => showCall(account, id) }, id), " ", place];
}
