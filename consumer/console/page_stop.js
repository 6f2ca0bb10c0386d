// The form that gives a stop order, and what it says before it does.

import { confirm } from "./page_confirm.js";
import { $, el, keep, say, show } from "./page_dom.js";
import { clock, count, inHold, maskNumber, plural } from "./page_words.js";

const HOLD_OF = { campaign: "until-released", agent: "until-released", number: "30d", call: "0" };
const FIELD_OF = {
  account: "stop-account",
  reason: "stop-reason",
  hold: "stop-hold",
  reach: "stop-reach",
  mode: "stop-mode",
  canary_share: "stop-share",
  allow_live: "stop-live",
  "scope.campaign_id": "stop-campaign",
  "scope.agent_id": "stop-agent",
  "scope.call_ids": "stop-calls",
  "scope.mobile_numbers": "stop-numbers",
};

let session = null;
let accounts = [];
let waiting = null;

export function startStop(given) {
  session = given;
  const may = session.role !== "viewer";
  show($("stop-form"), may);
  show($("stop-refused"), !may);
  say($("stop-refused"), `${session.operator} is a ${session.role} and may look. To stop calls, sign in as an operator.`);
}

export function showStop(now) {
  accounts = now.accounts;
  waiting = now.waiting;
  for (const id of ["stop-account", "find-account"]) {
    keep($(id), accounts, (one) => one.account, (one) => el("option", { value: one.account }, one.account), () => {});
  }
  fit();
}

const kind = () => new FormData($("stop-form")).get("kind");
const kindOfScope = () => (kind() === "number" && value("stop-number-campaign") ? "number-in-campaign" : kind());
const value = (id) => $(id).value.trim();
const account = () => accounts.find((one) => one.account === $("stop-account").value);
const lines = (id, separator) => [...new Set(value(id).split(separator).map((one) => one.trim()).filter(Boolean))];

// Offer what this account's provider can do for what is to be stopped, and nothing else.
function fit() {
  const can = account()?.capabilities;
  if (!can) return;
  for (const field of $("stop-form").querySelectorAll("[data-kind]")) show(field, field.dataset.kind === kind());
  const offered = [];
  if (can.by_id) offered.push(["known", "known: calls seen in webhooks, by ID"]);
  if (can.everything.includes(kindOfScope())) offered.push(["everything", "everything: the provider's own stop too"]);
  keep($("stop-reach"), offered, ([name]) => name, ([name, words]) => el("option", { value: name }, words), () => {});
  show($("stop-live-field"), $("stop-reach").value === "everything" && !can.everything_spares_live);
  show($("stop-share-field"), $("stop-mode").value === "canary");
  const none = offered.length ? "" : `${account().provider} cannot stop this`;
  say($("stop-summary"), none || `${inHold($("stop-hold").value)}, ${$("stop-reach").value}, ${$("stop-mode").value}`);
}

function scope() {
  switch (kind()) {
    case "campaign":
      return { campaign_id: value("stop-campaign") };
    case "agent":
      return { agent_id: value("stop-agent") };
    case "call":
      return { call_ids: lines("stop-calls", /[\s,;]+/) };
    default: {
      const numbers = { mobile_numbers: lines("stop-numbers", /[\n,;]+/) };
      return value("stop-number-campaign") ? { campaign_id: value("stop-number-campaign"), ...numbers } : numbers;
    }
  }
}

function refuse(field, text) {
  say($("stop-error"), text);
  const input = $(FIELD_OF[field] ?? "stop-campaign");
  input.closest("details")?.setAttribute("open", "");
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", "stop-error");
  if (!input.closest("[hidden]")) input.focus();
}

function forgive() {
  say($("stop-error"), "");
  for (const input of $("stop-form").querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

function wanted() {
  const order = {
    account: $("stop-account").value,
    scope: scope(),
    reason: value("stop-reason"),
    reach: $("stop-reach").value,
    hold: $("stop-hold").value,
    mode: $("stop-mode").value,
    allow_live: !$("stop-live-field").hidden && $("stop-live").checked,
  };
  if (order.mode === "canary") order.canary_share = Number($("stop-share").value) / 100;
  return order;
}

function review(event) {
  event.preventDefault();
  forgive();
  const order = wanted();
  const field = Object.keys(order.scope).find((name) => !order.scope[name].length);
  if (field) return refuse(`scope.${field}`, "Say what is to be stopped.");
  if (!order.reason) return refuse("reason", "Say why; it is kept with every call that is stopped.");
  if (!order.reach) return refuse("reach", `${account().provider} cannot stop this; choose something else to stop.`);
  if (!$("stop-live-field").hidden && !order.allow_live) {
    return refuse("allow_live", `A stop at ${account().provider} may hang up on people who are talking. Tick the box if that is meant.`);
  }
  if (order.mode === "canary" && !(order.canary_share > 0 && order.canary_share <= 1)) {
    return refuse("canary_share", "The share is a number from 1 to 100.");
  }
  const key = newKey();
  const shadow = order.mode === "shadow";
  confirm({
    title: `${shadow ? "Record a stop of" : "Stop"} ${inWords(order.scope)} at ${order.account}?`,
    points: consequences(order),
    yes: shadow ? "Record it" : "Stop now",
    danger: !shadow,
    act: () => give(order, key),
  });
}

function inWords({ campaign_id: campaign, agent_id: agent, call_ids: calls, mobile_numbers: numbers }) {
  if (calls) return calls.length === 1 ? `call ${calls[0]}` : plural(calls.length, "call");
  if (numbers) {
    const named = numbers.length <= 3 ? numbers.map(maskNumber).join(", ") : plural(numbers.length, "number");
    return `${numbers.length <= 3 ? `${numbers.length === 1 ? "number" : "numbers"} ` : ""}${named}${campaign ? ` in campaign ${campaign}` : ""}`;
  }
  return campaign ? `campaign ${campaign}` : `agent ${agent}`;
}

function covered({ campaign_id: campaign, agent_id: agent, call_ids: calls, mobile_numbers: numbers }) {
  if (calls) return calls.length === 1 ? "The call is terminated if it still waits" : "Those of the calls that still wait are terminated";
  const of = numbers ? `to ${numbers.length === 1 ? "this number" : "these numbers"}${campaign ? " in this campaign" : ""}` : campaign ? "of this campaign" : "of this agent";
  return `Every known call ${of} that waits (registered or retry) is terminated`;
}

function consequences(order) {
  const { capabilities: can, provider } = account();
  const shadow = order.mode === "shadow";
  const once = order.hold === "0";
  const until = order.hold === "until-released" ? "until the order is released" : inHold(order.hold);
  const later = order.scope.call_ids
    ? once ? "They are not watched after that." : `Should they wait for another attempt, they are stopped again, ${until}.`
    : once ? "Calls that register later are not touched." : `Calls that register later are stopped too, ${until}.`;
  return [
    shadow && "Nothing is sent to the provider. Which calls would be stopped is recorded:",
    order.mode === "canary" && `Only ${Math.round(order.canary_share * 100)} % of the calls, chosen by hash, are stopped. The others are recorded.`,
    can.by_id && `${covered(order.scope)} by ID, up to ${can.batch_limit} in a request, ahead of everything else.`,
    order.reach === "everything" && `${provider} is also told to stop ${inWords(order.scope)} by itself. That reaches calls that were never seen here.`,
    order.allow_live ? "Calls in progress may be cut, in the middle of a conversation." : "Calls in progress go on.",
    later,
    waiting !== null && !order.scope.call_ids && `At this moment ${count(waiting)} ${waiting === 1 ? "call waits" : "calls wait"}, in all accounts together.`,
    `Recorded with every call: ${session.operator}, “${order.reason}”.`,
  ];
}

// crypto.randomUUID is missing on plain http from another machine; this is not.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function give(order, key) {
  try {
    const { order_id: id } = await session.api.post(["stop-orders"], order, { "Idempotency-Key": key });
    for (const field of ["stop-campaign", "stop-agent", "stop-calls", "stop-numbers", "stop-number-campaign", "stop-reason"]) $(field).value = "";
    $("stop-live").checked = false;
    $("stop-mode").value = "enforce";
    session.say(`Order ${id} is given (${new Date(clock.now() * 1000).toLocaleTimeString("en-GB")}).`);
  } catch (problem) {
    if (problem.field) {
      refuse(problem.field, problem.message);
    }
    throw problem;
  }
}

$("stop-form").addEventListener("submit", review);
$("stop-form").addEventListener("change", (event) => {
  if (event.target.name === "kind") $("stop-hold").value = HOLD_OF[kind()];
  fit();
});
$("stop-number-campaign").addEventListener("input", fit);
$("stop-hold").value = HOLD_OF.campaign;
