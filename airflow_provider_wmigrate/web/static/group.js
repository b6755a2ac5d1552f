// One database: its head, its tabs, and whichever tab is open. Stays while the reader moves between tabs.

import { about, groups, Problem } from "./api.js";
import { h, renew, replace } from "./dom.js";
import { follow, isUnfinished } from "./follow.js";
import { words } from "./format.js";
import { groupHead } from "./head.js";
import { icon } from "./icons.js";
import { announce, empty, isWhole, loading, problemBox } from "./parts.js";
import { cards, verb } from "./overview.js";
import { TABS, routeTo } from "./router.js";
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
/** Made again, beside what is seen, whenever a run has gone on; the list and the graph know what to change. */
const MADE_AGAIN = new Set([showPlan, showHistory, showCharts, showMigration]);

/** The page of one group inside `main`; `show(route)` opens a tab. */
export function groupPage(main, { dag, group }) {
  const place = { dag, group };
  const [head, panelHolder] = [groupHead(`${dag} · ${group}`), h("div", { class: "group-panel" })];
  const leaving = new AbortController();
  const tabs = h("nav", { class: "tabs", "aria-label": "Views of this database" });
  const state = { status: null, at: 0, route: null, followed: null, moved: new AbortController(), left: false, view: null, busy: false };
  replace(main, h("div", { class: "stack" }, head.elements, tabs, panelHolder));

  const load = async (fresh) => {
    if (!fresh && state.status && Date.now() - state.at < FRESH_MS) return state.status;
    if (!state.status) replace(panelHolder, loading());
    const answer = await read();
    if (!state.left && !isWhole(answer.source)) showHealth();
    return answer;
  };
  const read = async () => {
    const answer = await about(place, "status");
    Object.assign(state, { status: answer, at: Date.now() });
    if (state.left) return answer;
    head.show(answer, { refresh, startFollowing });
    const run = answer.last_run;
    if (run && isUnfinished(run.state)) startFollowing({ ...run, what: verb(run) });
    return answer;
  };
  const showHealth = async () => {
    try {
      const answer = await about(place, "health");
      if (!state.left) head.showHealth(answer);
    } catch (problem) {
      if (!state.left && problem.status !== 401) head.showHealth(problemBox(problem));
    }
  };
  const startFollowing = (run) => {
    if (state.followed === run.run_id) return;
    state.followed = run.run_id;
    follow(head.run, run, {
      isOver: () => state.left || state.followed !== run.run_id,
      onStep: quietly,
      onEnd: async () => {
        if (!state.view?.update) return refresh();
        await quietly();
        return showHealth();
      },
      place,
    });
  };
  const refresh = () => !state.left && show(state.route, true);
  /** Read where everything stands, and show it in place: what is looked at stays where it is. */
  const quietly = async () => {
    if (state.busy || state.left || document.hidden) return;
    state.busy = true;
    try {
      const answer = await read();
      if (!state.left) await state.view?.update?.(answer);
    } catch (problem) {
      // The next time, or the button, tells what the server has; or the reader is somewhere else by now.
      if (!(problem instanceof Problem) && problem.name !== "AbortError") throw problem;
    } finally {
      state.busy = false;
    }
  };
  // Whoever comes back to the page sees what has happened meanwhile, and a run that somebody else started.
  document.addEventListener("visibilitychange", () => !document.hidden && state.status && Date.now() - state.at > FRESH_MS && quietly(), { signal: leaving.signal });

  const show = async (route, fresh = false) => {
    const moved = fresh ? state.route.tab !== route.tab : state.route !== null;
    state.moved.abort();
    state.moved = new AbortController();
    const { signal } = state.moved;
    const from = fresh ? undefined : state.route?.version;
    Object.assign(state, { route, view: null });
    showTabs(tabs, route);
    try {
      const status = await load(fresh);
      if (signal.aborted) return;
      document.title = `${status.group.conn_id ?? dag}: ${words(route.version ?? route.tab)} · Migrations`;
      const view = viewOf(route, status);
      const panel = h("section", { "aria-label": words(route.version ?? route.tab) });
      const kept = {};
      const make = async (holder, now) => {
        const said = [essence(now)];
        const ask = async (what, query) => {
          const answer = await about(place, what, query, signal);
          said.push(essence(answer));
          return answer;
        };
        return { said, shown: await view(holder, { route, place, status: now, ask, refresh, startFollowing, signal, from, kept }) };
      };
      replace(panelHolder, panel);
      let made = await make(panel, status);
      const makeAgain = async (now) => {
        const fresh = h("section", {});
        const again = await make(fresh, now);
        if (signal.aborted || again.said.join() === made.said.join()) return;
        made = again;
        renew(panel, fresh);
      };
      if (!signal.aborted) state.view = MADE_AGAIN.has(view) ? { update: makeAgain } : made.shown?.update ? made.shown : null;
      if (moved && !signal.aborted) announce(`${words(route.version ? `migration ${route.version}` : route.tab)} shown`);
    } catch (problem) {
      if (signal.aborted || problem.name === "AbortError") return;
      replace(panelHolder, problemBox(problem, refresh));
    } finally {
      if (!signal.aborted) main.setAttribute("aria-busy", "false");
    }
  };
  return {
    show,
    isOf: (route) => route.dag === dag && route.group === group,
    leave: () => {
      state.left = true;
      leaving.abort();
      state.moved.abort();
    },
  };
}

/** What an answer says, whenever it was asked for. */
const essence = (answer) => JSON.stringify(answer, (key, value) => (["as_of", "age_seconds"].includes(key) ? undefined : value));

function viewOf({ version, tab }, { source }) {
  if (tab === "migrations" && !version && isWhole(source)) return showDatabases;
  return version && tab === "migrations" ? showMigration : VIEWS[tab];
}

/** Of a mapped group as a whole: a card for each of its databases. */
async function showDatabases(panel, { status: { group } }) {
  const found = (await groups()).groups.filter((one) => one.group.dag_id === group.dag_id && one.group.group_id === group.group_id);
  const known = found.filter((one) => one.group.map_index !== null);
  replace(panel, known.length ? cards(known) : h("div", { class: "card" }, empty("database", "No run has told yet which databases there are", "Each database gets a card here when a run has begun.")));
}

function showTabs(nav, { dag, group, tab }) {
  const open = document.activeElement?.closest?.(".tabs") === nav;
  replace(nav, TABS.map((name) =>
    h("a", { href: routeTo({ dag, group, tab: name }), "aria-current": name === tab ? "page" : null }, icon(MARKS[name]), h("span", {}, name))));
  const current = nav.querySelector("[aria-current]");
  if (open) current?.focus();
  if (current) nav.scrollLeft = current.offsetLeft - nav.offsetLeft - 24;
}
