// Stop orders: the list, one in detail, and ending it.

import { showCall } from "./page_call.js";
import { confirm } from "./page_confirm.js";
import { decisionOf } from "./page_decision.js";
import { $, el, fillBar, incomplete, keep, say, show } from "./page_dom.js";
import { openSheet } from "./page_sheet.js";
import { OUTCOMES, STATES, author, count, inHold, mask, maskNumber, plural, setTime, timeOf, told } from "./page_words.js";

const TONES = { in_force: "good", awaiting_approval: "warn", proposed: "warn" };
const PAGE = 25;
const IDS_SHOWN = 20;

let session = null;
let shownOrder = null;
let olderCursor;

export function startOrders(given) {
  session = given;
  olderCursor = undefined;
  $("older-list").replaceChildren();
  show($("older"), false);
  show($("more-orders"), true);
}

export function showOrders(now) {
  const more = now.more_orders_standing ? `, ${count(now.more_orders_standing)} more that stand are under All orders` : "";
  say($("orders-count"), now.orders_in_all ? `${count(now.orders_in_all)} in all${more}` : "");
  show($("orders-none"), !now.orders_in_all);
  show($("singles"), now.single_orders.length > 0);
  keep($("orders-list"), now.orders, (one) => one.order_id, makeOrder, changeOrder);
  keep($("singles-list"), now.single_orders, (one) => one.order_id, makeSingle, changeSingle);
  const open = shownOrder && [...now.orders, ...now.single_orders].find((one) => one.order_id === shownOrder.order_id);
  if (open && $("details").open) {
    Object.assign(shownOrder, open);
    showFacts(shownOrder);
  }
}

function makeOrder(order) {
  const node = el(
    "li",
    {},
    el(
      "article",
      { class: "order", "aria-label": `${order.scope_in_words} at ${order.account}` },
      el("p", { class: "aim" }, el("span", { "data-part": "state" }), el("b", {}, order.scope_in_words), el("span", { class: "at" }, order.account), timeOf(order.created_at)),
      el("p", { class: "why" }, `${mask(order.reason)} `, el("span", { class: "by" }, `— ${author(order)}`)),
      el("p", { class: "held", "data-part": "held" }),
      el("div", { class: "bar", "data-part": "bar", "aria-hidden": "true" }),
      el(
        "p",
        { class: "foot" },
        el("span", {}, el("span", { class: "funnel", "data-part": "funnel" }), el("span", { "data-part": "terms" })),
        el("span", { class: "actions" }, ...changes(() => node.order), el("button", { type: "button", class: "quiet", onclick: () => showOrder(node.order) }, "Details")),
      ),
    ),
  );
  return node;
}

function changes(order) {
  const button = (what, words, ask) => el("button", { type: "button", class: "quiet", "data-do": what, onclick: () => ask(order(), what) }, words);
  return [button("release", "Release", askRelease), button("approve", "Approve", askApproval), button("reject", "Reject", askApproval)];
}

// A rule's order for one call or number: a line each, for there may be many.
function makeSingle(order) {
  const node = el(
    "li",
    {},
    el(
      "article",
      { class: "order single", "aria-label": `${order.scope_in_words} at ${order.account}` },
      el("p", {}, el("b", {}, order.scope_in_words), el("span", { class: "at" }, order.account), el("span", { class: "by" }, author(order)), el("span", { "data-part": "outcome" })),
      timeOf(order.created_at),
      el("button", { type: "button", class: "quiet", onclick: () => showOrder(node.order) }, "Details"),
    ),
  );
  return node;
}

function changeSingle(node, order) {
  node.order = order;
  const { matched, ...counts } = order.counts;
  const over = Object.keys(OUTCOMES).filter((name) => counts[name]).map((name) => `${count(counts[name])} ${OUTCOMES[name]}`);
  const state = order.state === "in_force" ? "" : ` (${STATES[order.state]})`;
  say(node.querySelector('[data-part="outcome"]'), (over.join(" · ") || (matched ? `${count(matched)} under way` : "no call matched yet")) + state);
}

function changeOrder(node, order) {
  node.order = order;
  const part = (name) => node.querySelector(`[data-part="${name}"]`);
  say(part("state"), STATES[order.state]);
  part("state").className = `chip ${TONES[order.state] ?? "idle"}`;
  node.firstElementChild.classList.toggle("over", !TONES[order.state]);
  fillProgress(part("bar"), part("funnel"), order.counts);
  say(part("terms"), terms(order));
  say(part("held"), whyHeld(order));
  show(part("held"), Boolean(whyHeld(order)));
  offer(node, order);
}

// Why an order waits, with the count of calls it would stop.
function whyHeld(order) {
  const held = order.changes.find((one) => one.what === "held");
  return held && order.state === "awaiting_approval" ? `Waits for approval: ${mask(held.reason)}` : "";
}

function offer(node, order) {
  for (const button of node.querySelectorAll("[data-do]")) show(button, mayDo(button.dataset.do, order));
}

function mayDo(what, order) {
  const held = order.state === "awaiting_approval";
  if (what !== "release") return held && session.role === "approver";
  return session.role !== "viewer" && order.state in TONES && !held;
}

function terms(order) {
  const words = [order.mode];
  if (order.canary_share) words[0] = `canary ${Math.round(order.canary_share * 100)} %`;
  if (order.reach === "everything") words.push("everything");
  words.push(inHold(order.hold));
  if (order.expires_at && order.state === "in_force") words.push(`ends ${new Date(order.expires_at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}`);
  return words.join(" · ");
}

function fillProgress(bar, funnel, counts) {
  const over = Object.keys(OUTCOMES).map((name) => ({ name, count: counts[name] }));
  const underWay = counts.matched - over.reduce((sum, one) => sum + one.count, 0);
  fillBar(bar, [over[0], { name: "under-way", count: underWay }, ...over.slice(1)]);
  const steps = ["matched", "requested", "accepted", "confirmed"].map((name) => `${count(counts[name])} ${name}`).join(" → ");
  const others = over.slice(1).filter((one) => one.count).map((one) => `${count(one.count)} ${OUTCOMES[one.name]}`);
  if (!counts.matched) say(funnel, "no call matched yet");
  else if (counts.shadow === counts.matched) say(funnel, `${count(counts.matched)} matched · recorded only, nothing was sent`);
  else say(funnel, [steps, ...others].join(" · "));
}

function askRelease(order) {
  confirm({
    title: `Release the stop of ${order.scope_in_words} at ${order.account}?`,
    points: [
      "Calls that register from now on are let through.",
      "What was decided and not sent yet is not sent for this order.",
      "Calls that are stopped already stay stopped.",
    ],
    yes: "Release",
    reason: true,
    act: (reason) => change(order, "release", reason),
  });
}

function askApproval(order, what) {
  const approve = what === "approve";
  confirm({
    title: `${approve ? "Approve" : "Reject"} the stop of ${order.scope_in_words} at ${order.account}?`,
    points: [`Ordered by ${author(order)}: ${mask(order.reason)}`, whyHeld(order), approve ? "It comes into force now, and its calls are terminated." : "None of its calls is terminated for it."],
    yes: approve ? "Approve" : "Reject",
    danger: approve,
    reason: true,
    act: (reason) => change(order, what, reason),
  });
}

async function change(order, what, reason) {
  const changed = await session.api.post(["stop-orders", order.order_id, what], { reason });
  session.say(`Order ${order.order_id} is ${STATES[changed.state]}.`);
  for (const node of document.querySelectorAll("#orders-list > li, #older-list > li")) {
    if (node.order.order_id === order.order_id) changeOrder(node, changed);
  }
  if (shownOrder?.order_id === order.order_id && $("details").open) await showOrder(changed);
}

export const openOrder = (id) => showOrder({ order_id: id });

async function showOrder(order) {
  let whole;
  try {
    whole = await session.api.get("stop-orders", order.order_id);
  } catch (problem) {
    session.say(problem.message, true);
    return;
  }
  const list = el("ol", { class: "terminations", "aria-label": "Terminations of this order" });
  const filter = el(
    "select",
    { id: "details-outcome", onchange: () => moreTerminations(list, null) },
    el("option", { value: "" }, "all"),
    ...["waiting", "requested", "unknown", "accepted", ...Object.keys(OUTCOMES)].map((name) => el("option", { value: name }, OUTCOMES[name] ?? name)),
  );
  const nodes = [
    ...incomplete(whole),
    el("div", { class: "bar tall", id: "details-bar", "aria-hidden": "true" }),
    el("p", { class: "funnel", id: "details-funnel" }),
    el("dl", { class: "facts", id: "details-facts" }),
    el("div", { class: "actions" }, ...changes(() => shownOrder)),
    ...decisionOf(whole, showCall),
    el("h3", {}, "Terminations"),
    el("div", { class: "field inline" }, el("label", { for: "details-outcome" }, "Outcome"), filter),
    list,
    el("button", { type: "button", class: "quiet", id: "details-more" }, "Show more"),
  ];
  openSheet(`order ${whole.order_id}`, `${whole.scope_in_words} at ${whole.account}`, nodes, () => showOrder(whole));
  shownOrder = whole;
  showFacts(whole);
  await moreTerminations(list, null);
}

function showFacts(order) {
  offer($("details-body"), order);
  fillProgress($("details-bar"), $("details-funnel"), order.counts);
  const facts = [
    ["State", el("span", { class: `chip ${TONES[order.state] ?? "idle"}` }, STATES[order.state])],
    ["Order", el("code", {}, order.order_id)],
    ["By", `${author(order)}${order.rule?.version ? `, version ${order.rule.version}` : ""}`],
    ["Reason", mask(order.reason)],
    ["Given", timeOf(order.created_at)],
    ["Terms", `${terms(order)}${order.allow_live ? " · live calls may be cut" : ""}`],
    ...named(order.scope),
    ...order.changes.map((one) => [STATES[one.what] ?? one.what, el("span", {}, `by ${one.who}: ${told(one.reason)}, `, timeOf(one.at))]),
  ];
  $("details-facts").replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function named(scope) {
  const ids = scope?.call_ids ?? scope?.mobile_numbers?.map(maskNumber);
  if (!ids) return [];
  const rest = ids.length > IDS_SHOWN ? ` and ${count(ids.length - IDS_SHOWN)} more` : "";
  return [[scope.call_ids ? "Calls" : "Numbers", `${ids.slice(0, IDS_SHOWN).join(", ")}${rest}`]];
}

async function moreTerminations(list, cursor) {
  const more = $("details-more");
  const order = shownOrder;
  let page;
  try {
    page = await session.api.get("terminations", { order_id: order.order_id, outcome: $("details-outcome").value, limit: PAGE, cursor });
  } catch (problem) {
    session.say(problem.message, true);
    return;
  }
  if (order !== shownOrder) return; // something else is shown by now
  const rows = page.items.map((one) =>
    el(
      "li",
      {},
      one.scope
        ? el("b", {}, `the provider's own stop of ${one.scope}`)
        : el("button", { type: "button", class: "link", onclick: () => showCall(one.account, one.call_id) }, one.call_id),
      el("span", { class: `tag k-${tagOf(one.outcome)}` }, OUTCOMES[one.outcome] ?? one.outcome),
      one.scope ? null : el("span", { class: "number" }, maskNumber(one.number)),
      el("span", {}, plural(one.requests.length, "request")),
      timeOf(one.decided_at),
    ),
  );
  if (cursor) list.append(...rows);
  else list.replaceChildren(...(rows.length ? rows : [el("li", { class: "empty" }, "none")]));
  show(more, Boolean(page.next_cursor));
  more.onclick = () => moreTerminations(list, page.next_cursor);
}

export const tagOf = (outcome) => (outcome in OUTCOMES ? outcome : "under-way");

async function moreOrders() {
  try {
    const page = await session.api.get("stop-orders", { limit: PAGE, cursor: olderCursor });
    show($("older"), true);
    for (const order of page.items) {
      const node = makeOrder(order);
      changeOrder(node, order);
      $("older-list").append(node);
    }
    olderCursor = page.next_cursor;
    say($("more-orders"), "More orders");
    show($("more-orders"), Boolean(olderCursor));
  } catch (problem) {
    session.say(problem.message, true);
  }
}

$("more-orders").addEventListener("click", moreOrders);
$("details").addEventListener("reused", () => (shownOrder = null));
