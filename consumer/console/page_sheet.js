// The sheet that shows one thing whole, an order or a call, and the way back to what it was opened from.

import { $, say, show } from "./page_dom.js";

let trail = [];

// `key` names what is shown; `again` shows it once more, for whoever comes back to it.
export function openSheet(key, title, nodes, again) {
  const sheet = $("details");
  sheet.dispatchEvent(new Event("reused"));
  if (!sheet.open) trail = [];
  const before = trail.findIndex((one) => one.key === key);
  if (before >= 0) trail.length = before;
  trail.push({ key, again });
  say($("details-title"), title);
  $("details-body").replaceChildren(...nodes);
  show($("details-back"), trail.length > 1);
  if (!sheet.open) sheet.showModal();
  else if (!sheet.contains(document.activeElement) || document.activeElement === sheet) $("details-title").focus();
  sheet.scrollTop = 0;
}

$("details-back").addEventListener("click", () => {
  trail.pop();
  trail.at(-1)?.again();
});
$("details-close").addEventListener("click", () => $("details").close());
