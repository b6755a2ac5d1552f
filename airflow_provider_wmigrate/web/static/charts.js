// Small charts from numbers, drawn as SVG. Each is a picture for eyes; the same numbers stand in a table behind it.

import { h, replace, svg } from "./dom.js";
import { table, pagedTable } from "./table.js";

const HEIGHT = 210;
const PAD = { top: 12, right: 6, bottom: 26, left: 52 };
const TICKS = 4;
const LABEL_ROOM = 58;
const NOTHING = "\u00a0";

/** A picture with a title, a sentence, a legend and the numbers as a table that opens on demand. */
export function chart({ title, says, legend = [], picture, columns, items }) {
  const numbers = h("details", { class: "numbers" }, h("summary", {}, "Show as a table"));
  numbers.addEventListener("toggle", () => {
    if (numbers.open && !numbers.dataset.filled) {
      numbers.dataset.filled = "yes";
      numbers.append(items.length > 60 ? pagedTable(title, columns, items) : table(title, columns, items, { hideCaption: true }));
    }
  });
  return h("figure", { class: "card chart" },
    h("figcaption", {}, h("h2", {}, title), h("p", { class: "muted" }, says)),
    legend.length > 0 && h("ul", { class: "legend", "aria-hidden": "true" }, legend.map(({ tone, word }) => h("li", { "data-tone": tone }, word))),
    picture, numbers);
}

/**
 * Bars, stacked when there are several series, as wide as there is room.
 * @param {{label: string, values: number[]}[]} bars one value per series
 * @param {{tones: string[], axis: (n: number) => string, says: string, tell: (index) => string, onPick?: (index) => void}} options
 */
export function barChart(bars, options) {
  const frame = h("div", { class: "plot-frame" });
  const note = h("p", { class: "chart-note muted", "aria-hidden": "true" }, NOTHING);
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.abs(contentRect.width - width) < 2) return;
    width = contentRect.width;
    replace(frame, drawBars(bars, options, Math.max(160, width), note));
  }).observe(frame);
  return h("div", {}, frame, note);
}

function drawBars(bars, { tones, axis, says, tell, onPick }, width, note) {
  const plot = { width: width - PAD.left - PAD.right, height: HEIGHT - PAD.top - PAD.bottom };
  const steps = ticks(Math.max(1, ...bars.map((bar) => bar.values.reduce((a, b) => a + b, 0))));
  const top = steps.at(-1);
  const slot = plot.width / Math.max(1, bars.length);
  const gap = slot > 6 ? Math.min(10, slot * 0.28) : slot > 2 ? 1 : 0;
  const wide = Math.min(34, Math.max(0.5, slot - gap));
  const x = (index) => PAD.left + index * slot + (slot - wide) / 2;
  const y = (value) => PAD.top + plot.height * (1 - value / top);
  const lines = steps.map((value) => [
    svg("line", { class: "grid-line", x1: PAD.left, x2: width - PAD.right, y1: y(value), y2: y(value) }),
    svg("text", { class: "tick", x: PAD.left - 8, y: y(value) + 4, "text-anchor": "end" }, axis(value)),
  ]);
  // One path for each series, however many bars: a thousand migrations are still a handful of elements.
  const paths = tones.map((tone, series) => svg("path", { class: "bars", "data-tone": tone, d: bars.map((bar, index) => {
    const below = bar.values.slice(0, series).reduce((a, b) => a + b, 0);
    const value = bar.values[series];
    return value > 0 ? column(x(index), y(below + value), wide, Math.max(1, y(below) - y(below + value)), series === lastOf(bar)) : "";
  }).join("") }));
  const every = Math.max(1, Math.ceil(bars.length / Math.floor(plot.width / LABEL_ROOM)));
  const labels = bars.map((bar, index) => index % every === 0
    && svg("text", { class: "tick", x: x(index) + wide / 2, y: HEIGHT - 8, "text-anchor": "middle" }, bar.label));
  const cursor = svg("rect", { class: "cursor", y: PAD.top, height: plot.height, width: Math.max(2, slot), visibility: "hidden" });
  const frame = { class: "plot", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": says };
  const picture = svg("svg", frame, lines, cursor, paths, labels);
  const indexAt = (event) => {
    const index = Math.floor((event.clientX - picture.getBoundingClientRect().left - PAD.left) / slot);
    return index >= 0 && index < bars.length ? index : null;
  };
  const point = (index) => {
    cursor.setAttribute("visibility", index === null ? "hidden" : "visible");
    cursor.setAttribute("x", PAD.left + (index ?? 0) * slot);
    note.textContent = index === null ? NOTHING : tell(index);
  };
  picture.addEventListener("pointermove", (event) => point(indexAt(event)));
  picture.addEventListener("pointerleave", () => point(null));
  if (onPick) {
    picture.classList.add("pickable");
    picture.addEventListener("click", (event) => indexAt(event) !== null && onPick(indexAt(event)));
  }
  return picture;
}

function lastOf(bar) {
  return bar.values.findLastIndex((value) => value > 0);
}

/** A bar standing at its foot; the topmost has round shoulders. */
function column(x, y, width, height, isTop) {
  const round = isTop ? Math.min(3, width / 2, height) : 0;
  const right = x + width;
  return `M${n(x)} ${n(y + height)}V${n(y + round)}q0 ${n(-round)} ${n(round)} ${n(-round)}H${n(right - round)}q${n(round)} 0 ${n(round)} ${n(round)}V${n(y + height)}Z`;
}

const n = (value) => Math.round(value * 100) / 100;

/** Round numbers from 0 to at least `most`. */
export function ticks(most) {
  const rough = most / TICKS;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * size).find((candidate) => candidate * TICKS >= most && (candidate >= 1 ? candidate % 1 === 0 : true)) ?? Math.ceil(rough);
  const whole = Math.max(1, step);
  return Array.from({ length: Math.ceil(most / whole) + 1 }, (_, index) => index * whole);
}
