// Rules: the safety lever that holds all of them back, and the mode that each is in.

import { confirm } from "./page_confirm.js";
import { $, el, keep, say, show } from "./page_dom.js";
import { count, mask, plural, setTime, timeOf } from "./page_words.js";

const MODES = ["shadow", "canary", "enforce"];
const MEANING = {
  shadow: "Its orders are decided and recorded, and nothing is sent for them.",
  canary: "Of what it orders, the share of the calls below is stopped; the rest is recorded.",
  enforce: "What it orders from now on is stopped.",
};

let session = null;
let engaged = false;

export function startRules(given) {
  session = given;
  for (const node of document.querySelectorAll("#rules-list > li")) offer(node);
  show($("lever"), session.role !== "viewer");
}

export function showRules(now) {
  engaged = now.lever.engaged;
  say($("rules-count"), now.rules.length ? plural(now.rules.length, "rule") : "");
  show($("rules-none"), !now.rules.length);
  $("rules").classList.toggle("held-back", engaged);
  say($("lever"), engaged ? "Release the safety lever" : "Pull the safety lever");
  $("lever").className = engaged ? "primary" : "warned";
  show($("lever-told"), engaged);
  if (engaged) {
    $("lever-told").replaceChildren(
      el("b", {}, "The safety lever is engaged: nothing is sent that only rules want."),
      ` ${mask(now.lever.reason)} — ${now.lever.who}, `,
      timeOf(now.lever.at),
    );
  }
  show($("rules-file"), Boolean(now.rules_file));
  if (now.rules_file) {
    const { version, hash, at } = now.rules_file;
    $("rules-file").replaceChildren(`Version ${version} of the rules, `, el("code", {}, hash.slice(0, 12)), ", in force since ", timeOf(at));
  }
  keep($("rules-list"), now.rules, (one) => one.name, makeRule, changeRule);
}

function makeRule(rule) {
  const part = (name, tag = "span") => el(tag, { "data-part": name });
  const node = el(
    "li",
    {},
    el(
      "article",
      { class: "rule", "aria-label": `Rule ${rule.name}` },
      el("b", {}, rule.name),
      part("mode"),
      part("trouble"),
      el("span", { class: "by" }, part("fired"), part("last", "time"), part("set")),
      el("span", { class: "actions" }, ...MODES.map((mode) => el("button", { type: "button", class: "quiet", "data-mode": mode, onclick: () => askMode(node.rule, mode) }, mode))),
    ),
  );
  return node;
}

function changeRule(node, rule) {
  node.rule = rule;
  const part = (name) => node.querySelector(`[data-part="${name}"]`);
  const share = rule.canary_campaigns.length ? plural(rule.canary_campaigns.length, "campaign") : `${Math.round((rule.canary_share ?? 1) * 1000) / 10} %`;
  say(part("mode"), rule.mode === "canary" ? `canary ${share}` : rule.mode);
  part("mode").className = `chip ${{ enforce: "good", canary: "warn" }[rule.mode] ?? "idle"}`;
  say(part("trouble"), rule.suspended.length ? "not asked any more: too slow" : rule.failures ? `${plural(rule.failures, "failure")} here` : "");
  part("trouble").className = rule.suspended.length || rule.failures ? "chip bad" : "";
  part("trouble").title = rule.suspended.map(mask).join("; ");
  part("mode").title = `version ${rule.version}, ${rule.hash}`;
  say(part("fired"), rule.orders ? `${plural(rule.orders, "order")}, last ` : "no order yet");
  show(part("last"), Boolean(rule.last_fired_at));
  if (rule.last_fired_at) setTime(part("last"), rule.last_fired_at);
  say(part("set"), rule.set ? ` · set by ${rule.set.who}, configured as ${rule.configured_mode}: ${mask(rule.set.reason)}` : "");
  offer(node);
}

function offer(node) {
  for (const button of node.querySelectorAll("[data-mode]")) {
    show(button, session.role !== "viewer" && (button.dataset.mode !== node.rule.mode || button.dataset.mode === "canary"));
  }
}

function askMode(rule, mode) {
  confirm({
    title: `Set rule ${rule.name} to ${mode}?`,
    points: [MEANING[mode], "Orders that it has made keep the mode they have.", rule.orders ? `It has made ${plural(rule.orders, "order")} so far.` : "It has made no order yet."],
    yes: `Set to ${mode}`,
    danger: mode === "enforce",
    reason: true,
    share: mode === "canary" ? Math.round((rule.canary_share ?? 0.1) * 100) : null,
    act: async (reason, percent) => {
      const canary = mode === "canary" ? { canary: { share: percent / 100 } } : {};
      const changed = await session.api.put(["rules", rule.name, "mode"], { mode, reason, ...canary });
      session.say(`Rule ${rule.name} is in mode ${changed.mode}.`);
    },
  });
}

function askLever() {
  const wanted = !engaged;
  confirm({
    title: wanted ? "Pull the safety lever?" : "Release the safety lever?",
    points: wanted
      ? ["Rules go on deciding and recording, and nothing is sent for them.", "What operators order is sent as before.", "It stays so until somebody releases it."]
      : ["What rules want is sent again.", "What waited meanwhile is looked at anew: calls that no order in force stops any more are left alone."],
    yes: wanted ? "Pull it" : "Release it",
    danger: wanted,
    reason: true,
    act: async (reason) => {
      const lever = await session.api.put(["safety-lever"], { engaged: wanted, reason });
      session.say(lever.engaged ? "The safety lever is engaged." : "The safety lever is released.");
    },
  });
}

$("lever").addEventListener("click", askLever);
