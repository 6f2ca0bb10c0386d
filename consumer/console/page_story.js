// The story of one call: its events, the orders that wanted it, each decision, request and answer, in the order of time.

import { limitsOf, valuesOf } from "./page_decision.js";
import { el } from "./page_dom.js";
import { OUTCOMES, mask, plural, told, wallClock } from "./page_words.js";

const EVENTS = {
  queued: "Registered at the provider",
  started: "Attempt started",
  finished: "Attempt finished",
  recording: "Recording is there",
  analysis: "Analysis is there",
  other: "Event",
};

export function storyOf(call) {
  const rows = story(call).map((line) =>
    el("li", { class: line.tone }, exact(line.at), el("p", {}, el("b", {}, line.what), line.more ? ` ${line.more}` : null), line.small ? el("small", {}, line.small) : null),
  );
  return el("ol", { class: "story", "aria-label": "Story of the call" }, ...rows);
}

const exact = (iso) => {
  const when = new Date(iso);
  const day = when.toDateString() === new Date().toDateString() ? "" : `${when.toLocaleDateString("en-GB", { day: "2-digit", month: "short" })} `;
  const text = `${day}${when.toLocaleTimeString("en-GB")}.${String(when.getMilliseconds()).padStart(3, "0")}`;
  return el("time", { datetime: iso, "data-exact": true, title: when.toLocaleString("en-GB", { timeZoneName: "short" }) }, text);
};

const where = (position) => (position ? `${position.topic}/${position.partition}@${position.offset}` : "");

function story(call) {
  // In the order in which it was learned, by the broker's clock: what a provider calls the time of an event varies.
  const lines = [...call.history.map(ofEvent), ...call.orders.flatMap(ofOrder), ...call.terminations.flatMap((one) => ofTermination(one, call))];
  return lines.filter((line) => line.at).sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || a.rank - b.rank);
}

function ofEvent(event) {
  const analysis = Object.keys(event.analysis).length ? mask(JSON.stringify(event.analysis)).slice(0, 300) : "";
  return {
    at: event.logged_at,
    rank: 0,
    tone: "event",
    what: EVENTS[event.type] ?? event.type,
    more: [event.status, event.attempt !== null && `attempt ${event.attempt + 1}`].filter(Boolean).join(", "),
    small: [analysis, event.source, atProvider(event), where(event.evidence)].filter(Boolean).join(" · "),
  };
}

const atProvider = ({ at, logged_at: logged }) =>
  at && Math.abs(Date.parse(at) - Date.parse(logged)) > 2000 ? `provider's time ${wallClock(new Date(at))}` : "";

const CHANGES = { admitted: "Order let through", held: "Order held", approved: "Order approved", rejected: "Order rejected", released: "Order released" };

// How an order of a rule came to be and who let it through; what ended an operator's. One that is not kept has no times.
function ofOrder(order) {
  const lines = (order.changes ?? []).map((one) => ({
    at: one.at,
    rank: 1,
    tone: "order",
    what: CHANGES[one.what] ?? `Order ${one.what}`,
    more: `by ${one.who}: ${told(one.reason)}`,
    small: [...limitsOf(one), order.order_id].join(" · "),
  }));
  if (order.by !== "rule") return lines;
  const seen = valuesOf(order.explanation).map(([name, value]) => `${name} = ${value}`);
  return [
    { at: order.created_at, rank: 0.5, tone: "order", what: `Rule ${order.who} matched`, more: `and wanted ${order.scope} stopped`, small: [order.explanation?.expression, ...seen].filter(Boolean).join(" · ") },
    ...lines,
  ];
}

function ofTermination(one, call) {
  const orders = one.orders.map((id) => call.orders.find((order) => order.order_id === id) ?? { order_id: id });
  const because = orders.map((order) => (order.who ? `${order.by === "rule" ? "rule " : ""}${order.who}: ${mask(order.reason)}` : ""));
  const lines = [
    {
      at: one.decided_at,
      rank: 1,
      tone: "decision",
      what: one.mode === "shadow" ? "Would be stopped" : "To be stopped",
      more: because.filter(Boolean).join("; "),
      small: [`was ${one.status_when_decided}`, ...one.orders, ...one.evidence.map(where)].join(" · "),
    },
  ];
  for (const request of one.requests) {
    if (!request.n) {
      lines.push({ at: one.decided_at, rank: 2, tone: "request", what: "Not asked for again at once:", more: "the request for the attempt before may have stopped it", small: request.request_id });
      continue;
    }
    const others = request.calls_in_request - 1;
    lines.push({ at: request.at, rank: 2, tone: "request", what: `Request ${request.n}`, more: others ? `with ${plural(others, "other call")}` : "alone", small: request.request_id });
    const http = request.http_status ? `HTTP ${request.http_status}` : "no HTTP answer";
    lines.push({ at: request.answered_at, rank: 3, tone: "request", what: `Answer: ${(request.answer ?? "").replaceAll("_", " ")}`, more: http, small: mask(request.detail) });
  }
  for (const look of one.looks) {
    lines.push({ at: look.at, rank: 3, tone: "request", what: "Looked at the provider", more: look.waiting ? "it still waits" : "it does not wait any more", small: mask(look.detail) });
  }
  const source = one.ended && call.history.find((event) => where(event.evidence) === where(one.ended.evidence));
  const settled = ["confirmed", "missed"].includes(one.outcome);
  if (one.ended && settled) lines.push({ at: source?.logged_at ?? one.ended.at, rank: 4, tone: `end ${one.outcome}`, what: verdict(one), more: missed(one), small: where(one.ended.evidence) });
  else if (one.detail && !one.ended) lines.push({ at: one.requests.at(-1)?.answered_at ?? one.decided_at, rank: 5, tone: "end", what: OUTCOMES[one.outcome] ?? one.outcome, small: mask(one.detail) });
  return lines;
}

const verdict = (one) => (one.outcome === "confirmed" ? "Confirmed: the call was cancelled" : `Missed: the call went ${one.ended.status}`);

function missed({ missed_by_seconds: seconds }) {
  if (seconds === null) return "";
  return seconds < 0.05 ? "as the first request was sent" : `${seconds.toFixed(1)} s before the first request`;
}
