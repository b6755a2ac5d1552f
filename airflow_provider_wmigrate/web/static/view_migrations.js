// The list of migrations, with search and filter.

import { h, replace } from "./dom.js";
import { count, duration, words } from "./format.js";
import { virtualGrid } from "./grid.js";
import { stateIcon } from "./icons.js";
import { airflowLink } from "./outside.js";
import { announce, badge, empty, when } from "./parts.js";
import { rewriteQuery, routeTo } from "./router.js";
import { tone } from "./format.js";

const COLUMNS = [
  { key: "version", title: "Version", sort: true }, { key: "name", title: "Name" }, { key: "status", title: "Status" },
  { key: "when", title: "When", sort: true }, { key: "who", title: "Who" }, { key: "took", title: "Took", sort: true }, { key: "links", title: "Run and log" },
];
const KEYS = { version: (one) => BigInt(one.version), when: (one) => Date.parse(happened(one)) || 0, took: (one) => one.duration_ms ?? -1 };
const ORDER = ["failed", "incomplete", "changed", "missing", "pending", "left_out", "forgotten", "applied"];

/** When it was applied, or failed. */
const happened = (one) => one.failure?.at ?? one.applied_at;

/** The tab "migrations". */
export function showMigrations(panel, { route, place, status, from }) {
  let all = status.migrations;
  if (!all.length) return replace(panel, empty("list", "No migrations", "There is no migration in the folder of this group."));
  const query = { q: route.query.get("q") ?? "", status: route.query.get("status") ?? "", sort: route.query.get("sort") ?? "-version" };
  const sorting = () => ({ key: query.sort.replace("-", ""), down: query.sort.startsWith("-") });
  const onSort = (key) => { update({ sort: query.sort === `-${key}` ? key : `-${key}` }); grid.sorted(sorting()); };
  const grid = virtualGrid({ columns: COLUMNS, label: "Migrations", cells: (one) => cells(one, place), sort: sorting(), onSort, isHigh });
  const search = h("input", { type: "search", value: query.q, placeholder: "Search version or name", "aria-label": "Search migrations by version or name",
    autocomplete: "off", spellcheck: "false", oninput: () => update({ q: search.value }) });
  const chips = h("div", { class: "row chips", role: "group", "aria-label": "Filter by status" });
  const found = h("p", { class: "muted number found" });
  const none = h("div", {});

  const update = (change) => {
    for (const name of Object.keys(query)) query[name] = change[name] ?? query[name];
    if (!("renewed" in change)) rewriteQuery(route, { ...query, sort: query.sort === "-version" ? "" : query.sort });
    const items = list();
    showChips(chips, all, query, update);
    replace(found, items.length === all.length ? count(all.length, "migration") : `${items.length.toLocaleString("en")} of ${count(all.length, "migration")}`);
    grid.element.style.setProperty("--digits", Math.max(...all.map((one) => one.version.length)));
    if ("q" in change || "status" in change) announce(found.textContent);
    grid.element.hidden = !items.length;
    replace(none, !items.length && empty("question", "Nothing found", "No migration matches the search and the filter.",
      h("button", { type: "button", onclick: () => { search.value = ""; update({ q: "", status: "" }); search.focus(); } }, "Show all")));
    if ("renewed" in change) grid.renew(items);
    else grid.show(items, "from" in change ? items.findIndex((one) => one.version === from) : -1);
  };
  const list = () => filtered(all, query).sort(comparison(sorting()));
  replace(panel, h("div", { class: "toolbar" }, search, chips, found), grid.element, none);
  update(from ? { from } : {});
  return { update: (answer) => { all = answer.migrations; update({ renewed: true }); } };
}

/** Whether a row needs room for what it has to say. */
const isHigh = (one) => Boolean(one.failure ?? one.reason);

function showChips(holder, all, query, update) {
  const numbers = new Map();
  for (const one of all) numbers.set(one.status, (numbers.get(one.status) ?? 0) + 1);
  const states = ORDER.filter((state) => numbers.has(state) || query.status === state);
  const focused = [...holder.children].indexOf(document.activeElement);
  const chip = (state, text, number) => h("button", { type: "button", class: "small filter", "data-tone": tone(state), "aria-pressed": String(query.status === state),
    onclick: () => update({ status: query.status === state ? "" : state }) }, state && stateIcon(state), `${text} `, h("span", { class: "number" }, number.toLocaleString("en")));
  replace(holder, chip("", "all", all.length), states.map((state) => chip(state, words(state), numbers.get(state) ?? 0)));
  holder.children[focused]?.focus();
}

function filtered(all, { q, status }) {
  const terms = q.toLowerCase().split(/\s+/).filter(Boolean);
  return all.filter((one) => {
    const text = `${one.version} ${one.name} ${words(one.name)} ${words(one.status)} ${one.description}`.toLowerCase();
    return (!status || one.status === status) && terms.every((term) => text.includes(term));
  });
}

function comparison({ key, down }) {
  const value = KEYS[key] ?? KEYS.version;
  const compare = (one, other) => (one < other ? -1 : Number(one > other));
  return (a, b) => (compare(value(a), value(b)) || compare(KEYS.version(a), KEYS.version(b))) * (down ? -1 : 1);
}

function cells(one, { dag, group }) {
  const href = routeTo({ dag, group, tab: "migrations", version: one.version });
  const { failure } = one;
  const run = failure?.run_url ?? one.run_url ?? null;
  const log = failure?.url ?? one.log_url ?? one.last_task?.url ?? null;
  const why = failure?.error ?? one.reason;
  const who = failure?.actor ?? one.actor;
  return [
    h("a", { href, class: "mono version-link", "aria-label": `Migration ${one.version} ${words(one.name)}` }, one.version),
    h("span", { class: "name-cell", title: why || one.description || null }, h("span", { class: "name-text" }, words(one.name)),
      why ? h("span", { class: failure ? "error-text sub" : "muted sub" }, why) : one.description && h("span", { class: "muted sub" }, one.description)),
    h("span", { class: "row tight" }, badge(one.status), failure?.direction === "rollback" && badge("rollback_failed"), one.last_task?.state === "running" && badge("running")),
    when(happened(one)),
    h("span", { class: "muted", title: who }, who ?? "–"),
    h("span", { class: "number" }, duration(one.duration_ms)),
    h("span", { class: "row tight" },
      run && airflowLink(run, "Run", { quiet: true, label: `Run that ${failure ? "tried" : "applied"} ${one.version}` }),
      log && airflowLink(log, "Log", { mark: "log", quiet: true, label: `Log of ${one.version}` })),
  ];
}
