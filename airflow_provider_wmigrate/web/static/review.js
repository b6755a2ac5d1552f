// What a run will do, migration by migration, with the SQL that each will run. Read before anything is started.

import { about, Problem } from "./api.js";
import { append, h, replace } from "./dom.js";
import { words } from "./format.js";
import { badge, problemBox } from "./parts.js";
import { sqlBlock } from "./sql.js";

const OPEN_AT_ONCE = 3;
const ROWS = 50;

/**
 * A list of migrations whose SQL opens below each name; of a few it is open from the beginning.
 * @param {string} title one sentence: how many, and what happens to them
 * @param {{version: string, name: string, status?: string}[]} items in the order in which they run
 * @param {{place: object, which: "sql" | "rollback" | "folder_rollback", environment: string}} from which script of each, and of which database
 */
export function review(title, items, from) {
  const list = h("ol", { class: "review", "aria-label": title });
  const rows = items.map((one) => row(one, from));
  const shown = { number: 0 };
  const more = h("button", { type: "button", class: "small", onclick: () => show() });
  const show = () => {
    append(list, rows.slice(shown.number, shown.number + ROWS));
    shown.number = Math.min(rows.length, shown.number + ROWS);
    more.hidden = shown.number >= rows.length;
    replace(more, `Show ${Math.min(ROWS, rows.length - shown.number)} more of ${rows.length.toLocaleString("en")}`);
  };
  show();
  // One after the other: each is a question to the server, and perhaps to the database.
  const openAll = async (wanted) => {
    for (const each of wanted) if (list.isConnected) await each.open();
  };
  const all = h("button", { type: "button", class: "small", onclick: () => { all.hidden = true; openAll(rowsOf(list)); } }, "Show the SQL of all");
  all.hidden = items.length <= OPEN_AT_ONCE;
  if (!all.hidden || !items.length) list.classList.add("closed");
  requestAnimationFrame(() => items.length <= OPEN_AT_ONCE && openAll(rowsOf(list)));
  return h("div", { class: "stack tight-stack" }, h("div", { class: "row spread" }, h("p", {}, title), all), list, more);
}

const opening = new WeakMap();
const rowsOf = (list) => [...list.children].map((item) => ({ open: opening.get(item) }));

function row(one, { place, which, environment }) {
  const body = h("div", { class: "review-body" });
  const waits = ["failed", "incomplete"].includes(one.status) && badge(one.status);
  const box = h("details", {}, h("summary", {}, h("b", { class: "mono" }, one.version), h("span", { class: "review-name" }, words(one.name)), waits), body);
  let asked = null;
  const load = () => {
    asked ??= fill(body, one, place, which, environment);
    return asked;
  };
  box.addEventListener("toggle", () => box.open && load());
  const item = h("li", {}, box);
  opening.set(item, () => { box.open = true; return load(); });
  return item;
}

async function fill(body, one, place, which, environment) {
  replace(body, h("p", { class: "muted" }, "Reading the script …"));
  try {
    const answer = await about(place, `migrations/${one.version}`, { environment });
    const chosen = answer[which] ?? answer.rollback;
    replace(body, scriptText(chosen, `${which === "sql" ? "SQL" : "Rollback"} of ${one.version}`, reader(place, one.version, answer[which] ? which : "rollback", environment)));
  } catch (problem) {
    replace(body, problemBox(problem));
  }
}

/** What reads a script from a line on; `which`: "sql", "rollback" or "folder_rollback". */
export const reader = (place, version, which, environment) => async (line) => {
  const found = (await about(place, `migrations/${version}`, { environment, from_line: line }))[which];
  if (found.text === null) throw new Problem(0, { detail: `Not shown here any more: ${found.reason}.` });
  return found;
};

/** The text of a script, or why it is not shown; `readFrom` as `reader` gives it. */
export function scriptText(script, label, readFrom) {
  if (script.text === null) return h("p", { class: "muted no-script" }, `Not shown here: ${script.reason ?? "nobody says why"}.`);
  return script.text.trim() || script.next_line ? sqlBlock(script, label, readFrom) : h("p", { class: "muted" }, "The file is empty.");
}
