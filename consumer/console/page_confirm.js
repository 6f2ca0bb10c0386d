// One dialog for everything that changes something: it says in words what will happen, and asks why where that is not known.

import { $, el, say, show } from "./page_dom.js";

let act = null;

// points: sentences. yes: the button's words. reason: whether it is asked for; share: a percentage to begin with, if one is.
// act(reason, share) does it; its error is shown here.
export function confirm({ title, points, yes, danger = false, reason = false, share = null, act: action }) {
  act = action;
  say($("confirm-title"), title);
  $("confirm-points").replaceChildren(...points.filter(Boolean).map((point) => el("li", {}, point)));
  show($("confirm-reason-field"), reason);
  $("confirm-reason").value = "";
  show($("confirm-share-field"), share !== null);
  $("confirm-share").value = share ?? "";
  say($("confirm-error"), "");
  say($("confirm-yes"), yes);
  $("confirm-yes").className = danger ? "danger" : "primary";
  $("confirm").showModal();
  (reason ? $("confirm-reason") : $("confirm-yes")).focus();
}

async function decided(event) {
  event.preventDefault();
  const asked = !$("confirm-reason-field").hidden;
  const reason = $("confirm-reason").value.trim();
  if (asked && !reason) {
    say($("confirm-error"), "Say why; it is kept with the order.");
    $("confirm-reason").focus();
    return;
  }
  const share = Number($("confirm-share").value);
  if (!$("confirm-share-field").hidden && !(share >= 1 && share <= 100)) {
    say($("confirm-error"), "Give a share between 1 and 100 percent.");
    $("confirm-share").focus();
    return;
  }
  $("confirm-yes").disabled = true;
  say($("confirm-error"), "");
  try {
    await act(reason, share);
    $("confirm").close();
  } catch (problem) {
    say($("confirm-error"), problem.message);
  } finally {
    $("confirm-yes").disabled = false;
  }
}

$("confirm").querySelector("form").addEventListener("submit", decided);
// The Enter that was held down to get here is not the one that confirms.
$("confirm").addEventListener("keydown", (event) => event.repeat && event.preventDefault());
$("confirm-no").addEventListener("click", () => $("confirm").close());
