// Questions that stand in front of the page: they keep the focus, and Escape answers no.

import { freshId, h, replace } from "./dom.js";
import { problemBox } from "./parts.js";

const STOPS = "a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex='0']";

/**
 * Ask in a dialog.
 * @param {{title: string, body: Node[], submit: string, danger?: boolean, onSubmit: () => Promise<void>}} question
 *   `onSubmit` may throw: the dialog stays and says why
 * @returns {{dialog: HTMLDialogElement, button: HTMLButtonElement, waits: (why: string | null) => void}} `waits` switches the button off
 *   for as long as there is a reason, and shows that beside it
 */
export function ask({ title, body, submit, danger = false, onSubmit }) {
  const [id, before] = [freshId("dialog"), document.activeElement];
  const trouble = h("div", {});
  const button = h("button", { class: danger ? "primary danger" : "primary", type: "submit" }, submit);
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const hint = h("p", { class: "muted why", id: freshId("why") });
  const form = h("form", { method: "dialog" }, h("h2", { id }, title), body, trouble, h("div", { class: "actions" }, hint, cancel, button));
  button.setAttribute("aria-describedby", hint.id);
  const waits = (why) => {
    button.disabled = why !== null;
    replace(hint, why);
  };
  const dialog = h("dialog", { class: "wide", "aria-labelledby": id }, form);
  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy || button.disabled) return;
    busy = true;
    button.setAttribute("aria-busy", "true");
    replace(trouble);
    try {
      await onSubmit();
      dialog.close();
    } catch (problem) {
      replace(trouble, problemBox(problem));
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
    }
  });
  stand(dialog, before);
  return { dialog, button, waits };
}

/** Say something that a person reads and closes. */
export function tell({ title, body, wide = false }) {
  const [id, before] = [freshId("dialog"), document.activeElement];
  const close = h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close");
  const inside = h("div", { class: "told" }, h("h2", { id }, title), body, h("div", { class: "actions" }, close));
  const dialog = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": id }, inside);
  stand(dialog, before);
}

/** Show it; when it closes, the focus goes back to where it was: to the same button, if the page was drawn anew meanwhile. */
function stand(dialog, before) {
  dialog.addEventListener("keydown", (event) => keepFocus(event, dialog));
  dialog.addEventListener("close", () => {
    dialog.remove();
    const again = before?.isConnected ? before : [...document.querySelectorAll("main button")].find((one) => one.textContent === before?.textContent);
    again?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** Tab goes round inside; the browser's own bars and the page around the frame are not part of the question. */
function keepFocus(event, dialog) {
  if (event.key !== "Tab") return;
  const stops = [...dialog.querySelectorAll(STOPS)].filter((stop) => stop.checkVisibility());
  const [first, last] = [stops[0], stops.at(-1)];
  const leaves = event.shiftKey ? document.activeElement === first : document.activeElement === last;
  if (!leaves) return;
  event.preventDefault();
  (event.shiftKey ? last : first).focus();
}
