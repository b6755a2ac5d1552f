// The dependency graph with states; a large one is folded by levels until someone opens the boxes, or looks for a migration.

import { h, replace } from "./dom.js";
import { FOLD_FROM, fold, foldsAround } from "./folding.js";
import { count, tone, words } from "./format.js";
import { graphPicture } from "./graph.js";
import { icon, stateIcon } from "./icons.js";
import { announce, badge, empty } from "./parts.js";
import { routeTo } from "./router.js";
import { pagedTable } from "./table.js";

const MOST_FOUND = 8;

/** The tab "graph". */
export function showGraph(panel, { route, place, status }) {
  const all = status.migrations;
  if (!all.length) return replace(panel, empty("graph", "No migrations", "There is no migration in the folder of this group."));
  let byVersion;
  let items;
  const know = (migrations) => {
    byVersion = new Map(migrations.map((one) => [one.version, one]));
    items = migrations.map((one) => ({ id: one.version, parents: one.dependencies, status: one.status }));
  };
  know(all);
  const opened = new Set();
  const [holder, note] = [h("div", {}), h("p", { class: "muted" })];
  let picture;
  let everything = false;

  const draw = (focus, andFocus = false, at = null) => {
    const folded = everything ? items.map((item) => ({ ...item, members: [item.id] })) : fold(items, opened);
    const nodes = folded.map((node) => described(node, byVersion, place));
    picture = graphPicture(nodes, {
      label: `Dependency graph of ${count(all.length, "migration")}. Arrow keys walk along it.`,
      onOpen: (node) => {
        opened.add(node.id);
        announce(node.label);
        draw(node.members[0], true);
      },
      at,
    });
    replace(holder, picture.element);
    const folds = nodes.filter((node) => node.fold).length;
    replace(note, folds ? `${count(all.length, "migration")} in ${count(nodes.length, "box", "boxes")}. Open a box with several migrations to see what is inside.` : count(all.length, "migration"));
    foldButton.hidden = all.length < FOLD_FROM;
    replace(foldButton, everything || opened.size ? "Fold" : "Unfold all");
    showLegend();
    const target = !at && nodes.find((node) => node.members.includes(focus));
    requestAnimationFrame(() => target && picture.lookAt(target.id, andFocus));
  };
  const foldButton = h("button", { type: "button", class: "small", onclick: () => {
    everything = !(everything || opened.size);
    opened.clear();
    draw(startOf(all));
  } });
  const goTo = (version) => {
    if (!everything) for (const id of foldsAround(items, version)) opened.add(id);
    draw(version, true);
  };
  const tool = (name, label, act) => h("button", { type: "button", class: "small", "aria-label": label, title: label, onclick: act }, icon(name));
  const legend = h("ul", { class: "legend states", "aria-label": "States" });
  const showLegend = () => replace(legend, [...new Set(items.map((item) => item.status))].map((state) => h("li", { "data-tone": tone(state) }, stateIcon(state), words(state))));
  replace(panel, h("div", { class: "stack" },
    h("div", { class: "row spread graph-bar" }, search(all, goTo),
      h("div", { class: "row tight" }, foldButton, tool("minus", "Zoom out", () => picture.zoom(-1)), tool("plus", "Zoom in", () => picture.zoom(1)), tool("fit", "Fit into view", () => picture.fit()))),
    legend, holder, note, asTable(all, place)));
  draw(route.version ?? startOf(all));
  return { update: ({ migrations }) => {
    if (JSON.stringify(migrations.map((one) => one.status)) === JSON.stringify(items.map((item) => item.status))) return;
    know(migrations);
    draw(null, false, picture.place());
  } };
}

/** A field that finds migrations by version or name; whichever is chosen is shown in the graph, in whatever box it was. */
function search(all, goTo) {
  const found = h("ul", { class: "found-list" });
  const field = h("input", { type: "search", placeholder: "Find version or name", "aria-label": "Find a migration in the graph", autocomplete: "off", spellcheck: "false" });
  const close = () => replace(found);
  const choose = (version) => { close(); field.value = ""; goTo(version); };
  const matches = () => {
    const terms = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!terms.length) return [];
    return all.filter((one) => terms.every((term) => `${one.version} ${words(one.name)} ${words(one.status)}`.toLowerCase().includes(term)));
  };
  field.addEventListener("input", () => {
    const fit = matches();
    replace(found, fit.slice(0, MOST_FOUND).map((one) => h("li", {}, h("button", { type: "button", class: "quiet", onclick: () => choose(one.version) },
      h("b", { class: "mono" }, one.version), h("span", { class: "found-name" }, words(one.name)), badge(one.status)))),
    fit.length > MOST_FOUND && h("li", { class: "muted" }, `and ${count(fit.length - MOST_FOUND, "more", "more")}: write more of the name`),
    field.value.trim() && !fit.length && h("li", { class: "muted" }, "No migration has that version or name."));
    announce(field.value.trim() ? `${count(fit.length, "migration")} found` : "");
  });
  const box = h("div", { class: "finder" }, field, found);
  box.addEventListener("keydown", (event) => {
    const stops = [field, ...found.querySelectorAll("button")];
    const at = stops.indexOf(document.activeElement);
    if (event.key === "Escape") { close(); field.focus(); }
    else if (event.key === "Enter" && at === 0 && stops[1]) { event.preventDefault(); stops[1].click(); }
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      stops[(at + (event.key === "ArrowDown" ? 1 : -1) + stops.length) % stops.length].focus();
    }
  });
  box.addEventListener("focusout", (event) => { if (!box.contains(event.relatedTarget)) close(); });
  return box;
}

/** What one looks for first: what needs attention, else the newest. */
function startOf(all) {
  return (all.find((one) => one.status !== "applied") ?? all.at(-1)).version;
}

function described(node, byVersion, place) {
  const [first, last] = [node.members[0], node.members.at(-1)].map((version) => byVersion.get(version));
  if (node.members.length > 1) {
    const rest = [...node.counts].filter(([state]) => state !== "applied").map(([state, number]) => `${number} ${words(state)}`);
    const states = node.counts.size > 1 ? rest.join(", ") : words(node.status);
    const title = last.version.length > 6 ? `${first.version} …` : `${first.version} – ${last.version}`; // as wide as the box
    const text = count(node.members.length, "migration");
    return { ...node, fold: true, title, text: node.counts.size > 1 ? `${node.members.length}: ${states}` : text, label: `${text} from ${first.version} to ${last.version}, ${states}. Open to see them.` };
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
