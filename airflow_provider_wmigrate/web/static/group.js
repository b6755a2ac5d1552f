// One database: its head, its tabs, and whichever tab is open. Stays while the reader moves between tabs.

import { about, groups } from "./api.js";
import { showActions } from "./actions.js";
import { h, replace } from "./dom.js";
import { follow, isUnfinished } from "./follow.js";
import { words } from "./format.js";
import { icon } from "./icons.js";
import { airflowLink } from "./outside.js";
import { announce, badge, banner, countsBar, empty, isWhole, loading, problemBox, sourceBanner, when } from "./parts.js";
import { cards, verb } from "./overview.js";
import { ALL, TABS, placeOf, routeTo } from "./router.js";
import { showAudit } from "./view_audit.js";
import { showCharts } from "./view_charts.js";
import { showGraph } from "./view_graph.js";
import { showHistory } from "./view_history.js";
import { showMigration } from "./view_migration.js";
import { showMigrations } from "./view_migrations.js";
import { showPlan } from "./view_plan.js";

const VIEWS = { migrations: showMigrations, graph: showGraph, plan: showPlan, history: showHistory, audit: showAudit, charts: showCharts };
const MARKS = { migrations: "list", graph: "graph", plan: "plan", history: "clock", audit: "shield", charts: "chart" };
const FRESH_MS = 15_000;

/** The page of one group inside `main`; `show(route)` opens a tab. */
export function groupPage(main, { dag, group }) {
  const place = { dag, group };
  const holders = Object.fromEntries(["head", "notes", "run", "health", "panel"].map((name) => [name, h("div", { class: `group-${name}` })]));
  const tabs = h("nav", { class: "tabs", "aria-label": "Views of this database" });
  const state = { status: null, at: 0, route: null, followed: null, moved: new AbortController(), left: false };
  replace(main, h("div", { class: "stack" }, holders.head, holders.run, holders.notes, holders.health, tabs, holders.panel));
  replace(holders.head, h("h1", {}, `${dag} · ${group}`));

  const load = async (fresh) => {
    if (!fresh && state.status && Date.now() - state.at < FRESH_MS) return state.status;
    if (!state.status) replace(holders.panel, loading());
    const answer = await about(place, "status");
    Object.assign(state, { status: answer, at: Date.now() });
    if (!state.left) {
      showHead(holders, answer, refresh, startFollowing);
      if (!isWhole(answer.source)) showHealth();
    }
    return answer;
  };
  const showHealth = async () => {
    try {
      const answer = await about(place, "health");
      if (!state.left) replace(holders.health, healthPanel(answer));
    } catch (problem) {
      if (!state.left) replace(holders.health, problem.status === 401 ? null : problemBox(problem));
    }
  };
  const startFollowing = (run) => {
    if (state.followed === run.run_id) return;
    state.followed = run.run_id;
    follow(holders.run, run, { isOver: () => state.left || state.followed !== run.run_id, onEnd: refresh });
  };
  const refresh = () => !state.left && show(state.route, true);

  const show = async (route, fresh = false) => {
    const moved = fresh ? state.route.tab !== route.tab : state.route !== null;
    state.moved.abort();
    state.moved = new AbortController();
    const { signal } = state.moved;
    const from = fresh ? undefined : state.route?.version;
    state.route = route;
    showTabs(tabs, route);
    try {
      const status = await load(fresh);
      if (signal.aborted) return;
      document.title = `${status.group.conn_id ?? dag}: ${words(route.version ?? route.tab)} · Migrations`;
      const context = { route, place, status, ask: (what, query) => about(place, what, query, signal), refresh, startFollowing, signal, from };
      const view = viewOf(route, status);
      const panel = h("section", { "aria-label": words(route.version ?? route.tab) });
      replace(holders.panel, panel);
      await view(panel, context);
      if (moved && !signal.aborted) announce(`${words(route.version ? `migration ${route.version}` : route.tab)} shown`);
    } catch (problem) {
      if (signal.aborted || problem.name === "AbortError") return;
      replace(holders.panel, problemBox(problem, refresh));
    } finally {
      if (!signal.aborted) main.setAttribute("aria-busy", "false");
    }
  };
  return {
    show,
    isOf: (route) => route.dag === dag && route.group === group,
    leave: () => {
      state.left = true;
      state.moved.abort();
    },
  };
}

function viewOf({ version, tab }, { source }) {
  if (tab === "migrations" && !version && isWhole(source)) return showDatabases;
  return version && tab === "migrations" ? showMigration : VIEWS[tab];
}

/** Of a mapped group as a whole: a card for each of its databases. */
async function showDatabases(panel, { status: { group } }) {
  const found = (await groups()).groups.filter((one) => one.group.dag_id === group.dag_id && one.group.group_id === group.group_id);
  const known = found.filter((one) => one.group.map_index !== null);
  replace(panel, known.length ? cards(known) : h("div", { class: "card" }, empty("database", "No run has said yet which databases there are", "Each gets a card here as soon as a run has begun.")));
}

function showTabs(nav, { dag, group, tab }) {
  const open = document.activeElement?.closest?.(".tabs") === nav;
  replace(nav, TABS.map((name) =>
    h("a", { href: routeTo({ dag, group, tab: name }), "aria-current": name === tab ? "page" : null }, icon(MARKS[name]), h("span", {}, name))));
  const current = nav.querySelector("[aria-current]");
  if (open) current?.focus();
  if (current) nav.scrollLeft = current.offsetLeft - nav.offsetLeft - 24;
}

function showHead(holders, answer, refresh, startFollowing) {
  const { group, counts, schema_version: version, last_run: run, source } = answer;
  const crumb = h("nav", { "aria-label": "Breadcrumb" }, h("a", { href: ALL, class: "chip" }, icon("back"), "All databases"));
  const chips = h("div", { class: "row" },
    airflowLink(group.url, group.dag_display_name, { label: `DAG ${group.dag_display_name} in Airflow` }),
    group.map_index === null ? h("span", { class: "chip minor" }, icon("list"), "group ", h("b", { class: "mono" }, group.group_id))
      : h("a", { class: "chip", href: routeTo(placeOf({ ...group, map_index: null })) }, icon("list"), "one database of ", h("b", { class: "mono" }, group.group_id)),
    group.environment && h("span", { class: "chip" }, icon("flask"), "environment ", h("b", {}, group.environment)),
    version && h("span", { class: "chip" }, icon("check"), "at version ", h("b", { class: "mono" }, version)),
    h("span", { class: "chip minor" }, icon("shield"), "ledger in ", h("b", { class: "mono" }, group.ledger_schema)),
    run && h("span", { class: "chip" }, icon("clock"), `last ${verb(run)} `, badge(run.state), when(run.ended_at ?? run.started_at ?? run.run_after)));
  replace(holders.head, crumb,
    h("div", { class: "row spread head-line" }, h("h1", {}, icon("database"), group.conn_id ?? `${group.dag_id}.${group.group_id}`),
      showActions(answer, { refresh, startFollowing })),
    group.description && h("p", { class: "muted" }, group.description), chips, !isWhole(source) && h("div", { class: "head-counts" }, countsBar(counts)));
  replace(holders.notes, sourceBanner(source, refresh), flags(group));
  if (run && isUnfinished(run.state)) startFollowing({ ...run, what: verb(run) });
}

function flags(group) {
  const open = airflowLink(group.url, "Open the DAG");
  return [
    group.is_stale && banner("changed", "alert", h("strong", {}, "The DAG is gone. "), "Its file is missing or no longer holds it; nothing can be started. ", open),
    !group.is_stale && group.has_import_errors && banner("changed", "alert", h("strong", {}, "The DAG file has errors. "), "What you see is from before. ", open),
    group.is_paused && banner("changed", "pause", h("strong", {}, "The DAG is paused. "), "Unpause it before you start a run. ", open),
    group.rights.rollback && group.rollback_dag?.is_paused && banner("unknown", "pause", "The DAG that rolls back, ",
      airflowLink(`dags/${encodeURIComponent(group.rollback_dag.dag_id)}`, group.rollback_dag.dag_id), ", is paused."),
  ];
}

function healthPanel({ status, reasons, checks }) {
  if (!checks.length && !reasons.length) return null;
  const head = h("summary", {}, h("span", { class: "health-word" }, "Health"), badge(status),
    h("span", { class: "muted health-reason" }, reasons.length ? `${reasons[0]}${reasons.length > 1 ? ` (and ${reasons.length - 1} more)` : ""}` : "every check passed"));
  const rows = checks.map((check) => h("li", {}, badge(check.status), h("div", {},
    h("b", {}, words(check.name)), h("span", {}, ` ${check.reason}`), check.next_step && check.status !== "healthy" && h("p", { class: "muted" }, `Next: ${check.next_step}`))));
  return h("details", { class: "health card" }, head, h("ul", {}, rows));
}
