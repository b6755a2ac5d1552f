// A long list of which only the visible rows exist. Arrow keys move through it, as in every grid. Rows that have more to say are higher.

import { h, replace } from "./dom.js";

const SPARE_ROWS = 8;
const MEASURED = 200;

/**
 * @param {{columns: {key: string, title: string, sort?: boolean}[], label: string, cells: (item) => Node[],
 *   sort: {key: string, down: boolean}, onSort: (key: string) => void, isHigh: (item) => boolean}} options `cells` gives one node per
 *   column; a row that `isHigh` shows all of its text. `show(items, at)` gives row `at` the focus, `renew(items)` changes what the rows
 *   say and leaves focus and place alone
 * @returns {{element: HTMLElement, show: (items: any[], at?: number) => void, renew: (items: any[]) => void, sorted: (sort) => void}}
 */
export function virtualGrid({ columns, label, cells, sort, onSort, isHigh }) {
  const heads = columns.map(({ key, title, sort: sortable }) =>
    h("div", { role: "columnheader", class: `cell ${key}` },
      sortable ? h("button", { type: "button", class: "quiet sort", "data-key": key, onclick: () => onSort(key) }, title) : title));
  const head = h("div", { role: "row", class: "grid-row grid-head", "aria-rowindex": "1" }, heads);
  const body = h("div", { role: "rowgroup", class: "grid-body" });
  const element = h("div", { role: "grid", class: "grid", "aria-label": label, "aria-colcount": columns.length }, h("div", { role: "rowgroup" }, head), body);
  const state = { items: [], rows: new Map(), current: 0, height: 0, width: 0, tops: [0] };

  const row = (index) => {
    const content = cells(state.items[index]).map((node, column) => h("div", { role: "gridcell", class: `cell ${columns[column].key}` }, node));
    const made = h("div", { role: "row", class: isHigh(state.items[index]) ? "grid-row high" : "grid-row", "aria-rowindex": index + 2 }, content);
    made.style.transform = `translateY(${state.tops[index]}px)`;
    made.style.height = `${state.tops[index + 1] - state.tops[index]}px`;
    made.dataset.index = index;
    setTabs(made, index === state.current);
    return made;
  };
  const draw = () => {
    if (!element.isConnected || !state.height) return;
    const top = body.getBoundingClientRect().top;
    const first = Math.max(0, rowAt(state.tops, -top) - SPARE_ROWS);
    const last = Math.min(state.items.length, rowAt(state.tops, innerHeight - top) + 1 + SPARE_ROWS);
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
    const width = element.clientWidth;
    if (height === state.height && width === state.width && body.style.height) return draw();
    Object.assign(state, { height, width });
    state.rows.clear();
    replace(body);
    state.tops = topsOf(height);
    body.style.height = `${state.tops.at(-1)}px`;
    draw();
  };
  /** Where each row begins. High rows are as high as their text needs at this width: those of them that are many get the same. */
  const topsOf = (height) => {
    const high = state.items.map((item, index) => (isHigh(item) ? index : -1)).filter((index) => index >= 0);
    state.tops = [0];
    const tried = high.slice(0, MEASURED).map((index) => [index, row(index)]);
    for (const [, node] of tried) node.style.height = "auto";
    body.append(...tried.map(([, node]) => node));
    const needs = new Map(tried.map(([index, node]) => [index, Math.max(height, Math.ceil(node.getBoundingClientRect().height))]));
    replace(body);
    const most = Math.max(height, ...needs.values());
    const tops = [0];
    state.items.forEach((item, index) => tops.push(tops[index] + (isHigh(item) ? (needs.get(index) ?? most) : height)));
    return tops;
  };
  const goTo = (index, column) => {
    state.current = Math.max(0, Math.min(state.items.length - 1, index));
    const box = body.getBoundingClientRect();
    const [top, bottom] = [box.top + state.tops[state.current], box.top + state.tops[state.current + 1]];
    const room = head.getBoundingClientRect().height + 8;
    if (top < room) scrollBy(0, top - room);
    else if (bottom > innerHeight) scrollBy(0, bottom - innerHeight + 8);
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
  const renew = (items) => {
    const [there, stops] = [state.rows.get(state.current), stopsIn(state.rows.get(state.current))];
    const [column, before] = [there?.contains(document.activeElement) ? stops.indexOf(document.activeElement) : -1, state.items[state.current]];
    const at = before ? items.findIndex((one) => one.version === before.version) : -1;
    Object.assign(state, { items, current: Math.max(0, at), height: 0 });
    element.setAttribute("aria-rowcount", items.length + 1);
    measure();
    if (column < 0 || at < 0) return;
    if (!state.rows.has(at)) place(at);
    stopsIn(state.rows.get(at))[column]?.focus({ preventScroll: true });
  };
  sorted(sort);
  return { element, show, renew, sorted };
}

/** The row at a height. */
function rowAt(tops, height) {
  let [low, high] = [0, tops.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tops[middle + 1] > height) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** One row is in the tab order; the arrow keys reach the others. */
function setTabs(row, isCurrent) {
  for (const stop of stopsIn(row)) stop.tabIndex = isCurrent ? 0 : -1;
}

function stopsIn(row) {
  return row ? [...row.querySelectorAll("a, button")] : [];
}
