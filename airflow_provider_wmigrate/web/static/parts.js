// The small parts every view is made of.

import { h, freshId } from "./dom.js";
import { ago, moment, since, tone, words } from "./format.js";
import { icon, stateIcon } from "./icons.js";
import { loginLink } from "./outside.js";

/** A state as drawing and word. */
export function badge(state, text = words(state)) {
  return h("span", { class: "badge", "data-tone": tone(state) }, stateIcon(state), text);
}

/** A moment: how long ago (the day, when that is long), the exact time on hover and for machines. */
export function when(iso, { exact = false } = {}) {
  if (!iso) return h("span", { class: "muted" }, "–");
  return h("time", { datetime: iso, title: exact ? ago(iso) : moment(iso), class: "number" }, exact ? moment(iso) : ago(iso));
}

/** A line in a coloured box. */
export function banner(kind, mark, ...content) {
  const role = kind === "failed" ? "alert" : null;
  return h("div", { class: "banner", "data-tone": kind, role }, icon(mark), h("div", { class: "grow" }, content));
}

/** What failed, and what the reader can do. */
export function problemBox(problem, again = null) {
  const button = again && h("button", { class: "small", type: "button", onclick: again }, icon("refresh"), "Try again");
  if (problem.status === 401) {
    return banner("changed", "person", h("strong", {}, "Your session has ended. "), loginLink(), " to go on.");
  }
  if (problem.status === 403) {
    return banner("changed", "shield", h("strong", {}, "You may not see this. "), problem.message);
  }
  const text = problem instanceof Error ? problem.message : String(problem);
  return h("div", { class: "stack" }, banner("failed", "alert", h("strong", {}, `${problem.title ?? "Error"}: `), text), h("div", {}, button));
}

/** Where an answer comes from when it is not the database itself: the banner nobody can miss. */
export function sourceBanner(source, again = null) {
  if (!source || source.kind === "live") return null;
  if (isWhole(source)) return banner("pending", "database", h("strong", {}, "Many databases. "), source.reason.message);
  const why = source.reason ? ` ${source.reason.message}` : "";
  const quiet = ["no_right_on_connection", undefined].includes(source.reason?.code);
  const retry = again && !quiet && h("button", { class: "small", type: "button", onclick: again }, icon("refresh"), "Try again");
  const [head, rest] = source.kind === "report"
    ? [`${quiet ? "As of the last run" : "The database was not read"}. `, [`Shown is the report of the last run, ${age(source)} (${moment(source.as_of)}).`, why]]
    : [`${quiet ? "No run yet" : "The database was not read"}. `, ["No run has reported yet. Shown is what the DAG file says.", why]];
  const box = banner(quiet ? "pending" : "failed", quiet ? "clock" : "database", h("strong", {}, head), rest);
  if (retry) box.append(retry);
  return box;
}

/** Whether a mapped group is meant as a whole, not one of its databases. */
export const isWhole = (source) => source.reason?.code === "mapped_group";

function age(source) {
  return source.age_seconds === null || source.age_seconds === undefined ? ago(source.as_of) : since(-source.age_seconds);
}

/** Nothing to show, said kindly. */
export function empty(mark, title, text = null, ...more) {
  return h("div", { class: "empty" }, icon(mark), h("strong", {}, title), text && h("p", {}, text), more);
}

/** Grey bars while an answer is on its way. */
export function loading(bars = 4) {
  const words_ = h("p", { class: "hidden-visually" }, "Loading");
  return h("div", { class: "loading" }, words_, Array.from({ length: bars }, () => h("div", { class: "bone" })));
}

const COUNTED = ["applied", "pending", "failed", "left_out", "changed", "missing", "incomplete", "forgotten"];

/** Counts by status as one bar and as words. */
export function countsBar(counts) {
  const shown = COUNTED.map((status) => [status, counts[status] ?? 0]).filter(([, number]) => number > 0);
  const bar = h("div", { class: "counts-bar", "aria-hidden": "true" }, shown.map(([status, number]) => {
    const part = h("span", { "data-tone": tone(status) });
    part.style.flexGrow = number;
    return part;
  }));
  const list = h("ul", { class: "counts" }, shown.map(([status, number]) =>
    h("li", { "data-tone": tone(status) }, stateIcon(status), h("b", { class: "number" }, number.toLocaleString("en")), ` ${words(status)}`)));
  return [bar, shown.length ? list : h("p", { class: "muted counts" }, "No migrations")];
}

/** Pairs of a word and a value; pairs without a value are left out. */
export function facts(pairs) {
  const filled = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return h("dl", { class: "facts" }, filled.map(([word, value]) => [h("dt", {}, word), h("dd", {}, value)]));
}

/** A label above a field. */
export function field(text, input, hint = null) {
  input.id ||= freshId("field");
  const note = hint && h("small", { id: freshId("hint") }, hint);
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: input.id }, text), input, note);
}

/** Tell a screen reader what has changed. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}

/** A finding: what, where, what next. */
export function finding(item) {
  const place = item.file ? h("code", {}, [item.file, item.line, item.column].filter(Boolean).join(":")) : null;
  return h("li", { class: "finding card", "data-tone": tone(item.severity) },
    h("div", { class: "row" }, badge(item.severity), h("code", { class: "muted" }, item.code),
      item.version && h("span", { class: "chip" }, "migration ", h("b", { class: "mono" }, item.version)), place && h("span", { class: "chip" }, icon("log"), place)),
    h("p", {}, prose(item.message)),
    item.next_step && h("p", { class: "next" }, h("b", {}, "Next: "), prose(item.next_step)));
}

/** A sentence in which `words between backticks` are code; a line ends between its words, never inside `--write`. */
export function prose(text) {
  return String(text).split("`").map((piece, index, all) => (index % 2 && index < all.length - 1 ? h("code", {}, piece.split(/( )/).map((word) => (word === " " ? word : h("span", { class: "word" }, word)))) : piece));
}
