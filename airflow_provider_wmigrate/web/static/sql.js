// SQL text of any length with quiet colours and line numbers. It only looks at the text: everything becomes text nodes again.

import { h, replace } from "./dom.js";
import { count } from "./format.js";

const LINES_IN_A_PART = 50;
const KEYWORDS = new Set(`add after all alter analyze and any as asc before begin between by cascade case cast check collate column comment
commit concurrently conflict constraint copy create cross current_date current_timestamp database declare default deferrable delete desc
distinct do domain drop each else elsif end enum except exception execute exists extension false fetch filter for foreign from full function
generated grant group having identity if ilike immutable in index inherits inner insert intersect interval into is isnull join key language
last lateral left like limit local lock loop materialized natural no not notify notnull nothing null nulls of off offset on only or order outer
over overriding owner partition perform policy primary privileges procedure publication raise range recursive refresh references reindex
release rename replace reset restrict return returning returns revoke right role rollback row rows savepoint schema security select sequence
session set setof similar stable start statement statistics stored strict table tablespace temporary then to transaction trigger true truncate
type union unique unlogged until update user using vacuum valid validate values view volatile when where while window with without work`.split(/\s+/));
/** Comment, string, dollar sign of a body, name in quotes, number, word: as PostgreSQL reads them, near enough to colour them. */
const TOKEN = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|(\b[eE]'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)|'(?:[^']|'')*(?:'|$))|(\$\w*\$)|("(?:[^"]|"")*(?:"|$))|\b(\d+(?:\.\d+)?)\b|([A-Za-z_]\w*)/g;
const KINDS = [null, "comment", "string", "body", "name", "literal"];

/**
 * A script with its line numbers beside it; the numbers are not selected with the text. Only what is in sight has colours, so that a
 * script of ten thousand lines costs no more elements than one of a hundred. What the answer does not hold yet is read when it is asked for.
 * @param readFrom (line) => Promise of the answer from that line on
 */
export function sqlBlock({ text, lines, next_line: next }, label, readFrom) {
  const number = lines ?? linesOf(text).length;
  const block = h("div", { class: "sql", tabindex: "0", role: "region", "aria-label": `${label}, ${count(number, "line")}` });
  block.style.setProperty("--gutter", `${String(number).length}ch`);
  const parts = new Map();
  const watcher = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      const { code, plain, from, colour } = parts.get(target);
      if (isIntersecting) replace(code, colour(from, from + plain.length));
      else if (code.children.length) replace(code, plain);
    }
  }, { root: block, rootMargin: "300px 0px" });
  const add = (more, before) => {
    for (const [part, about] of partsOf(more, before)) {
      parts.set(part, about);
      block.append(part);
      watcher.observe(part);
    }
  };
  add(text, 0);
  return [block, next && rest(next, number, readFrom, add)];
}

/** The button for what is not shown yet of a script so long that it comes piece by piece. */
function rest(next, number, readFrom, add) {
  const told = h("span", { class: "muted", role: "status" });
  const more = h("button", { type: "button", class: "small", onclick: async () => {
    more.disabled = true;
    try {
      const { text, next_line: following } = await readFrom(next);
      add(text, next - 1);
      next = following;
      tell();
    } catch (problem) {
      replace(told, problem.message);
    }
    more.disabled = false;
  } }, "Show more");
  const tell = () => {
    more.hidden = next === null;
    replace(told, next === null ? "All of it is shown." : `${(next - 1).toLocaleString("en")} of ${number.toLocaleString("en")} lines are shown.`);
  };
  tell();
  return h("div", { class: "row" }, more, told);
}

const linesOf = (text) => text.replace(/\n$/, "").split("\n");

/** A text as elements of a few lines each; `before`: how many lines stand before it. */
function partsOf(text, before) {
  const [lines, colour, found] = [linesOf(text), colouring(text), []];
  for (let first = 0, from = 0; first < lines.length; first += LINES_IN_A_PART) {
    const mine = lines.slice(first, first + LINES_IN_A_PART);
    const plain = mine.join("\n");
    const code = h("code", {}, plain);
    const numbers = mine.map((_, index) => before + first + index + 1).join("\n");
    const part = h("div", { class: "sql-part" }, h("pre", { class: "gutter number", "aria-hidden": "true" }, numbers), h("pre", { class: "code" }, code));
    found.push([part, { code, plain, from, colour }]);
    from += plain.length + 1;
  }
  return found;
}

/** What colours a stretch of a text. The text is read as far as was asked for, and no place of it twice. */
function colouring(text) {
  const [found, pattern] = [[], new RegExp(TOKEN)];
  let ended = false;
  const readTo = (end) => {
    while (!ended && (found.at(-1)?.end ?? 0) < end) {
      const match = pattern.exec(text);
      if (!match) ended = true;
      else {
        const group = match.findIndex((part, index) => index > 0 && part !== undefined);
        const kind = group < 6 ? KINDS[group] : KEYWORDS.has(match[6].toLowerCase()) ? "keyword" : null;
        found.push({ start: match.index, end: match.index + match[0].length, kind });
      }
    }
  };
  return (from, to) => {
    readTo(to);
    const pieces = [];
    let at = from;
    for (let index = firstEndingAfter(found, from); index < found.length && found[index].start < to; index += 1) {
      const { start, end, kind } = found[index];
      if (!kind) continue;
      const [begin, stop] = [Math.max(start, from), Math.min(end, to)];
      pieces.push(text.slice(at, begin), h("span", { class: kind }, text.slice(begin, stop)));
      at = stop;
    }
    return [...pieces, text.slice(at, to)];
  };
}

function firstEndingAfter(found, place) {
  let [low, high] = [0, found.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (found[middle].end > place) high = middle;
    else low = middle + 1;
  }
  return low;
}
