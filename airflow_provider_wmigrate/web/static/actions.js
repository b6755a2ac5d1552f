// The buttons that start runs; what they ask before is in start.js. One that cannot work says why, and what to do.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { explain, whyNot } from "./offers.js";
import { askApply, askRollBack } from "./start.js";

const ACTIONS = [
  { kind: "apply", text: "Apply", mark: "play", look: "primary", ask: (status, started) => askApply(status, "apply", started) },
  { kind: "dry_run", text: "Dry run", mark: "flask", look: null, ask: (status, started) => askApply(status, "dry_run", started) },
  { kind: "rollback", text: "Roll back", mark: "undo", look: "danger", ask: (status, started) => askRollBack(status, null, started) },
];

/** Whether the caller only looks: may start nothing of this group, whatever its DAGs say. */
export const onlyLooks = ({ rights, is_mapped: mapped, map_index: index }) => !rights.migrate && !rights.rollback && !(mapped && index !== null);

/** Apply, dry run, roll back and refresh. Who may start nothing is told so once, and has no buttons. */
export function showActions(status, { refresh, startFollowing }) {
  const buttons = onlyLooks(status.group) ? [] : ACTIONS.map((one) => button(one, status, startFollowing));
  return h("div", { class: "row actions", role: "group", "aria-label": "Actions" }, buttons,
    h("button", { type: "button", class: "quiet", "aria-label": "Refresh", title: "Refresh", onclick: refresh }, icon("refresh")));
}

function button({ kind, text, mark, look, ask }, status, started) {
  const why = whyNot(status, kind);
  const act = why ? () => explain(`${text} is not possible now`, why) : () => ask(status, started);
  const off = why && `Not possible now: ${why.text} Press to read what to do.`;
  return h("button", { type: "button", class: [look, why && "off"].filter(Boolean).join(" ") || null, title: off, onclick: act },
    icon(mark), `${text}…`);
}
