// SQL text with quiet colours and line numbers. It only looks at the text: everything becomes text nodes again.

import { h } from "./dom.js";

const COLOURED_UP_TO = 60_000;
const KEYWORDS = new Set(`add after all alter analyze and any as asc before begin between by cascade case check column comment
commit concurrently conflict constraint copy create cross database default delete desc distinct do domain drop each else end
enum exists execute extension false for foreign from full function grant group having if immutable in index inner insert
into is join key language last lateral left like limit lock materialized not null nulls of on only or order outer over owner
partition primary procedure references refresh rename replace restrict returning returns revoke right role row rows schema
security select sequence set stable table temporary then to transaction trigger true truncate type union unique update using
vacuum valid validate values view volatile when where with`.split(/\s+/));
const TOKEN = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*')|\b(\d+(?:\.\d+)?)\b|([A-Za-z_][A-Za-z_0-9]*)/g;

/** A script with its line numbers beside it; the numbers are not selected with the text. */
export function sqlBlock(text, label) {
  const lines = text.replace(/\n$/, "").split("\n").length;
  const numbers = h("pre", { class: "gutter number", "aria-hidden": "true" }, Array.from({ length: lines }, (_, i) => i + 1).join("\n"));
  const code = h("pre", { class: "code" }, h("code", {}, text.length > COLOURED_UP_TO ? text : coloured(text)));
  return h("div", { class: "sql", tabindex: "0", role: "region", "aria-label": label }, numbers, code);
}

function coloured(text) {
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [token, comment, string, number, word] = match;
    const kind = comment ? "comment" : string ? "string" : number ? "literal" : KEYWORDS.has(word?.toLowerCase()) ? "keyword" : null;
    if (!kind) continue;
    pieces.push(text.slice(end, match.index), h("span", { class: kind }, token));
    end = match.index + token.length;
  }
  return [...pieces, text.slice(end)];
}
