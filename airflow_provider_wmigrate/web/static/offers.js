// Why a button cannot work, and what to do about it: what a DAG has to say so that its runs can be dry runs or rollbacks.

import { tell } from "./dialogs.js";
import { h } from "./dom.js";
import { airflowLink } from "./outside.js";

/**
 * Why nothing of a kind can be started now; null: it can. `text` is one sentence, `todo` what the reader can do.
 * @param {{group: object, counts: object}} status
 */
export function whyNot(status, kind) {
  const { group } = status;
  const choices = kind === "rollback" ? group.rollback : group.migrate;
  if (kind === "rollback" && group.is_mapped && group.map_index === null) {
    return reason("A run rolls back one database.", ["Choose a database: the button is on its page."]);
  }
  if (kind === "rollback" && !group.rollback_dag) return noRollback(group);
  return blocked(group, kind) ?? (kind === "rollback" ? nothingApplied(status) : fixed(group, kind) ?? nothingPending(status)) ?? noMode(group, choices);
}

function blocked(group, kind) {
  const [dag, url] = kind === "rollback" ? [group.rollback_dag.dag_id, dagUrl(group.rollback_dag.dag_id)] : [group.dag_id, group.url];
  const paused = kind === "rollback" ? group.rollback_dag.is_paused : group.is_paused;
  const open = airflowLink(url, `Open ${dag}`);
  if (!group.rights[kind === "rollback" ? "rollback" : "migrate"]) {
    if (group.is_mapped && group.map_index !== null && kind !== "rollback") {
      return reason("A run works on every database of this group.", ["Go to the page of the group and start it there: the link is below the name of this database."]);
    }
    return reason(`You may not start runs of ${dag}.`, ["Ask whoever manages the rights in Airflow for the right to trigger this DAG."]);
  }
  if (kind !== "rollback" && group.is_stale) return reason(`The file of ${dag} is gone, or has no such DAG any more.`, ["Restore the file. ", open]);
  if (kind !== "rollback" && group.has_import_errors) return reason(`The file of ${dag} has import errors.`, ["Airflow's page of DAGs shows them. Fix them first. ", open]);
  if (paused) return reason(`${dag} is paused, so a run would not begin.`, ["Unpause the DAG: the switch is on its page in Airflow. ", open]);
  return null;
}

function nothingPending({ counts }) {
  if (counts.pending + counts.failed + counts.incomplete > 0) return null;
  const left = counts.left_out > 0;
  return reason("Nothing is pending.", [left ? "What is not applied is left out: the tab Plan says why." : "Every migration of the folder is applied. A new file in the folder appears here when Airflow has read the DAG file again."]);
}

function nothingApplied({ counts }) {
  if (counts.applied + counts.changed + counts.missing + counts.forgotten + counts.incomplete > 0) return null;
  return reason("Nothing is applied.", ["There is nothing that could be rolled back."]);
}

function fixed(group, kind) {
  const mode = kind === "dry_run" ? "dry_run" : "apply";
  if (group.migrate.modes.includes(mode)) return null;
  const only = group.migrate.modes[0] ?? "apply";
  return reason(`${group.dag_id} says that every run is ${only === "dry_run" ? "a dry run" : "for real"}.`,
    ["Let each run choose: give the DAG the param ", h("code", {}, "mode"), ", and the group the same. Then this button works."], withMode(group));
}

function noMode(group, choices) {
  return choices?.modes.length ? null : reason(`${group.dag_id} offers no mode.`, ["Correct its param ", h("code", {}, "mode"), "."]);
}

function noRollback(group) {
  return reason("No DAG rolls this database back, or none that you may read.",
    ["Add a DAG like this one, with the folder of your migrations. Then this button works, with a dry run too."], rollbackDag(group));
}

const reason = (text, todo, code = null) => ({ text, todo, code });
const dagUrl = (dagId) => `dags/${encodeURIComponent(dagId)}`;

/** Show a reason in front of the page. */
export function explain(title, { text, todo, code }) {
  const wide = code !== null;
  tell({ title, wide, body: [h("p", {}, text), h("p", {}, todo), wide && h("pre", { class: "snippet", tabindex: "0", role: "region", "aria-label": "What to write" }, h("code", {}, code))] });
}

const MODE = 'params={"mode": Param("apply", enum=["apply", "dry_run"])}';

/** The five lines of a DAG whose runs choose between applying and a dry run. */
function withMode({ dag_id: dag, group_id: group, conn_id: conn }) {
  return `from airflow.sdk import DAG, Param
from airflow_provider_wmigrate import MigrationTaskGroup

with DAG(
    ${quoted(dag)},
    schedule=None,
    max_active_runs=1,
    ${MODE},
):
    MigrationTaskGroup(
        ${quoted(group)},
        folder="../migrations",
        conn_id=${quoted(conn ?? "warehouse_db")},
        mode="{{ params.mode }}",
    )
`;
}

/** A DAG that rolls the same database back. */
function rollbackDag({ dag_id: dag, conn_id: conn }) {
  return `from airflow.sdk import DAG, Param
from airflow_provider_wmigrate import RollbackTaskGroup

with DAG(
    ${quoted(`${dag}_rollback`)},
    schedule=None,
    max_active_runs=1,
    params={
        "to": Param(type="string", pattern="^[0-9]+$"),
        "mode": Param("dry_run", enum=["apply", "dry_run"]),
    },
):
    RollbackTaskGroup(
        "rollback",
        folder="../migrations",
        conn_id=${quoted(conn ?? "warehouse_db")},
        to="{{ params.to }}",
        mode="{{ params.mode }}",
    )
`;
}

/** As Python writes a string; JSON's is one of them. */
const quoted = (text) => JSON.stringify(text);
