// Draws a dependency graph: boxes and curves where layout.js puts them, only what is in sight. Arrow keys walk along it.

import { freshId, h, svg } from "./dom.js";
import { statePath } from "./icons.js";
import { layOut } from "./layout.js";
import { tone } from "./format.js";

const BOX = { width: 184, height: 46 };
const GAP = { along: { across: 62, down: 40 }, beside: { across: 18, down: 22 } };
const MARGIN = 24;
const SPARE = 240;
const LEAST_ZOOM = 0.82;
const ZOOMS = [0.25, 0.4, 0.6, 0.8, 1, 1.25, 1.6];

/**
 * @param {{id: string, parents: string[], status: string, title: string, text: string, label: string, href?: string, fold?: boolean}[]} nodes
 *   `href`: where a migration's box leads; `fold`: many in one box
 * @param {{label: string, onOpen: (node) => void, at: object}} options `onOpen` is told which fold was opened; `at`: where another
 *   picture of the same graph was looked at, as its `place()` said
 * @returns {{element: HTMLElement, zoom: (step: number) => void, fit: () => void, lookAt: (id: string, andFocus?: boolean) => void,
 *   place: () => object}}
 */
export function graphPicture(nodes, { label, onOpen, at = null }) {
  const world = measure(nodes);
  const [edgeLayer, nodeLayer] = [svg("g", {}), svg("g", {})];
  const arrow = freshId("arrow");
  const head = svg("marker", { id: arrow, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" }, svg("path", { class: "arrow", d: "M0 0.5L7.5 4L0 7.5Z" }));
  const canvas = svg("svg", { class: "graph-canvas" }, svg("defs", {}, head), edgeLayer, nodeLayer);
  const element = h("div", { class: "graph", role: "group", "aria-label": label }, canvas);
  const state = { zoom: 1, current: nodes.at(-1)?.id, drawn: new Map(), edges: new Map(), lit: null };

  const draw = () => {
    const { zoom } = state;
    const [left, top] = [element.scrollLeft / zoom - SPARE, element.scrollTop / zoom - SPARE];
    const [right, bottom] = [left + element.clientWidth / zoom + 2 * SPARE, top + element.clientHeight / zoom + 2 * SPARE];
    const inSight = (box) => box.x < right && box.x + box.width > left && box.y < bottom && box.y + box.height > top;
    sync(state.drawn, world.nodes, nodeLayer, (node) => inSight(node) || node.id === state.current, (node) => drawNode(node, node.id === state.current));
    sync(state.edges, world.edges, edgeLayer, inSight, (edge) => svg("path", { class: "edge", d: edge.path, "marker-end": `url(#${arrow})` }));
    light();
  };
  const light = () => {
    element.classList.toggle("lit", state.lit !== null);
    for (const [id, node] of state.drawn) node.classList.toggle("near", state.lit?.has(id) ?? false);
    for (const [id, path] of state.edges) {
      const { from, to } = world.edgeById.get(id);
      path.classList.toggle("near", state.lit !== null && state.lit.has(from) && state.lit.has(to));
    }
  };
  const resize = () => {
    canvas.setAttribute("viewBox", `0 0 ${world.width} ${world.height}`);
    canvas.setAttribute("width", Math.round(world.width * state.zoom));
    canvas.setAttribute("height", Math.round(world.height * state.zoom));
    draw();
  };
  const setZoom = (zoom) => {
    const [cx, cy] = [(element.scrollLeft + element.clientWidth / 2) / state.zoom, (element.scrollTop + element.clientHeight / 2) / state.zoom];
    state.zoom = zoom;
    resize();
    element.scrollTo(cx * zoom - element.clientWidth / 2, cy * zoom - element.clientHeight / 2);
  };
  const lookAt = (id, andFocus = false) => {
    const node = world.byId.get(id);
    if (!node) return;
    state.current = id;
    const [x, y] = [(node.x + node.width / 2) * state.zoom, (node.y + node.height / 2) * state.zoom];
    const [spareX, spareY] = [element.clientWidth / 2 - 20, element.clientHeight / 2 - 20];
    const outside = Math.abs(x - element.scrollLeft - element.clientWidth / 2) > spareX - 90 || Math.abs(y - element.scrollTop - element.clientHeight / 2) > spareY - 30;
    if (outside) element.scrollTo(x - element.clientWidth / 2, y - element.clientHeight / 2);
    draw();
    for (const [other, drawn] of state.drawn) drawn.setAttribute("tabindex", other === id ? "0" : "-1");
    if (andFocus) state.drawn.get(id).focus({ preventScroll: true });
  };
  const open = (event, node) => {
    if (!node?.fold) return;
    event.preventDefault();
    onOpen(node);
  };
  const nodeOf = (event) => world.byId.get(event.target.closest?.("[data-id]")?.dataset.id);
  nodeLayer.addEventListener("click", (event) => open(event, nodeOf(event)));
  nodeLayer.addEventListener("keydown", (event) => {
    const node = nodeOf(event);
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") return open(event, node);
    const target = neighbour(world, node, event.key);
    if (event.key.startsWith("Arrow") || target) event.preventDefault();
    if (target) lookAt(target.id, true);
  });
  const shine = (event) => { state.lit = relatives(world, nodeOf(event)); light(); };
  const fade = () => { state.lit = null; light(); };
  for (const [name, listener] of [["pointerover", shine], ["focusin", shine], ["pointerleave", fade], ["focusout", fade]]) nodeLayer.addEventListener(name, listener);
  element.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  new ResizeObserver(draw).observe(element);
  requestAnimationFrame(() => {
    const fitting = (element.clientWidth - 2) / world.width;
    state.zoom = at?.zoom ?? (fitting < LEAST_ZOOM ? 1 : Math.min(1, fitting));
    if (at) state.current = [at.focused, at.current].find((id) => world.byId.has(id)) ?? state.current;
    resize();
    if (!at) return;
    element.scrollTo(at.left, at.top);
    draw();
    if (at.focused) state.drawn.get(state.current)?.focus({ preventScroll: true });
  });
  return {
    element,
    zoom: (step) => setZoom(ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, nearest(state.zoom) + step))]),
    fit: () => setZoom(Math.max(ZOOMS[0], Math.min(1, (element.clientWidth - 2) / world.width, (element.clientHeight - 2) / world.height))),
    lookAt,
    place: () => ({ zoom: state.zoom, left: element.scrollLeft, top: element.scrollTop, current: state.current, focused: (element.contains(document.activeElement) && document.activeElement.dataset.id) || null }),
  };
}

const nearest = (zoom) => ZOOMS.reduce((best, one, index) => (Math.abs(one - zoom) < Math.abs(ZOOMS[best] - zoom) ? index : best), 0);

/** Layers go across or down, whichever needs less width. */
function measure(nodes) {
  const plan = layOut(nodes);
  const pitch = (down) => (down
    ? { along: BOX.height + GAP.along.down, beside: BOX.width + GAP.beside.down }
    : { along: BOX.width + GAP.along.across, beside: BOX.height + GAP.beside.across });
  const down = plan.slots * pitch(true).beside < plan.layers * pitch(false).along;
  const { along, beside } = pitch(down);
  const at = ({ layer, slot }) => ({ x: MARGIN + (down ? slot * beside : layer * along), y: MARGIN + (down ? layer * along : slot * beside) });
  const placed = nodes.map((node) => ({ ...node, ...plan.places.get(node.id), ...at(plan.places.get(node.id)), ...BOX }));
  const byId = new Map(placed.map((node) => [node.id, node]));
  const edges = plan.edges.map(({ from, to, bends }) => {
    const stops = [byId.get(from), ...bends.map(at), byId.get(to)];
    const [xs, ys] = [stops.map((stop) => stop.x), stops.map((stop) => stop.y)];
    const [x, y] = [Math.min(...xs), Math.min(...ys)];
    return { id: `${from}\u0000${to}`, from, to, path: curve(stops, down), x, y, width: Math.max(...xs) + BOX.width - x, height: Math.max(...ys) + BOX.height - y };
  });
  const size = (count, step, box) => 2 * MARGIN + Math.max(0, count - 1) * step + box;
  const [width, height] = down
    ? [size(plan.slots, beside, BOX.width), size(plan.layers, along, BOX.height)]
    : [size(plan.layers, along, BOX.width), size(plan.slots, beside, BOX.height)];
  return { nodes: placed, byId, edges, edgeById: new Map(edges.map((edge) => [edge.id, edge])), width, height, down, ...links(edges) };
}

function links(edges) {
  const [parents, children] = [new Map(), new Map()];
  const add = (map, key, value) => (map.get(key) ?? map.set(key, []).get(key)).push(value);
  for (const { from, to } of edges) {
    add(children, from, to);
    add(parents, to, from);
  }
  return { parents, children };
}

function curve(stops, down) {
  const enter = (stop) => (down ? [stop.x + BOX.width / 2, stop.y] : [stop.x, stop.y + BOX.height / 2]);
  const leave = (stop) => (down ? [stop.x + BOX.width / 2, stop.y + BOX.height] : [stop.x + BOX.width, stop.y + BOX.height / 2]);
  let path = `M${leave(stops[0]).map(Math.round)}`;
  for (let i = 1; i < stops.length; i += 1) {
    const [[x1, y1], [x2, y2]] = [leave(stops[i - 1]), enter(stops[i])];
    const last = i === stops.length - 1 ? 2 : 0;
    const [tx, ty] = down ? [x2, y2 - last] : [x2 - last, y2];
    const half = down ? (y1 + ty) / 2 : (x1 + tx) / 2;
    path += down ? `C${[x1, half, tx, half, tx, ty].map(Math.round)}` : `C${[half, y1, half, ty, tx, ty].map(Math.round)}`;
    if (i < stops.length - 1) path += `L${leave(stops[i]).map(Math.round)}`;
  }
  return path;
}

function drawNode(node, isCurrent) {
  const { x, y, width, height } = node;
  const attributes = {
    class: node.fold ? "node folded" : "node", "data-id": node.id, "data-tone": tone(node.status), "aria-label": node.label, tabindex: isCurrent ? "0" : "-1",
    transform: `translate(${Math.round(x)} ${Math.round(y)})`, ...(node.fold ? { role: "button", "aria-expanded": "false" } : { href: node.href }),
  };
  const box = (shift) => svg("rect", { class: "box", x: shift, y: shift, width, height, rx: 7 });
  return svg(node.fold ? "g" : "a", attributes,
    svg("title", {}, node.label), node.fold && [box(6), box(3)], box(0),
    svg("rect", { class: "stripe", x: 0, y: 0, width: 5, height, rx: 2.5 }),
    svg("path", { class: "mark", d: statePath(node.status), transform: "translate(14 13) scale(0.82)" }),
    svg("text", { class: "node-title", x: 42, y: 19 }, node.title),
    svg("text", { class: "node-text", x: 42, y: 35 }, shorten(node.text)));
}

const shorten = (text) => (text.length > 22 ? `${text.slice(0, 21)}…` : text);

/** Make the drawn elements those that are wanted, and touch no other. */
function sync(drawn, items, layer, wanted, make) {
  for (const item of items) {
    const there = drawn.get(item.id);
    const want = wanted(item);
    if (want && !there) {
      const made = make(item);
      drawn.set(item.id, made);
      layer.append(made);
    } else if (!want && there && !there.contains(document.activeElement)) {
      there.remove();
      drawn.delete(item.id);
    }
  }
}

/** Everything the node depends on and everything that depends on it; null for none. */
function relatives({ parents, children }, node) {
  if (!node) return null;
  const found = new Set([node.id]);
  for (const links_ of [parents, children]) {
    const open = [node.id];
    while (open.length) for (const next of links_.get(open.pop()) ?? []) if (!found.has(next)) { found.add(next); open.push(next); }
  }
  return found;
}

/** Where a key leads: along the arrows to a parent or child, across them to the next in the layer. */
function neighbour({ nodes, byId, parents, children, down }, node, key) {
  const [back, forth, less, more] = down ? ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"] : ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
  const near = (ids) => ids?.map((id) => byId.get(id)).sort((a, b) => Math.abs(a.slot - node.slot) - Math.abs(b.slot - node.slot) || Math.abs(a.layer - node.layer) - Math.abs(b.layer - node.layer))[0];
  const layer = () => nodes.filter((other) => other.layer === node.layer).sort((a, b) => a.slot - b.slot);
  if (key === back) return near(parents.get(node.id));
  if (key === forth) return near(children.get(node.id));
  if (key === less) return layer().findLast((other) => other.slot < node.slot);
  if (key === more) return layer().find((other) => other.slot > node.slot);
  return { Home: nodes[0], End: nodes.at(-1) }[key];
}

