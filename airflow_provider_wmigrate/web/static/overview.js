// All databases at a glance.

import { groups } from "./api.js";
import { h, replace } from "./dom.js";
import { count, duration, tone, words } from "./format.js";
import { icon } from "./icons.js";
import { airflowLink } from "./outside.js";
import { badge, banner, countsBar, empty, loading, problemBox, when } from "./parts.js";
import { placeOf, routeTo } from "./router.js";

const WORDS = { current: "Up to date", pending: "Pending", attention: "Needs attention", unknown: "No run yet" };
const TONES = { current: "applied", pending: "pending", attention: "failed", unknown: "unknown" };
const ORDER = ["attention", "pending", "unknown", "current"];

let newest = 0;

/** Called when another view takes the page: an answer that comes later is not shown. */
export const leaveOverview = () => { newest += 1; };

/** The cards of every group the caller may read, or of one DAG; a single one is opened at once. */
export async function showOverview(main, dag) {
  const mine = (newest += 1);
  const again = () => showOverview(main, dag);
  const title = h("h1", {}, "Migrations");
  replace(main, h("div", { class: "stack" }, title, loading(3)));
  let answer;
  try {
    answer = await groups();
  } catch (problem) {
    if (mine !== newest) return undefined;
    replace(main, h("div", { class: "stack" }, title, problemBox(problem, again)));
    return main.setAttribute("aria-busy", "false");
  }
  if (mine !== newest) return undefined;
  const found = answer.groups.filter((one) => !dag || one.group.dag_id === dag || one.group.rollback_dag?.dag_id === dag);
  if (dag && found.length === 1) {
    return location.replace(routeTo(placeOf(found[0].group)));
  }
  found.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || a.group.dag_id.localeCompare(b.group.dag_id));
  const refresh = h("button", { type: "button", onclick: again }, icon("refresh"), "Refresh");
  replace(main, h("div", { class: "stack" },
    h("div", { class: "row spread" },
      h("div", {}, title, h("p", { class: "muted" }, summary(found))), refresh),
    found.length ? cards(found) : nothing(dag)));
  main.setAttribute("aria-busy", "false");
  return undefined;
}

function summary(found) {
  const attention = found.filter((one) => one.state === "attention").length;
  const pending = found.filter((one) => one.state === "pending").length;
  const words_ = [count(found.length, "database")];
  if (attention) words_.push(attention === 1 ? "1 needs attention" : `${attention} need attention`);
  if (pending) words_.push(`${pending} with pending migrations`);
  const unknown = found.filter((one) => one.state === "unknown").length;
  if (unknown) words_.push(`${unknown} without a run yet`);
  if (found.length && !attention && !pending && !unknown) words_.push("nothing is pending");
  return words_.join(" · ");
}

function nothing(dag) {
  const text = "A DAG with a MigrationTaskGroup appears here as soon as Airflow has read its file, for everyone who may read that DAG.";
  return empty("database", dag ? `${dag} holds no migration group` : "No migration groups", text);
}

/** A card for each group, or each database of a mapped one. */
export const cards = (found) => h("ul", { class: "cards" }, found.map(card));

function card({ group, state, migrations, counts, schema_version: version, last_run: run, source }) {
  const name = group.conn_id ?? `${group.dag_id}.${group.group_id}`;
  const head = h("div", { class: "row spread" },
    h("h2", { class: "card-title" }, icon("database"),
      h("a", { href: routeTo(placeOf(group)), class: "cover" }, name)),
    h("span", { class: "badge", "data-tone": TONES[state] ?? tone(state) }, h("span", { class: "dot", "aria-hidden": "true" }), WORDS[state] ?? state));
  const place = h("p", { class: "muted row tight" },
    h("span", { class: "mono" }, group.dag_display_name), h("span", { "aria-hidden": "true" }, "·"), h("span", { class: "mono" }, placeOf(group).group),
    group.environment && [h("span", { "aria-hidden": "true" }, "·"), group.environment]);
  const flags = [group.is_paused && "paused", group.is_stale && "DAG file gone", group.has_import_errors && "import errors"].filter(Boolean);
  return h("li", { class: "card group-card", "data-tone": TONES[state] },
    head, place,
    h("div", {}, countsBar(counts)),
    h("div", { class: "row spread card-foot" },
      h("span", { class: "muted" }, version ? ["at version ", h("b", { class: "mono strong" }, version)] : count(migrations, "migration")),
      run ? h("span", { class: "row tight" }, runBadge(run, `${verb(run)} `), answerLinks(run), when(run.ended_at ?? run.started_at ?? run.run_after),
        run.duration_ms !== null && h("span", { class: "muted number" }, duration(run.duration_ms))) : h("span", { class: "muted" }, "no run yet")),
    flags.length > 0 && h("p", { class: "row tight" }, flags.map((flag) => badge("warning", flag))),
    source.kind === "none" && state !== "unknown" && banner("unknown", "clock", "No run has read this database yet."));
}

/** A run's state, as the end of a sentence: Airflow's word, unless a person is asked. */
export const stateWord = ({ state, asks = [] }) => (asks.length ? "waits for an answer" : state === "success" ? "succeeded" : words(state));

/** The state of a run; `before` what it is the state of. */
export const runBadge = (run, before = "") => badge(run.asks.length ? "awaiting_input" : run.state, before + stateWord(run));

/** Where a person answers what a run asks. */
export const answerLinks = ({ asks = [] }) => asks.map(({ task_id: task, url }) => airflowLink(url, "Answer in Airflow", { mark: "person", label: `Answer ${task} in Airflow` }));

/** What a run was for, in one word. */
export function verb(run) {
  if (run.mode === "dry_run") return "dry run";
  return run.direction === "rollback" ? "rollback" : "apply";
}
