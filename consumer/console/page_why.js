// Why a call was or was not stopped: each order aimed at it with what came of it, and each rule asked about its events.

import { expressionOf } from "./page_decision.js";
import { el } from "./page_dom.js";
import { STATES, mask, plural, told, wallClock } from "./page_words.js";

// One sentence above everything else.
export function verdictOn(call, why) {
  const [tone, words, more] = inShort(call, why);
  return el("p", { class: `verdict ${tone}` }, el("b", {}, words), more ? ` ${more}` : null);
}

function inShort(call, why) {
  const stopping = why.orders.find((one) => one.stopped);
  if (stopping) return ["good", "Stopped:", `${by(stopping)} ordered it, “${told(stopping.reason)}”.`];
  const waits = call.terminable ? " It still waits, and can be stopped." : "";
  if (!why.orders.length) return ["idle", "Not stopped:", `no order is aimed at it.${waits}`];
  const nearest = why.orders.find((one) => one.by === "operator") ?? why.orders[0];
  return ["warn", "Not stopped:", `${told(nearest.text)}.${waits}`];
}

export function ordersAimedAt(why, openOrder) {
  if (!why.orders.length) return [];
  return [el("h3", {}, "Orders aimed at it"), el("ul", { class: "aimed", "aria-label": "Orders aimed at the call" }, ...why.orders.map((one) => orderRow(one, openOrder)))];
}

const by = (order) => (order.by === "rule" ? `rule ${order.who}` : order.who);

function orderRow(order, openOrder) {
  return el(
    "li",
    {},
    el("span", { class: `chip ${order.stopped ? "good" : "idle"}` }, order.stopped ? "stopped" : "not stopped"),
    el("div", {}, el("p", {}, told(order.text)), el("small", {}, [`${by(order)}: ${order.scope}`, order.mode, STATES[order.state] ?? order.state].join(" · "))),
    el("button", { type: "button", class: "quiet", "aria-label": `Order ${order.order_id}`, onclick: () => openOrder(order.order_id) }, "Order"),
  );
}

export function rulesOn(why) {
  if (!why.rules.length) return [];
  const past = why.whole_history ? null : el("p", { class: "hint" }, "Its first events have left the log, so rules that look at its past may say otherwise.");
  return [el("h3", {}, "What the rules say of its events"), past, el("ul", { class: "asked", "aria-label": "What the rules say" }, ...why.rules.map(ruleRow))].filter(Boolean);
}

function ruleRow(rule) {
  const said = rule.asked ? `matched ${rule.matched} of ${plural(rule.asked, "event")}` : rule.note;
  const summary = [el("b", {}, rule.rule), " ", el("span", { class: `chip ${rule.matched ? "warn" : "idle"}` }, rule.mode), ` ${said}`];
  if (!rule.answers.length) return el("li", { class: "plain" }, ...summary);
  const hidden = rule.asked - rule.answers.length;
  return el(
    "li",
    {},
    el(
      "details",
      {},
      el("summary", {}, ...summary),
      rule.expression ? el("pre", {}, el("code", {}, rule.expression)) : null,
      hidden > 0 ? el("p", { class: "hint" }, `${plural(hidden, "earlier event")} not shown`) : null,
      el("ol", {}, ...rule.answers.map(answerRow)),
    ),
  );
}

function answerRow(answer) {
  const word = answer.error ? "failed" : answer.matched ? "matched" : "no match";
  const tone = answer.error ? "bad" : answer.matched ? "warn" : "idle";
  return el(
    "li",
    {},
    el("p", {}, el("span", { class: `chip ${tone}` }, word), ` ${answer.type} at ${wallClock(new Date(answer.at))}`),
    answer.error ? el("p", { class: "error" }, mask(answer.error)) : null,
    ...expressionOf({ values: answer.values }).filter(Boolean),
  );
}
