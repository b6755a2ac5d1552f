// The ways out of the frame. Its sandbox forbids new windows and leaving by itself; the page around it may be asked.

import { airflowUrl } from "./api.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";

/** A link to a page of Airflow. Inside Airflow it opens in Airflow's own window, standing alone it is a plain link. */
export function airflowLink(url, text, { mark = "link", label = null, quiet = false } = {}) {
  const href = airflowUrl(url);
  return h("a", { href, class: quiet ? "button quiet small" : "chip", "aria-label": label, onclick: leaveFrame }, icon(mark), text);
}

/** Where to log in, coming back to this page. */
export function loginLink() {
  const next = encodeURIComponent(new URL(outer()?.location.href ?? location.href).href);
  return h("a", { href: airflowUrl(`auth/login?next=${next}`), onclick: leaveFrame }, "Log in again");
}

/** Reload the page around this one, or this one. */
export function reload() {
  (outer() ?? window).location.reload();
}

function leaveFrame(event) {
  const parent = outer();
  if (!parent || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  // A link of the outer document may navigate it; one of this sandboxed document may not.
  const link = parent.document.createElement("a");
  link.href = event.currentTarget.href;
  parent.document.body.append(link);
  link.click();
  link.remove();
}

function outer() {
  try {
    return window.parent !== window && window.parent.document.body ? window.parent : null;
  } catch {
    return null;
  }
}
