// One call: how it stands, why it was or was not stopped, its story, and what the rules say of its events.

import { $, el, incomplete, say } from "./page_dom.js";
import { openSheet } from "./page_sheet.js";
import { storyOf } from "./page_story.js";
import { ordersAimedAt, rulesOn, verdictOn } from "./page_why.js";
import { OUTCOMES, maskNumber } from "./page_words.js";

let session = null;
let openOrder = () => {};

// `open` shows an order, given its id.
export function startCalls(given, open) {
  session = given;
  openOrder = open;
}

export async function showCall(account, id) {
  try {
    const [call, why] = await Promise.all([session.api.get("calls", account, id), session.api.get("calls", account, id, "why")]);
    showWhole(call, why);
  } catch (problem) {
    if ($("details").open) session.say(problem.message, true);
    else say($("find-error"), problem.message);
  }
}

function showWhole(call, why) {
  const facts = [
    ["Status", call.status ? `${call.status}, attempt ${call.attempt + 1}` : "no event is kept any more"],
    ["Account", `${call.account}${call.provider ? ` (${call.provider})` : ""}`],
    ["Campaign", call.campaign_id ?? "—"],
    ["Agent", call.agent_id ?? "—"],
    ["Number", maskNumber(call.number)],
    ["Connected", call.connected ? "yes" : "never"],
    ["Outcome", outcomes(call.terminations)],
  ];
  const nodes = [
    ...incomplete(call),
    verdictOn(call, why),
    el("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    ...ordersAimedAt(why, openOrder),
    el("h3", {}, "Story"),
    storyOf(call),
    ...rulesOn(why),
  ];
  openSheet(`call ${call.account}/${call.call_id}`, `Call ${call.call_id}`, nodes, () => showCall(call.account, call.call_id));
}

function outcomes(terminations) {
  if (!terminations.length) return "nothing was decided about it";
  const tags = terminations.map((one) => el("span", { class: `tag k-${one.outcome in OUTCOMES ? one.outcome : "under-way"}` }, OUTCOMES[one.outcome] ?? one.outcome));
  return el("span", {}, ...tags);
}

$("find-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const id = $("find-id").value.trim();
  say($("find-error"), id ? "" : "Say which call.");
  if (!id) return;
  $("find-go").disabled = true;
  await showCall($("find-account").value, id);
  $("find-go").disabled = false;
});
