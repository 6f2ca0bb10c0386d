// Is it working: the condition, the figures and the accounts.

import { $, el, fillBar, keep, say, show } from "./page_dom.js";
import { OUTCOMES, count, list, mask, plural, setTime, size, span } from "./page_words.js";

const CHECKS = {
  kafka: "Kafka",
  orders: "stop orders",
  correlate: "calls",
  guard: "rules' totals",
  terminate: "sending",
  console: "termination log",
};
const RATE_OVER_SECONDS = 5;
const NONE = "none since start";

export function showGlance(now) {
  showCondition(now);
  showFigures(now);
  showAccounts(now.accounts);
}

// Checks that are not passed only because what is known is still being read back are no trouble: they show how far it is.
const readingBack = (now, check) => !check.ok && now.reading_back.find((reading) => reading.role === check.name);

function troubles(now) {
  const failing = now.checks.filter((check) => !check.ok && !readingBack(now, check));
  const found = [...new Set(failing.map((check) => check.reason))].map((text) => ({ bad: true, text }));
  for (const account of now.accounts) {
    if (account.held) found.push({ bad: true, text: `${account.account} is held by its provider's answer: ${mask(account.held)}. ${waits(account)}` });
    else if (account.breaker === "open") found.push({ bad: true, text: `${account.account} pauses because the provider fails. ${waits(account)}` });
    else if (account.breaker === "half_open") found.push({ bad: false, text: `${account.account} tries its provider again with one request. ${waits(account)}` });
  }
  if (now.lever.engaged) found.unshift({ bad: true, text: `The safety lever is engaged, by ${now.lever.who}: ${mask(now.lever.reason)}` });
  for (const alert of now.alerts) found.push({ bad: true, text: mask(alert.text) });
  const waiting = now.orders.filter((order) => order.state === "awaiting_approval").length;
  if (waiting) found.push({ bad: false, text: `${plural(waiting, "order")} of rules ${waiting === 1 ? "awaits" : "await"} approval` });
  return found;
}

const waits = ({ backlog }) => `${plural(backlog, "termination")} ${backlog === 1 ? "waits" : "wait"} to be sent.`;

function showCondition(now) {
  const found = troubles(now);
  const bad = found.some((one) => one.bad);
  const notReady = bad ? "Not ready" : "Reading back";
  const words = !now.ready ? notReady : bad ? "Needs attention" : now.reading_back.length ? "Reading back" : "Working";
  say($("condition-title"), words);
  $("condition").className = bad ? "bad" : found.length || words === "Reading back" ? "warn" : "good";
  document.title = words === "Working" ? "callbreaker" : `${words} – callbreaker`;
  keep($("troubles"), found, (one) => one.text, (one) => el("li", {}, one.text), () => {});
  keep($("reading"), now.reading_back, (one) => one.role, makeReading, changeReading);
  keep(
    $("checks"),
    now.checks,
    (check) => check.name,
    () => el("li"),
    (node, check) => {
      const reading = readingBack(now, check);
      node.className = check.ok ? "good" : reading ? "" : "bad";
      node.title = check.name === "kafka" ? `${now.kafka.embedded ? "embedded, " : ""}${now.kafka.servers}` : check.reason;
      say(node, `${CHECKS[check.name] ?? check.name} ${check.ok ? "✓" : reading ? percent(reading) : "✗"}`);
    },
  );
}

const percent = (reading) => `${Math.floor(100 * reading.share)} %`;

function makeReading() {
  return el("li", {}, el("span"), el("div", { class: "bar", "aria-hidden": "true" }));
}

function changeReading(row, reading) {
  const [words, bar] = row.children;
  const left = reading.seconds_left === null ? "" : ` · ${span(Math.max(1, reading.seconds_left))} left`;
  const events = `${count(reading.records)} of ${count(reading.of_records)} events`;
  const partitions = `${reading.partitions} of ${plural(reading.of_partitions, "partition")}`;
  say(words, `Reading back ${CHECKS[reading.role] ?? reading.role}: ${partitions} · ${percent(reading)} · ${events}${left}`);
  fillBar(bar, [
    { name: "under-way", count: reading.records },
    { name: "to-come", count: reading.of_records - reading.records },
  ]);
}

function showFigures(now) {
  const counts = now.webhooks_per_second ?? [];
  const rate = counts.slice(-RATE_OVER_SECONDS).reduce((sum, n) => sum + n, 0) / RATE_OVER_SECONDS;
  say($("webhooks"), counts.length ? (rate && rate < 10 ? rate.toFixed(1) : count(Math.round(rate))) : "—");
  const highest = Math.max(1, ...counts);
  const points = counts.map((n, i) => `${i + 0.5},${15.5 - (15 * n) / highest}`);
  $("spark-line").setAttribute("points", points.join(" "));
  const last = now.accounts.map((account) => account.last_webhook_at).filter(Boolean).sort().at(-1);
  setTime($("last-webhook"), last ?? null, NONE);

  say($("calls"), count(now.calls));
  say($("calls-hint"), now.webhooks === null ? "webhooks come in elsewhere" : `${plural(now.webhooks, "webhook")} since the start`);
  say($("waiting"), count(now.waiting));
  say($("disk"), size(now.views_bytes));

  const { total, segments } = byOutcome(now.terminations);
  say($("terminations"), count(total));
  say($("shadow"), now.terminations.shadow ? `and ${count(now.terminations.shadow)} only recorded, in shadow` : "");
  fillBar($("outcomes-bar"), segments);
  keep(
    $("outcomes"),
    segments.filter((one) => one.count > 0 || ["under-way", "confirmed", "missed"].includes(one.name)),
    (one) => one.name,
    (one) => el("li", { class: `k-${one.name}` }, el("b"), ` ${one.words}`),
    (node, one) => say(node.firstElementChild, count(one.count)),
  );
}

function byOutcome(terminations) {
  const meant = { ...terminations, shadow: 0 };
  const total = Object.values(meant).reduce((sum, n) => sum + n, 0);
  const over = Object.keys(OUTCOMES).map((name) => ({ name, words: OUTCOMES[name], count: meant[name] ?? 0 }));
  const underWay = total - over.reduce((sum, one) => sum + one.count, 0);
  return { total, segments: [over[0], { name: "under-way", words: "under way", count: underWay }, ...over.slice(1)] };
}

function showAccounts(accounts) {
  show($("accounts-none"), !accounts.length);
  keep($("accounts-list"), accounts, (one) => one.account, makeAccount, changeAccount);
}

function makeAccount(account) {
  const can = account.capabilities;
  const whole = can.everything.length && `a whole ${list(can.everything.map((kind) => kind.replaceAll("-", " ")))}${can.everything_spares_live ? "" : ", which may cut live calls"}`;
  const able = [can.by_id && `calls by ID, ${can.batch_limit} a request`, whole].filter(Boolean).join("; ");
  const cell = (label, part, extra = "") =>
    el("td", { role: "cell", "data-label": label, class: extra }, el("span", { "data-part": part }));
  return el(
    "tr",
    { role: "row" },
    el("th", { scope: "row", role: "rowheader" }, account.account, el("small", {}, `${account.provider} stops ${able}`)),
    cell("Sending", "sending"),
    cell("To be sent", "backlog", "n"),
    cell("Rate", "rate"),
    el("td", { role: "cell", "data-label": "Last webhook" }, el("time", { "data-part": "webhook" })),
    el("td", { role: "cell", "data-label": "Last success" }, el("time", { "data-part": "success" })),
  );
}

function changeAccount(row, account) {
  const part = (name) => row.querySelector(`[data-part="${name}"]`);
  const sending = part("sending");
  const [words, tone] = inSending(account);
  say(sending, words);
  sending.className = `chip ${tone}`;
  sending.title = account.held ? mask(account.held) : "";
  say(part("backlog"), count(account.backlog));
  const { requests_per_second: rate, burst } = account.rate;
  say(part("rate"), `${rate}/s, burst ${burst}`);
  setTime(part("webhook"), account.last_webhook_at, account.capabilities.webhooks ? NONE : "sends none");
  setTime(part("success"), account.last_success_at, "none yet");
}

function inSending(account) {
  if (account.held) return ["held", "bad"];
  if (account.breaker === null) return ["elsewhere", "idle"];
  if (account.breaker === "open") return ["paused: provider fails", "bad"];
  if (account.breaker === "half_open") return ["trying again", "warn"];
  return account.backlog ? ["sending", "good"] : ["ready", "good"];
}

