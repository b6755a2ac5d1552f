// A large dependency graph made small, level by level: migrations that look alike and hang alike are drawn as one box, and a box of
// hundreds opens into boxes of tens. The whole is never one box. Pure.

/** Fewer nodes than this are always drawn one by one. */
export const FOLD_FROM = 40;
const LEAST = 3;
/** A box holds ten times what the boxes inside it hold. */
const STEP = 10;
/** So many boxes at the most are drawn of a graph that nobody has opened. */
const MOST_BOXES = 120;

/**
 * Fold chains (one after the other) and stacks (same parents, same children) of migrations with the same status; where too
 * many boxes are left, whatever stands on neighbouring layers.
 * @param {{id: string, parents: string[], status: string}[]} migrations in the order of their versions
 * @param {Set<string>} opened ids of folds that a person has opened
 * @returns {{id: string, parents: string[], status: string, members: string[], counts: Map<string, number>}[]} members by version; a
 *   fold's id is `fold:`, its first member and how many it holds; its status is the one that needs attention most
 */
export function fold(migrations, opened = new Set()) {
  if (migrations.length < FOLD_FROM) return joined(migrations.map((m) => [m]));
  const groups = parted(alike(migrations).flatMap((members) => (waits(members) ? members.map((one) => [one]) : [members])));
  const isSmall = inLevels(groups, new Set()).length <= MOST_BOXES;
  return joined(inLevels(isSmall ? groups : parts(byLayer(migrations)), opened));
}

/** The boxes that hold one path to a migration, outermost first: opening each in turn shows it. */
export function foldsAround(migrations, id) {
  const [opened, path] = [new Set(), []];
  for (;;) {
    const box = fold(migrations, opened).find((node) => node.members.includes(id));
    if (!box || box.members.length === 1) return path;
    opened.add(box.id);
    path.push(box.id);
  }
}

const foldId = (members) => `fold:${members[0].id}:${members.length}`;

/** Boxes that are opened become boxes of a tenth of their size, and in the end migrations. */
function inLevels(groups, opened) {
  return groups.flatMap((members) => {
    if (members.length < LEAST) return members.map((one) => [one]);
    return opened.has(foldId(members)) ? inLevels(parts(members), opened) : [members];
  });
}

/** What needs attention is shown one by one, if it is not many. */
const waits = (members) => members.length <= STEP && members.every(({ status }) => status !== "applied");

/** No box holds more than a third of all: the picture says something before anyone opens it. */
function parted(groups) {
  const most = groups.reduce((sum, members) => sum + members.length, 0) / 3;
  return groups.flatMap((members) => (members.length > Math.max(most, STEP) ? parts(members) : [members]));
}

/** None of them needs one that comes later. */
function byLayer(migrations) {
  const layerOf = layers(migrations);
  return [...migrations].sort((a, b) => layerOf.get(a.id) - layerOf.get(b.id));
}

/** At least two and at most ten parts, of a size that is a power of ten. */
function parts(members) {
  let size = 1;
  while (size * STEP < members.length) size *= STEP;
  const count = Math.ceil(members.length / size);
  return Array.from({ length: count }, (_, index) => members.slice(index * size, (index + 1) * size));
}

/** Groups of members as nodes, with the edges between the groups. */
function joined(groups) {
  const idOf = new Map();
  const nodes = groups.map((members) => {
    const id = members.length === 1 ? members[0].id : foldId(members);
    for (const member of members) idOf.set(member.id, id);
    const counts = new Map();
    for (const { status } of members) counts.set(status, (counts.get(status) ?? 0) + 1);
    return { id, members, counts };
  });
  return nodes.map(({ id, members, counts }) => {
    const parents = [...new Set(members.flatMap((member) => member.parents).map((parent) => idOf.get(parent) ?? parent))].filter((parent) => parent !== id);
    return { id, parents, status: worst(counts), members: members.map((member) => member.id), counts };
  });
}

const BY_NEED = ["failed", "incomplete", "changed", "missing", "pending", "left_out", "forgotten"];
const worst = (counts) => BY_NEED.find((status) => counts.has(status)) ?? counts.keys().next().value;

/** Id -> the length of the longest way to it. */
function layers(migrations) {
  const byId = new Map(migrations.map((m) => [m.id, m]));
  const found = new Map();
  const look = (start) => {
    const open = [start];
    while (open.length) {
      const id = open.at(-1);
      const waiting = byId.get(id).parents.filter((parent) => byId.has(parent) && !found.has(parent) && !open.includes(parent));
      if (waiting.length) open.push(waiting[0]);
      else {
        found.set(id, 1 + Math.max(-1, ...byId.get(id).parents.map((parent) => found.get(parent) ?? -1)));
        open.pop();
      }
    }
  };
  for (const { id } of migrations) if (!found.has(id)) look(id);
  return found;
}

/** Groups of migrations that look and hang alike, each ordered so that none needs a later one. */
function alike(migrations) {
  let nodes = migrations.map((m) => ({ id: m.id, parents: [...m.parents], status: m.status, members: [m] }));
  for (;;) {
    const smaller = merge(nodes, stacks(nodes)) ?? merge(nodes, chains(nodes));
    if (!smaller) break;
    nodes = smaller;
  }
  const [layerOf, place] = [layers(migrations), new Map(migrations.map((m, index) => [m.id, index]))];
  const inOrder = (members) => members.every((one) => one.parents.every((parent) => !place.has(parent) || place.get(parent) < place.get(one.id)));
  const by = (members) => (inOrder(members) ? (one) => place.get(one.id) : (one) => layerOf.get(one.id));
  return nodes.map(({ members }) => {
    const value = by(members);
    return [...members].sort((a, b) => value(a) - value(b));
  });
}

function childrenOf(nodes) {
  const children = new Map(nodes.map((node) => [node.id, []]));
  for (const node of nodes) for (const parent of node.parents) children.get(parent)?.push(node.id);
  return children;
}

function chains(nodes) {
  const children = childrenOf(nodes);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const next = (node) => {
    const [only, more] = children.get(node.id);
    const child = more === undefined ? byId.get(only) : undefined;
    return child && child.parents.length === 1 && child.status === node.status ? child : undefined;
  };
  const followed = new Set(nodes.map((node) => next(node)?.id));
  return nodes.filter((node) => !followed.has(node.id)).map((node) => {
    const run = [node];
    for (let child = next(node); child; child = next(child)) run.push(child);
    return run;
  });
}

function stacks(nodes) {
  const children = childrenOf(nodes);
  const found = new Map();
  for (const node of nodes) {
    const key = JSON.stringify([node.status, [...node.parents].sort(), [...children.get(node.id)].sort()]);
    if (found.has(key)) found.get(key).push(node);
    else found.set(key, [node]);
  }
  return [...found.values()];
}

/** The nodes with each large enough group as one; null when there is none. */
function merge(nodes, groups) {
  const foldOf = new Map();
  for (const group of groups) {
    const members = group.flatMap((node) => node.members);
    if (group.length < 2 || members.length < LEAST) continue;
    for (const node of group) foldOf.set(node.id, { id: `fold:${members[0].id}`, members, group });
  }
  if (!foldOf.size) return null;
  const rename = (id) => foldOf.get(id)?.id ?? id;
  const made = new Set();
  return nodes.flatMap((node) => {
    const into = foldOf.get(node.id);
    if (!into) return [{ ...node, parents: [...new Set(node.parents.map(rename))] }];
    if (made.has(into.id)) return [];
    made.add(into.id);
    const inside = new Set(into.group.map((member) => member.id));
    const outside = into.group.flatMap((member) => member.parents).filter((id) => !inside.has(id));
    return [{ id: into.id, members: into.members, status: node.status, parents: [...new Set(outside.map(rename))] }];
  });
}
