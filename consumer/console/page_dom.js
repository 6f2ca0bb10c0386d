// Making and changing elements. Text only ever becomes text: nothing here, or anywhere on the page, reads markup.

export const $ = (id) => document.getElementById(id);

// el("p", {class: "hint", onclick: f}, "text", child, null) — null and false children are left out.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return node;
}

// What an answer says of itself while the service still reads back what it is made from; nothing once that is done.
export const incomplete = (answer) =>
  answer.incomplete ? [el("p", { class: "verdict warn" }, el("b", {}, "Not everything yet:"), ` ${answer.incomplete}.`)] : [];

export function say(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

export function show(node, shown) {
  node.hidden = !shown;
}

// Make the children of `parent` follow `items`, one each, found again by key, so that focus and selection stay.
export function keep(parent, items, keyOf, make, change) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    known.delete(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
    change(child, item);
  }
  for (const child of known.values()) child.remove();
}

// Segments [{class, count}] side by side, as wide as their share of all.
export function fillBar(bar, segments) {
  const present = segments.filter((segment) => segment.count > 0);
  keep(
    bar,
    present,
    (segment) => segment.name,
    (segment) => el("span", { class: `c-${segment.name}` }),
    (node, segment) => (node.style.flexGrow = segment.count),
  );
}
