// One migration: what it is, its scripts, what happened to it.

import { onlyLooks } from "./actions.js";
import { h, replace } from "./dom.js";
import { count, duration, words } from "./format.js";
import { icon } from "./icons.js";
import { explain, whyNot } from "./offers.js";
import { airflowLink } from "./outside.js";
import { badge, banner, empty, facts, sourceBanner, when } from "./parts.js";
import { routeTo } from "./router.js";
import { reader, scriptText } from "./review.js";
import { askRollBack, IN_LEDGER } from "./start.js";
import { table } from "./table.js";

/** The detail of `route.version`. */
export async function showMigration(panel, { route, place, status, ask, refresh, startFollowing }) {
  const heading = h("h2", { tabindex: "-1" }, `${route.version}`);
  replace(panel, back(place), heading);
  const answer = await ask(`migrations/${route.version}`);
  const { migration: one, sql, rollback, events, dependents, source } = answer;
  const order = status.migrations.findIndex((other) => other.version === one.version);
  const around = (step, text) => {
    const other = status.migrations[order + step];
    return order >= 0 && other && h("a", { class: "button small", href: detail(place, other.version), title: words(other.name) }, text, " ", h("span", { class: "mono" }, other.version));
  };
  replace(heading, h("span", { class: "mono" }, one.version), ` ${words(one.name)} `, badge(one.status));
  replace(panel, h("div", { class: "stack" },
    h("div", { class: "row spread" }, back(place), h("div", { class: "row" }, around(-1, "Before"), around(1, "After"))),
    h("div", { class: "row spread" }, heading, rollBackButton(status, order, startFollowing)),
    source.kind !== status.source.kind && sourceBanner(source, refresh),
    one.failure && failed(one.failure),
    one.status === "left_out" && banner("unknown", "minus", h("strong", {}, "No run will apply it here: "), `${one.reason}.`),
    one.status === "changed" && banner("changed", "pencil", h("strong", {}, "The file was edited after it was applied. "), "The database has the text as it was applied. Restore the file, or accept the edit with ", h("code", {}, "wmigrate repair"), "."),
    one.status === "missing" && banner("missing", "question", h("strong", {}, "It is applied, but its file is gone. "), "Restore the file, or roll the migration back."),
    one.status === "incomplete" && banner("failed", "alert", h("strong", {}, "It was started outside a transaction and did not finish. "),
      answer.statements_total !== null && `${answer.statements_done} of ${answer.statements_total} statements are done. `, "Apply again: the run goes on where this one stopped."),
    h("div", { class: "columns" }, h("div", { class: "card" }, about(answer, place, dependents)), h("div", { class: "card stack" }, h("h3", {}, "What happened"), history(events))),
    h("div", { class: "columns scripts" }, script("SQL", sql, reader(place, one.version, "sql")), script("Rollback", rollback, reader(place, one.version, "rollback"), one.has_rollback))));
  heading.focus({ preventScroll: true });
  // Coming from far down a long list: begin at the beginning.
  if (panel.getBoundingClientRect().top < 0) panel.scrollIntoView();
}

function rollBackButton(status, order, startFollowing) {
  const { group } = status;
  const one = status.migrations[order];
  if (!one || !IN_LEDGER.includes(one.status) || onlyLooks(group)) return null;
  const before = status.migrations.slice(0, order).filter((other) => IN_LEDGER.includes(other.status)).at(-1);
  const why = whyNot(status, "rollback");
  const act = why ? () => explain("Roll back is not possible now", why) : () => askRollBack(status, before?.version ?? "0", startFollowing);
  return h("button", { type: "button", class: why ? "danger off" : "danger", title: why && `Not possible now: ${why.text}`, onclick: act },
    icon("undo"), "Roll back this and all after it…");
}

function about({ migration: one, checksum_algorithm: algorithm, statements_done: done, statements_total: total }, place, dependents) {
  const links = (versions) => versions.length > 0 && h("span", { class: "row tight" }, versions.map((version) => h("a", { class: "mono", href: detail(place, version) }, version)));
  const changed = one.applied_checksum && one.checksum && one.applied_checksum !== one.checksum;
  return facts([
    ["Description", one.description],
    ["Depends on", links(one.dependencies) || "nothing"],
    ["Needed by", links(dependents) || "nothing"],
    [one.status === "incomplete" ? "Started" : "Applied", one.applied_at && h("span", {}, when(one.applied_at, { exact: true }), one.actor && [" by ", h("b", {}, one.actor)])],
    ["Took", one.duration_ms !== null && h("span", { class: "number" }, duration(one.duration_ms))],
    ["Statements", total !== null && `${done} of ${total}`],
    ["Run", one.run_url && airflowLink(one.run_url, one.run_id ?? "the run")],
    ["Log", one.log_url && airflowLink(one.log_url, one.task_id ?? "the task", { mark: "log" })],
    ["Last task", one.last_task && h("span", { class: "row tight" }, badge(one.last_task.state ?? "none"), airflowLink(one.last_task.url, `try ${one.last_task.try_number}`, { mark: "log" }))],
    [changed ? `File's ${algorithm}` : algorithm, one.checksum && h("code", { class: "hash" }, one.checksum)],
    [`Applied ${algorithm}`, changed && h("code", { class: "hash" }, one.applied_checksum)],
  ]);
}

function failed({ direction, at, actor, error, run_id: run, run_url: runUrl, url }) {
  return banner("failed", "cross", h("strong", {}, direction === "rollback" ? "Its rollback failed " : "It failed "), when(at), actor && [", run by ", h("b", {}, actor)], ". ",
    h("span", { class: "error-text" }, error),
    h("span", { class: "row tight" }, runUrl && airflowLink(runUrl, run), url && airflowLink(url, "Log", { mark: "log" })));
}

/** What a dry run found out, or why it tried nothing. */
function found({ dry_run: dry, event, reason, locks, rows }) {
  if (!dry) return null;
  return [
    !["dry_run", "not_tried"].includes(event) && h("p", { class: "muted" }, "in a dry run"),
    reason && h("p", { class: "muted" }, reason),
    rows > 0 && h("p", { class: "muted" }, count(rows, "row")),
    locks.length > 0 && h("details", {}, h("summary", {}, count(locks.length, "lock")),
      h("ul", {}, locks.map((lock) => h("li", {}, h("code", {}, lock.relation), lock.parts ? ` (${lock.parts} chunks or partitions)` : "", ` ${lock.mode}${lock.dropped ? ", dropped" : ""}`)))),
  ];
}

/** Events of migrations as a table. */
export function history(events, { withVersion = null } = {}) {
  if (!events.length) return empty("clock", "Nothing yet");
  return table("Events, newest first", [
    { title: "When", cell: (event) => when(event.at) },
    ...(withVersion ? [{ title: "Version", cell: (event) => event.version && h("a", { class: "mono", href: detail(withVersion, event.version) }, event.version) }] : []),
    { title: "Event", cell: (event) => [badge(event.event), event.error && h("p", { class: "error-text" }, event.error), event.felt && h("p", { class: "muted" }, event.felt), found(event)] },
    { title: "Who", cell: (event) => event.actor ?? "–" },
    { title: "Took", number: true, cell: (event) => duration(event.duration_ms) },
    { title: "Log", cell: (event) => event.url && airflowLink(event.url, "Log", { mark: "log", label: `Log of ${words(event.event)} ${event.version ?? ""}` }) },
  ], events, { hideCaption: true });
}

function script(title, shown, readFrom, expected = true) {
  const { text, origin, file, reason } = shown;
  const from = { dag: "as deployed", folder: "as deployed", ledger: "as it was applied, from the ledger" }[origin];
  return h("div", { class: "stack script" },
    h("div", { class: "row" }, h("h3", {}, title), file && h("code", { class: "muted" }, file), from && h("span", { class: "muted" }, from)),
    text !== null ? scriptText(shown, `${title} script`, readFrom)
      : h("div", { class: "card" }, empty("log", expected ? "The text is not shown here" : "No rollback script", expected ? reason : "This migration cannot be rolled back by a script.")));
}

const detail = ({ dag, group }, version) => routeTo({ dag, group, tab: "migrations", version });
const back = ({ dag, group }) => h("a", { class: "chip", href: routeTo({ dag, group, tab: "migrations" }) }, icon("back"), "All migrations");
