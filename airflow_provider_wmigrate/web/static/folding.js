// A large dependency graph made small: migrations that look alike and hang alike are drawn as one. Pure.

/** Fewer nodes than this are always drawn one by one. */
export const FOLD_FROM = 40;
const LEAST = 3;

/**
 * Fold chains (one after the other) and stacks (same parents, same children) of migrations with the same status.
 * @param {{id: string, parents: string[], status: string}[]} migrations in the order of their versions
 * @param {Set<string>} opened ids of folds that a person has opened; their members stay apart
 * @returns {{id: string, parents: string[], status: string, members: string[]}[]} a fold's id is `fold:` + its first member
 */
export function fold(migrations, opened = new Set()) {
  let nodes = migrations.map((m) => ({ id: m.id, parents: [...m.parents], status: m.status, members: [m.id] }));
  if (nodes.length < FOLD_FROM) return nodes;
  for (;;) {
    const smaller = merge(nodes, stacks(nodes), opened) ?? merge(nodes, chains(nodes), opened);
    if (!smaller) return nodes;
    nodes = smaller;
  }
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
  const alike = new Map();
  for (const node of nodes) {
    const key = JSON.stringify([node.status, [...node.parents].sort(), [...children.get(node.id)].sort()]);
    if (alike.has(key)) alike.get(key).push(node);
    else alike.set(key, [node]);
  }
  return [...alike.values()];
}

/** The nodes with each large enough group as one; null when there is none. */
function merge(nodes, groups, opened) {
  const foldOf = new Map();
  for (const group of groups) {
    const members = group.flatMap((node) => node.members);
    const id = `fold:${members[0]}`;
    const worth = group.length > 1 && members.length >= LEAST;
    if (worth && !opened.has(id)) for (const node of group) foldOf.set(node.id, { id, members, group });
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
