// The dependency graph with states; long stretches of alike migrations are folded until someone opens them.

import { h, replace } from "./dom.js";
import { FOLD_FROM, fold } from "./folding.js";
import { count, tone, words } from "./format.js";
import { graphPicture } from "./graph.js";
import { icon, stateIcon } from "./icons.js";
import { announce, badge, empty } from "./parts.js";
import { routeTo } from "./router.js";
import { pagedTable } from "./table.js";

/** The tab "graph". */
export function showGraph(panel, { route, place, status }) {
  const all = status.migrations;
  if (!all.length) return replace(panel, empty("graph", "No migrations", "The folder of this group holds none."));
  const byVersion = new Map(all.map((one) => [one.version, one]));
  const items = all.map((one) => ({ id: one.version, parents: one.dependencies, status: one.status }));
  const opened = new Set();
  const [holder, note] = [h("div", {}), h("p", { class: "muted" })];
  let picture;
  let everything = false;

  const draw = (focus, andFocus = false) => {
    const folded = everything ? items.map((item) => ({ ...item, members: [item.id] })) : fold(items, opened);
    const nodes = folded.map((node) => described(node, byVersion, place));
    picture = graphPicture(nodes, {
      label: `Dependency graph of ${count(all.length, "migration")}. Arrow keys walk along it.`,
      onOpen: (node) => {
        opened.add(node.id);
        announce(node.label);
        draw(node.members[0], true);
      },
    });
    replace(holder, picture.element);
    const folds = nodes.filter((node) => node.fold).length;
    replace(note, folds ? `${count(all.length, "migration")}, alike ones folded into ${count(folds, "box", "boxes")}: open one to see inside.` : count(all.length, "migration"));
    foldButton.hidden = all.length < FOLD_FROM;
    replace(foldButton, everything || opened.size ? "Fold" : "Unfold all");
    const target = nodes.find((node) => node.members.includes(focus));
    requestAnimationFrame(() => target && picture.lookAt(target.id, andFocus));
  };
  const foldButton = h("button", { type: "button", class: "small", onclick: () => {
    everything = !(everything || opened.size);
    opened.clear();
    draw(startOf(all));
  } });
  const tool = (name, label, act) => h("button", { type: "button", class: "small", "aria-label": label, title: label, onclick: act }, icon(name));
  const states = [...new Set(items.map((item) => item.status))];
  replace(panel, h("div", { class: "stack" },
    h("div", { class: "row spread" },
      h("ul", { class: "legend states", "aria-label": "States" }, states.map((state) => h("li", { "data-tone": tone(state) }, stateIcon(state), words(state)))),
      h("div", { class: "row tight" }, foldButton, tool("minus", "Zoom out", () => picture.zoom(-1)), tool("plus", "Zoom in", () => picture.zoom(1)), tool("fit", "Fit into view", () => picture.fit()))),
    holder, note, asTable(all, place)));
  return draw(route.version ?? startOf(all));
}

/** What one looks for first: what needs attention, else the newest. */
function startOf(all) {
  return (all.find((one) => one.status !== "applied") ?? all.at(-1)).version;
}

function described(node, byVersion, place) {
  const [first, last] = [node.members[0], node.members.at(-1)].map((version) => byVersion.get(version));
  if (node.members.length > 1) {
    const [title, text] = [`${first.version} – ${last.version}`, `${count(node.members.length, "migration")}`];
    return { ...node, fold: true, title, text, label: `${text} from ${first.version} to ${last.version}, ${words(node.status)}. Open to see them.` };
  }
  const needs = first.dependencies.length ? `depends on ${first.dependencies.join(", ")}` : "depends on nothing";
  const href = routeTo({ ...place, tab: "migrations", version: first.version });
  return { ...node, href, title: first.version, text: words(first.name), label: `${first.version} ${words(first.name)}, ${words(node.status)}, ${needs}` };
}

function asTable(all, place) {
  const link = (version) => h("a", { class: "mono", href: routeTo({ ...place, tab: "migrations", version }) }, version);
  const box = h("details", { class: "numbers" }, h("summary", {}, "Show as a table"));
  box.addEventListener("toggle", () => {
    if (!box.open || box.dataset.filled) return;
    box.dataset.filled = "yes";
    box.append(pagedTable("Dependencies", [
      { title: "Version", cell: (one) => link(one.version) },
      { title: "Name", cell: (one) => words(one.name) },
      { title: "Status", cell: (one) => badge(one.status) },
      { title: "Depends on", cell: (one) => (one.dependencies.length ? one.dependencies.map((version) => [link(version), " "]) : "nothing") },
    ], all));
  });
  return box;
}
