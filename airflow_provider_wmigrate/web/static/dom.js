// Elements from values. Every text becomes a text node and no markup is ever parsed, so a hostile name stays a name.

const SVG = "http://www.w3.org/2000/svg";
const FORBIDDEN = new Set(["innerhtml", "outerhtml", "srcdoc", "style"]);

/** An HTML element. `attributes`: `onclick: fn` listens, `true` sets, `false`, `null` and `undefined` leave out. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (FORBIDDEN.has(name.toLowerCase())) throw new Error(`attribute ${name} is not allowed`);
    else if (name === "href" && !isSafe(String(value))) continue;
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Append texts and elements, however nested; nothing for null, undefined and false. */
export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Put new content in place of the old. */
export function replace(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

const OPERATED = "a[href], button, input, select, summary, [tabindex]";

/** Put what is in `fresh` in place of what is in `element`, and keep what a reader did there: what is unfolded, and the focus. */
export function renew(element, fresh) {
  const unfolded = new Set([...element.querySelectorAll("details[open]")].map(nameOf));
  const before = [...element.querySelectorAll(OPERATED)];
  const at = before.indexOf(document.activeElement);
  const name = at >= 0 && nameOf(before[at]);
  element.replaceChildren(...fresh.childNodes);
  for (const one of element.querySelectorAll("details")) if (unfolded.has(nameOf(one))) one.open = true;
  if (at < 0) return;
  const now = [...element.querySelectorAll(OPERATED)];
  const same = now.find((one) => nameOf(one) === name) ?? (now[at]?.tagName === before[at].tagName ? now[at] : null);
  same?.focus({ preventScroll: true });
}

/** What tells an element from the others of a view: its row's moment, where it leads, what it says. */
function nameOf(one) {
  const row = one.closest("tr, figure");
  const own = one.getAttribute("aria-label") ?? (one.matches("details") ? one.querySelector("summary") : one).textContent;
  return [one.tagName, row?.querySelector("time")?.dateTime ?? row?.querySelector("h2")?.textContent, one.getAttribute("href"), own].join("\n");
}

/** Only what leads to a web page: no javascript:, data: and the like. */
function isSafe(href) {
  try {
    return ["http:", "https:"].includes(new URL(href, document.baseURI).protocol);
  } catch {
    return false;
  }
}

let numbers = 0;

/** An id nobody else has, for labels. */
export function freshId(word) {
  numbers += 1;
  return `${word}-${numbers}`;
}
