// The buttons that start runs, for who may; what they ask before is in start.js.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { askApply, askRollBack } from "./start.js";

/** Apply, dry run, roll back and refresh, as far as the caller may and the DAG lets a run choose. */
export function showActions(status, { refresh, startFollowing }) {
  const { group, counts } = status;
  const blocked = group.is_paused ? "The DAG is paused" : group.is_stale ? "The DAG is gone" : null;
  const started = (run) => startFollowing(run);
  const act = (text, mark, ask, { kind = null, disabled = null } = {}) => {
    const why = blocked ?? disabled;
    return h("button", { type: "button", class: kind, disabled: why !== null, title: why, onclick: ask }, icon(mark), text);
  };
  const { rights, migrate, rollback } = group;
  const idle = counts.pending + counts.failed + counts.incomplete === 0 ? "Nothing is pending" : null;
  return h("div", { class: "row actions", role: "group", "aria-label": "Actions" },
    rights.migrate && migrate.modes.includes("apply") &&
      act("Apply…", "play", () => askApply(status, "apply", started), { kind: "primary", disabled: idle }),
    rights.migrate && migrate.modes.includes("dry_run") && act("Dry run…", "flask", () => askApply(status, "dry_run", started), { disabled: idle }),
    rights.rollback && rollback && group.rollback_dag &&
      act("Roll back…", "undo", () => askRollBack(status, null, started),
        { kind: "danger", disabled: group.rollback_dag.is_paused ? "The DAG that rolls back is paused" : null }),
    h("button", { type: "button", class: "quiet", "aria-label": "Refresh", title: "Refresh", onclick: refresh }, icon("refresh")));
}
