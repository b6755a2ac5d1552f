// The head of one database's page: what and where it is, how it stands, notices and health. It folds to a few lines.

import { onlyLooks, showActions } from "./actions.js";
import { h, replace } from "./dom.js";
import { address, ago, count, moment, words } from "./format.js";
import { icon } from "./icons.js";
import { airflowLink } from "./outside.js";
import { runBadge, verb } from "./overview.js";
import { badge, banner, countsBar, isWhole, sourceBanner, when } from "./parts.js";
import { ALL, placeOf, routeTo } from "./router.js";

const KEPT = "wmigrate.head";
/** Pixels: below, the list comes first, unless the reader has chosen otherwise. */
const PHONE = 640;

/**
 * The head of a page, to be put above its tabs.
 * @returns {{elements: HTMLElement[], run: HTMLElement, show: (answer: object, doing: object) => void, showHealth: (answer: object | Node) => void}}
 */
export function groupHead(title) {
  const [top, more, notes, health, run] = ["head", "more", "notes", "health", "run"].map((name) => h("div", { class: `group-${name}` }));
  const state = { folded: (kept() ?? (innerWidth < PHONE ? "folded" : "open")) === "folded", drawn: null, notices: 0, health: null };
  const foldButton = h("button", { type: "button", class: "quiet fold-head", onclick: () => fold(!state.folded) });
  const gist = h("div", { class: "row gist" });
  const fold = (folded) => {
    state.folded = folded;
    keep(folded ? "folded" : "open");
    drawFold();
  };
  const drawFold = () => {
    for (const part of [more, notes, health]) part.classList.toggle("away", state.folded);
    foldButton.setAttribute("aria-expanded", String(!state.folded));
    foldButton.title = state.folded ? "Show details, notices and health" : "Fold details, notices and health";
    foldButton.setAttribute("aria-label", foldButton.title);
    replace(foldButton, state.folded ? "More" : "Less", icon(state.folded ? "down" : "up"));
    replace(gist, state.folded && [
      state.notices > 0 && h("button", { type: "button", class: "quiet small", onclick: () => fold(false) }, icon("alert"), count(state.notices, "notice")),
      state.health && h("button", { type: "button", class: "quiet small", onclick: () => fold(false) }, "Health ", badge(state.health))]);
  };
  replace(top, h("h1", {}, title));
  drawFold();
  return {
    run,
    elements: [top, run, more, notes, health],
    show(answer, doing) {
      // Drawn anew only if it says something else: who reads or tabs through it is not disturbed.
      const { group, schema_version: version, last_run: run, source, migrations } = answer;
      const key = JSON.stringify([group, version, run, source.reason, source.kind, source.run_id, migrations.map((one) => one.status)]);
      if (key === state.drawn) return;
      state.drawn = key;
      const told = notices(answer, doing.refresh).flat().filter(Boolean);
      state.notices = told.filter((one) => one.dataset.tone !== "failed").length;
      replace(top, ...line(answer, doing, foldButton), gist);
      replace(more, ...details(answer));
      replace(notes, told);
      drawFold();
    },
    showHealth(found) {
      const panel = found instanceof Node ? found : healthPanel(found);
      state.health = found.status ?? null;
      replace(health, panel);
      drawFold();
    },
  };
}

/** What stands there always: the name, where it is, how it stands, the buttons. */
function line(answer, doing, foldButton) {
  const { group, schema_version: version, last_run: run } = answer;
  const crumb = h("nav", { "aria-label": "Breadcrumb" }, h("a", { href: ALL, class: "chip" }, icon("back"), "All databases"));
  const facts = h("div", { class: "row facts-line" },
    group.server && h("span", { class: "chip server" }, icon("server"), h("b", { class: "mono" }, address(group.server))),
    group.map_index !== null && h("a", { class: "chip", href: routeTo(placeOf({ ...group, map_index: null })) }, icon("list"), "one database of ", h("b", { class: "mono" }, group.group_id)),
    group.environment && h("span", { class: "chip" }, icon("flask"), "environment ", h("b", {}, group.environment)),
    version && h("span", { class: "chip" }, icon("check"), "at version ", h("b", { class: "mono" }, version)),
    run && h("span", { class: "chip" }, icon("clock"), `last ${verb(run)} `, runBadge(run), when(run.ended_at ?? run.started_at ?? run.run_after)));
  return [
    h("div", { class: "row spread" }, crumb, foldButton),
    h("div", { class: "row spread head-line" }, h("h1", {}, icon("database"), group.conn_id ?? `${group.dag_id}.${group.group_id}`), showActions(answer, doing)),
    facts,
  ];
}

/** What can be folded away. */
function details({ group, counts, source }) {
  return [
    group.description && h("p", { class: "muted" }, group.description),
    h("div", { class: "row" },
      airflowLink(group.url, group.dag_display_name, { label: `DAG ${group.dag_display_name} in Airflow` }),
      h("span", { class: "chip" }, icon("list"), "group ", h("b", { class: "mono" }, group.group_id)),
      h("span", { class: "chip" }, icon("shield"), "ledger in ", h("b", { class: "mono" }, group.ledger_schema))),
    !isWhole(source) && h("div", { class: "head-counts" }, countsBar(counts)),
  ];
}

function notices({ group, source }, refresh) {
  return [source.reason?.code === "no_right_on_connection" || onlyLooks(group) ? viewer(group, source) : sourceBanner(source, refresh), ...flags(group)];
}

/** Whoever only looks is told once what that means, and what to ask for. */
function viewer(group, source) {
  const denied = [
    source.reason?.code === "no_right_on_connection" && `read the connection ${group.conn_id}`,
    onlyLooks(group) && `start runs of ${group.dag_id}`,
  ].filter(Boolean);
  const [head, rest] = {
    live: ["You may look. ", ""],
    report: ["As of the last run. ", `Shown is what the last run reported, ${ago(source.as_of)} (${moment(source.as_of)}). `],
    none: ["No run yet. ", "Shown is what the DAG file says; no run has looked at the database. "],
  }[source.kind];
  const notice = banner("pending", "person", h("strong", {}, head), rest, `You may not ${denied.join(" or ")}. Whoever manages the rights in Airflow can allow it.`);
  return ["no_right_on_connection", undefined].includes(source.reason?.code) ? notice : [sourceBanner(source), notice];
}

function flags(group) {
  const open = airflowLink(group.url, "Open the DAG");
  return [
    group.is_stale && banner("changed", "alert", h("strong", {}, "The DAG is gone. "), "Its file is gone, or has no such DAG any more. Nothing can be started until it is restored. ", open),
    !group.is_stale && group.has_import_errors && banner("changed", "alert", h("strong", {}, "The DAG file has errors. "), "What you see is from before the file was changed. Fix the errors first: Airflow's page of DAGs shows them. ", open),
    group.is_paused && banner("changed", "pause", h("strong", {}, "The DAG is paused. "), "Unpause it before you start a run. ", open),
    group.rights.rollback && group.rollback_dag?.is_paused && banner("unknown", "pause", "The DAG that rolls back, ",
      airflowLink(`dags/${encodeURIComponent(group.rollback_dag.dag_id)}`, group.rollback_dag.dag_id), ", is paused."),
  ];
}

function healthPanel({ status, reasons, checks }) {
  if (!checks.length) return null;
  const head = h("summary", {}, h("span", { class: "health-word" }, "Health"), badge(status),
    h("span", { class: "muted health-reason" }, reasons.length ? `${reasons[0]}${reasons.length > 1 ? ` (and ${reasons.length - 1} more)` : ""}` : "every check passed"));
  const rows = checks.map((check) => h("li", {}, badge(check.status), h("div", {},
    h("b", {}, words(check.name)), h("span", {}, ` ${check.reason}`), check.next_step && check.status !== "healthy" && h("p", { class: "muted" }, `Next: ${check.next_step}`))));
  return h("details", { class: "health card" }, head, h("ul", {}, rows));
}

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // forbidden in this browser: the head is open then
  }
}

function keep(value) {
  try {
    localStorage.setItem(KEPT, value);
  } catch {
    // It is open again the next time.
  }
}
