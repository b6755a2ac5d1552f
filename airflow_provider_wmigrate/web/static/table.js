// Plain tables, a page at a time.

import { h, replace } from "./dom.js";

/** `columns`: { title, cell: (item) => content, number: bool }. */
export function table(caption, columns, items, { hideCaption = false } = {}) {
  const kind = (column) => (column.number ? "number" : null);
  // The roles stay when a narrow page shows each row as a list of its cells.
  const head = h("tr", { role: "row" }, columns.map((column) => h("th", { scope: "col", role: "columnheader", class: kind(column) }, column.title)));
  const rows = items.map((item) => h("tr", { role: "row" }, columns.map((column) => h("td", { role: "cell", class: kind(column), "data-title": column.title }, cell(column.cell(item))))));
  return h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { role: "table" }, h("caption", { class: hideCaption ? "hidden-visually" : null }, caption), h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, rows)));
}

/** What a cell says, as one part; nothing for nothing. */
function cell(content) {
  const filled = [content].flat(Infinity).filter((part) => part !== null && part !== undefined && part !== false && part !== "");
  return filled.length > 0 && h("div", {}, filled);
}

/** A table of many items, `size` on a page. */
export function pagedTable(caption, columns, items, { size = 50 } = {}) {
  const holder = h("div", {});
  const show = (page) => {
    const from = page * size;
    const step = (text, to, enabled) => h("button", { type: "button", class: "small", disabled: !enabled, onclick: () => show(to) }, text);
    const pager = items.length > size && h("div", { class: "pager" },
      step("Previous", page - 1, from > 0),
      h("span", { class: "number" }, `${from + 1}–${Math.min(from + size, items.length)} of ${items.length.toLocaleString("en")}`),
      step("Next", page + 1, from + size < items.length));
    replace(holder, table(caption, columns, items.slice(from, from + size), { hideCaption: true }), pager);
  };
  show(0);
  return holder;
}
