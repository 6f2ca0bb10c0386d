// The page: signing in, the live stream, and who shows what of it.

import { Api } from "./page_api.js";
import { startCalls } from "./page_call.js";
import { $, say, show } from "./page_dom.js";
import { showGlance } from "./page_glance.js";
import { follow } from "./page_live.js";
import { openOrder, showOrders, startOrders } from "./page_orders.js";
import { showRules, startRules } from "./page_rules.js";
import { showStop, startStop } from "./page_stop.js";
import { clock, refreshTimes, span, wallClock } from "./page_words.js";

const TOKEN = "callbreaker.token";
const SAID_MS = 8000;

let stop = () => {};
let heardAt = null;
let lostAt = null;
let saidTimer = 0;

function tokenOfAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

function signIn(token) {
  stop();
  const api = new Api(token);
  const session = { api, role: null, operator: null, say: announce };
  heardAt = lostAt = null;
  sessionStorage.setItem(TOKEN, token);
  stop = follow(api, {
    heard: (name, value) => (name === "hello" ? greet(session, value) : name === "snapshot" && showAll(value)),
    alive: () => {
      heardAt = Date.now();
      lostAt = null;
      showConnection();
    },
    lost: () => {
      lostAt ??= Date.now();
      showConnection();
    },
    refused: () => signOut("This token is not valid here (any more)."),
  });
}

function greet(session, { operator, role }) {
  Object.assign(session, { operator, role });
  $("token").value = "";
  say($("operator"), `${operator}, ${role}`);
  startStop(session);
  startCalls(session, openOrder);
  startRules(session);
  if (heardAt === null) startOrders(session);
  inside(true);
}

function signOut(why = "") {
  stop();
  sessionStorage.removeItem(TOKEN);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  lostAt = heardAt = null;
  showConnection();
  inside(false);
  say($("sign-in-error"), why);
  $("token").focus();
}

function inside(yes) {
  for (const id of ["console", "live", "who"]) show($(id), yes);
  show($("to-stop"), yes && !$("stop-form").hidden);
  show($("signed-out"), !yes);
}

function showAll(now) {
  clock.set(now.now);
  showGlance(now);
  showOrders(now);
  showRules(now);
  showStop(now);
  refreshTimes();
}

function showConnection() {
  const stale = lostAt !== null;
  document.body.classList.toggle("stale", stale);
  show($("stale"), stale);
  if (stale) {
    $("live").className = "lost";
    say($("live"), "reconnecting");
    const since = `Reconnecting since ${wallClock(new Date(lostAt))} (${span((Date.now() - lostAt) / 1000)}).`;
    const figures = heardAt ? ` The figures are those of ${wallClock(new Date(heardAt))}.` : " The service does not answer.";
    say($("stale"), since + figures);
  } else {
    $("live").className = "live";
    say($("live"), "live");
  }
}

function announce(text, bad = false) {
  clearTimeout(saidTimer);
  $("said").className = bad ? "bad" : "";
  $("said").hidePopover();
  $("said").showPopover(); // above whatever dialog is open
  say($("said"), text);
  saidTimer = setTimeout(() => {
    say($("said"), "");
    $("said").hidePopover();
  }, SAID_MS);
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  say($("sign-in-error"), token ? "" : "Enter a token.");
  if (token) signIn(token);
});
$("sign-out").addEventListener("click", () => signOut());
$("to-stop").addEventListener("click", (event) => {
  event.preventDefault();
  $("stop").scrollIntoView({ block: "start" });
  $("stop-form").querySelector("[data-kind]:not([hidden]) input, [data-kind]:not([hidden]) textarea").focus({ preventScroll: true });
});
setInterval(() => {
  refreshTimes();
  if (lostAt !== null) showConnection();
}, 1000);

addEventListener("hashchange", () => {
  const token = tokenOfAddress();
  if (token) signIn(token);
});

const token = tokenOfAddress() ?? sessionStorage.getItem(TOKEN);
if (token) signIn(token);
else inside(false);
