// The audit trail: filtered, a page at a time, and whether its chain adds up.

import { h, renew, replace } from "./dom.js";
import { isUnfinished } from "./follow.js";
import { duration, words } from "./format.js";
import { icon } from "./icons.js";
import { airflowLink } from "./outside.js";
import { badge, banner, empty, facts, finding, loading, problemBox, sourceBanner, when } from "./parts.js";
import { rewriteQuery, routeTo } from "./router.js";
import { table } from "./table.js";

const EVENTS = ["applied", "rolled_back", "failed", "rollback_failed", "failure_handled", "dry_run", "not_tried", "started", "outside_window", "planned", "approved", "rejected", "refused",
  "repaired", "drift_accepted", "watch_on", "watch_off", "changed_by_others", "baselined", "adopted", "baseline_undone", "kept_emptied", "reported", "alerted", "alert_failed", "healed", "backed_up", "backup_failed", "backup_removed",
  "ledger_created", "ledger_upgraded"];
const FILTERS = ["version", "event", "actor", "since", "until"];
const PAGE = 50;

/** The tab "audit". While a run goes on its rows are read again; the chain is, when the run has ended. */
export async function showAudit(panel, context) {
  const { route, place, ask, refresh } = context;
  const query = Object.fromEntries(FILTERS.map((name) => [name, route.query.get(name) ?? ""]));
  const before = []; // the pages gone through, for the way back
  const chain = h("div", {});
  const rows = h("div", { "aria-live": "polite" });
  let [asked, told] = [0, ""];

  const show = async (verify = false) => {
    const mine = (asked += 1);
    rewriteQuery(route, query);
    if (!rows.firstChild) replace(rows, loading(5));
    rows.setAttribute("aria-busy", "true");
    try {
      const answer = await read(verify);
      if (mine === asked) tell(answer, verify);
    } catch (problem) {
      if (mine === asked && problem.name !== "AbortError") {
        told = "";
        replace(rows, problemBox(problem, () => show()));
      }
    }
    if (mine === asked) rows.setAttribute("aria-busy", "false");
  };
  const update = async ({ last_run: run }) => {
    if (rows.getAttribute("aria-busy") === "true") return;
    const [mine, verify] = [asked, !isUnfinished(run?.state)];
    const answer = await read(verify);
    if (mine === asked) tell(answer, verify);
  };
  const read = (verify) => {
    const times = { since: edge(query.since, "00:00:00"), until: edge(query.until, "23:59:59.999") };
    return ask("audit", { ...query, ...times, before: before.at(-1), limit: PAGE, verify: verify || null });
  };
  const tell = (answer, verify) => {
    if (verify || !chain.firstChild) replace(chain, chainBox(answer.chain, answer.source, () => show(true)));
    const now = JSON.stringify([before.at(-1), answer.source.kind, answer.rows, answer.total_entries]);
    if (now === told) return;
    told = now;
    renew(rows, h("div", {}, answer.source.kind === "live" ? page(answer) : notRead(answer.source, context.status.source, refresh)));
  };
  const page = ({ rows: found, total_entries: total, next_before: next }) => {
    if (!found.length) return h("div", { class: "card" }, empty("shield", "No rows", "No row of the audit log matches."));
    const newer = h("button", { type: "button", class: "small", disabled: !before.length, onclick: () => { before.pop(); show(); } }, "Newer");
    const older = h("button", { type: "button", class: "small", disabled: next === null, onclick: () => { before.push(next); show(); } }, "Older");
    const words_ = total === null ? "" : `${total.toLocaleString("en")} rows match, shown are ${found.at(-1).position}–${found[0].position}`;
    return [auditTable(found, place), h("div", { class: "pager" }, newer, h("span", { class: "number" }, words_), older)];
  };
  replace(panel, h("div", { class: "stack" }, chain, filters(query, () => { before.length = 0; show(); }), rows));
  await show(true);
  return { update };
}

/** A day of the reader's as a moment for the server. */
function edge(day, time) {
  const date = day ? new Date(`${day}T${time}`) : null;
  return date && !Number.isNaN(date.getTime()) ? date.toISOString() : "";
}

function filters(query, changed) {
  const wire = (input, name) => {
    input.addEventListener("change", () => { query[name] = input.value.trim(); changed(); });
    return input;
  };
  const labelled = (text, input) => h("label", { class: "filter-field" }, h("span", {}, text), input);
  const event = h("select", {}, h("option", { value: "" }, "every event"), EVENTS.map((name) => h("option", { value: name }, words(name))));
  event.value = query.event;
  const form = h("form", { class: "filters", role: "search", "aria-label": "Filter the audit trail", onsubmit: (submitted) => submitted.preventDefault() },
    labelled("Version", wire(h("input", { value: query.version, inputmode: "numeric", autocomplete: "off", placeholder: "any" }), "version")),
    labelled("Event", wire(event, "event")),
    labelled("Who", wire(h("input", { value: query.actor, autocomplete: "off", placeholder: "anyone" }), "actor")),
    labelled("From", wire(h("input", { type: "date", value: query.since }), "since")),
    labelled("To", wire(h("input", { type: "date", value: query.until }), "until")));
  const clear = h("button", { type: "button", class: "small", onclick: () => {
    for (const name of FILTERS) query[name] = "";
    for (const input of form.querySelectorAll("input, select")) input.value = "";
    changed();
  } }, "Clear");
  form.append(clear);
  return form;
}

/** The notice above says why, unless it was read then. */
function notRead(source, before, refresh) {
  if (before.kind === "live") return sourceBanner(source, refresh);
  return h("div", { class: "card" }, empty("shield", "The audit log is not shown", "Only the database has it, and the database was not read. The notice at the top says why."));
}

function chainBox(chain, source, again) {
  if (source.kind !== "live") return null;
  const [count, hash] = (chain.head ?? "").split(":");
  const head = hash && [` ${Number(count).toLocaleString("en")} rows, head `, h("code", { title: chain.head }, hash.slice(0, 12)), "."];
  const check = h("button", { type: "button", class: "small", onclick: again }, icon("refresh"), "Check again");
  const said = {
    intact: ["applied", "shield", "The chain is intact.", " Every row follows from the one before it."],
    broken: ["failed", "unlink", "The chain is broken.", " Someone changed, removed or added rows behind the ledger's back."],
    timeout: ["changed", "clock", "The log is too long to check here.", " Use wmigrate audit verify."],
    not_checked: ["unknown", "shield", "The chain was not checked.", ""],
  }[chain.state];
  const box = banner(said[0], said[1], h("strong", {}, said[2]), said[3], head);
  if (chain.state !== "intact") box.append(check);
  return [box, chain.findings.length > 0 && h("ul", { class: "stack chain-findings" }, chain.findings.map(finding))];
}

function auditTable(rows, place) {
  return table("Audit trail, newest first", [
    { title: "#", number: true, cell: (row) => row.position },
    { title: "When", cell: (row) => when(row.at, { exact: true }) },
    { title: "Event", cell: (row) => badge(row.event) },
    { title: "Version", cell: (row) => row.version && h("a", { class: "mono", href: routeTo({ ...place, tab: "migrations", version: row.version }) }, row.version) },
    { title: "Who", cell: (row) => row.actor },
    { title: "Took", number: true, cell: (row) => duration(row.duration_ms) },
    { title: "Details", cell: (row) => details(row) },
  ], rows, { hideCaption: true });
}

function details(row) {
  const pairs = Object.entries(row.details).filter(([, value]) => value !== null && !(Array.isArray(value) && !value.length));
  const plain = (value) => (typeof value === "object" ? h("pre", { class: "json" }, JSON.stringify(value, null, 1)) : String(value));
  return h("details", { class: "row-details" }, h("summary", {}, row.details.error ? h("span", { class: "error-text" }, String(row.details.error).split("\n")[0].slice(0, 90)) : "Show"),
    facts([
      ...pairs.map(([name, value]) => [words(name), plain(value)]),
      ["DAG", row.dag_id], ["Run", row.run_id], ["Task", row.task_id && (row.url ? airflowLink(row.url, row.task_id, { mark: "log" }) : row.task_id)], ["Try", row.try_number],
      ["Hash", h("code", { class: "hash" }, row.hash)],
    ]));
}
