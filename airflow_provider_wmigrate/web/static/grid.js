// A long list of which only the visible rows exist. Arrow keys move through it, as in every grid.

import { h, replace } from "./dom.js";

const SPARE_ROWS = 8;

/**
 * @param {{columns: {key: string, title: string, sort?: boolean}[], label: string, cells: (item) => Node[],
 *   sort: {key: string, down: boolean}, onSort: (key: string) => void}} options `cells` gives one node per column;
 *   `show(items, at)` gives row `at` the focus
 * @returns {{element: HTMLElement, show: (items: any[], at?: number) => void, sorted: (sort) => void}}
 */
export function virtualGrid({ columns, label, cells, sort, onSort }) {
  const heads = columns.map(({ key, title, sort: sortable }) =>
    h("div", { role: "columnheader", class: `cell ${key}` },
      sortable ? h("button", { type: "button", class: "quiet sort", "data-key": key, onclick: () => onSort(key) }, title) : title));
  const head = h("div", { role: "row", class: "grid-row grid-head", "aria-rowindex": "1" }, heads);
  const body = h("div", { role: "rowgroup", class: "grid-body" });
  const element = h("div", { role: "grid", class: "grid", "aria-label": label, "aria-colcount": columns.length }, h("div", { role: "rowgroup" }, head), body);
  const state = { items: [], rows: new Map(), current: 0, height: 0 };

  const row = (index) => {
    const content = cells(state.items[index]).map((node, column) => h("div", { role: "gridcell", class: `cell ${columns[column].key}` }, node));
    const made = h("div", { role: "row", class: "grid-row", "aria-rowindex": index + 2 }, content);
    made.style.transform = `translateY(${index * state.height}px)`;
    made.dataset.index = index;
    setTabs(made, index === state.current);
    return made;
  };
  const draw = () => {
    if (!element.isConnected || !state.height) return;
    const top = body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / state.height) - SPARE_ROWS);
    const last = Math.min(state.items.length, Math.ceil((innerHeight - top) / state.height) + SPARE_ROWS);
    const focused = state.rows.get(state.current)?.contains(document.activeElement);
    for (const [index, node] of state.rows) {
      if ((index < first || index >= last) && !(focused && index === state.current)) {
        node.remove();
        state.rows.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) if (!state.rows.has(index)) place(index);
  };
  const place = (index) => {
    const node = row(index);
    state.rows.set(index, node);
    // In the order of the list, so that reading and the Tab key follow it.
    const after = [...body.children].find((other) => Number(other.dataset.index) > index);
    body.insertBefore(node, after ?? null);
  };
  const measure = () => {
    const height = parseFloat(getComputedStyle(element).getPropertyValue("--row-height")) || 44;
    if (height === state.height && body.style.height) return draw();
    state.height = height;
    body.style.height = `${height * state.items.length}px`;
    state.rows.clear();
    replace(body);
    draw();
  };
  const goTo = (index, column) => {
    state.current = Math.max(0, Math.min(state.items.length - 1, index));
    const box = body.getBoundingClientRect();
    const [top, room] = [box.top + state.current * state.height, head.getBoundingClientRect().height + 8];
    if (top < room) scrollBy(0, top - room);
    else if (top + state.height > innerHeight) scrollBy(0, top + state.height - innerHeight + 8);
    draw();
    if (!state.rows.has(state.current)) place(state.current);
    for (const [number, node] of state.rows) setTabs(node, number === state.current);
    const stops = stopsIn(state.rows.get(state.current));
    stops[Math.max(0, Math.min(stops.length - 1, column))]?.focus({ preventScroll: true });
  };
  body.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const stops = stopsIn(state.rows.get(state.current));
    const column = Math.max(0, stops.indexOf(document.activeElement));
    const page = Math.max(1, Math.floor(innerHeight / state.height) - 2);
    const target = {
      ArrowDown: [state.current + 1, column], ArrowUp: [state.current - 1, column], ArrowRight: [state.current, column + 1],
      ArrowLeft: [state.current, column - 1], Home: [0, column], End: [state.items.length - 1, column],
      PageDown: [state.current + page, column], PageUp: [state.current - page, column],
    }[event.key];
    if (!target) return;
    event.preventDefault();
    goTo(...target);
  });
  body.addEventListener("focusin", (event) => {
    const index = Number(event.target.closest(".grid-row")?.dataset.index);
    if (Number.isInteger(index)) state.current = index;
  });

  const watcher = new AbortController();
  let waiting = false;
  const later = () => {
    if (!element.isConnected && element.dataset.shown) return watcher.abort();
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; measure(); });
  };
  addEventListener("scroll", later, { passive: true, signal: watcher.signal });
  addEventListener("resize", later, { signal: watcher.signal });

  const sorted = ({ key, down }) => heads.forEach((cell, index) => {
    if (!columns[index].sort) return;
    cell.setAttribute("aria-sort", columns[index].key !== key ? "none" : down ? "descending" : "ascending");
  });
  const show = (items, at = -1) => {
    Object.assign(state, { items, current: 0, height: 0 });
    element.setAttribute("aria-rowcount", items.length + 1);
    requestAnimationFrame(() => {
      element.dataset.shown = "yes";
      measure();
      if (at >= 0) goTo(at, 0);
    });
  };
  sorted(sort);
  return { element, show, sorted };
}

/** One row is in the tab order; the arrow keys reach the others. */
function setTabs(row, isCurrent) {
  for (const stop of stopsIn(row)) stop.tabIndex = isCurrent ? 0 : -1;
}

function stopsIn(row) {
  return row ? [...row.querySelectorAll("a, button")] : [];
}
