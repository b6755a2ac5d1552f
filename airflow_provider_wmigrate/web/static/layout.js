// Where each node of a dependency graph stands: layers by longest path, few crossings, the same picture every time.
// Pure: nodes and edges in, places out.

const SWEEPS = 8;
const MOST_BENDS = 4000;

/**
 * @param {{id: string, parents: string[]}[]} nodes parents that are not in the list are ignored
 * @returns {{places: Map<string, {layer: number, slot: number}>, edges: {from: string, to: string, bends: {layer: number, slot: number}[]}[],
 *   layers: number, slots: number}} slots count from 0, and may be fractions
 */
export function layOut(nodes) {
  const ids = new Set(nodes.map((node) => node.id));
  const parents = new Map(nodes.map((node) => [node.id, [...new Set(node.parents)].filter((id) => ids.has(id) && id !== node.id)]));
  const layerOf = longestPaths(nodes, parents);
  const { layers, chains, up, down } = withBends(nodes, parents, layerOf);
  untangle(layers, up, down);
  for (const layer of layers) centre(layer, up, down);
  const slots = spread(layers, up, down);
  const place = (id) => ({ layer: layerOf.get(id), slot: slots.get(id) });
  return {
    places: new Map(nodes.map((node) => [node.id, place(node.id)])),
    edges: chains.map(({ from, to, bends }) => ({ from, to, bends: bends.map(place) })),
    layers: layers.length,
    slots: Math.max(0, ...slots.values()) + 1,
  };
}

/** Id -> layer. A cycle, which the engine refuses anyway, is cut where it is met. */
function longestPaths(nodes, parents) {
  const layerOf = new Map();
  const open = new Set();
  for (const { id: start } of nodes) {
    const stack = [start];
    while (stack.length) {
      const id = stack.at(-1);
      const waiting = layerOf.has(id) ? undefined : parents.get(id).find((parent) => !layerOf.has(parent) && !open.has(parent));
      if (waiting !== undefined) {
        open.add(id);
        stack.push(waiting);
        continue;
      }
      if (!layerOf.has(id)) layerOf.set(id, 1 + Math.max(-1, ...parents.get(id).map((parent) => layerOf.get(parent) ?? -1)));
      open.delete(id);
      stack.pop();
    }
  }
  return layerOf;
}

/** Edges over several layers get an invisible node in each, so that they are led around the others. */
function withBends(nodes, parents, layerOf) {
  const layers = Array.from({ length: 1 + Math.max(-1, ...layerOf.values()) }, () => []);
  for (const { id } of nodes) layers[layerOf.get(id)].push(id);
  const [up, down, chains] = [new Map(), new Map(), []];
  const join = (a, b) => {
    (down.get(a) ?? down.set(a, []).get(a)).push(b);
    (up.get(b) ?? up.set(b, []).get(b)).push(a);
  };
  let total = 0;
  for (const { id } of nodes) {
    for (const parent of parents.get(id)) {
      const [bends, first, last] = [[], layerOf.get(parent) + 1, layerOf.get(id)];
      total += last - first;
      for (let layer = first; layer < last && total <= MOST_BENDS; layer += 1) {
        const bend = `${parent}\u0000${id}\u0000${layer}`;
        layerOf.set(bend, layer);
        layers[layer].push(bend);
        bends.push(bend);
      }
      const path = [parent, ...bends, id];
      for (let i = 1; i < path.length; i += 1) join(path[i - 1], path[i]);
      chains.push({ from: parent, to: id, bends });
    }
  }
  return { layers, chains, up, down };
}

/** Order inside the layers: each node at the mean of its neighbours, forth and back; ties keep their order. */
function untangle(layers, up, down) {
  const position = new Map();
  const number = (layer) => layer.forEach((id, index) => position.set(id, index));
  layers.forEach(number);
  const mean = (id, neighbours) => {
    const around = neighbours.get(id);
    if (!around?.length) return position.get(id);
    return around.reduce((sum, other) => sum + position.get(other), 0) / around.length;
  };
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const forth = sweep % 2 === 0;
    const order = forth ? layers : [...layers].reverse();
    for (const layer of order) {
      const keys = new Map(layer.map((id) => [id, mean(id, forth ? up : down)]));
      layer.sort((a, b) => keys.get(a) - keys.get(b) || position.get(a) - position.get(b));
      number(layer);
    }
  }
}

/** Of neighbours with the same parents, those that go on stand in the middle: the main line stays straight. */
function centre(layer, up, down) {
  const parentsOf = (id) => JSON.stringify(up.get(id) ?? id);
  for (let start = 0, end; start < layer.length; start = end) {
    end = start + 1;
    while (end < layer.length && parentsOf(layer[end]) === parentsOf(layer[start])) end += 1;
    const run = layer.slice(start, end);
    const ends = run.filter((id) => !down.has(id));
    layer.splice(start, run.length, ...ends.slice(0, ends.length >> 1), ...run.filter((id) => down.has(id)), ...ends.slice(ends.length >> 1));
  }
}

/** Slots: near the neighbours' middle, in the layer's order, at least one apart. */
function spread(layers, up, down) {
  const slots = new Map();
  for (const layer of layers) layer.forEach((id, index) => slots.set(id, index - (layer.length - 1) / 2));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const forth = sweep % 2 === 0;
    for (const layer of forth ? layers : [...layers].reverse()) settle(layer, forth ? up : down, slots);
  }
  const least = Math.min(0, ...slots.values());
  for (const [id, slot] of slots) slots.set(id, slot - least);
  return slots;
}

function settle(layer, neighbours, slots) {
  const wanted = layer.map((id) => {
    const around = (neighbours.get(id) ?? []).map((other) => slots.get(other)).sort((a, b) => a - b);
    if (!around.length) return slots.get(id);
    const half = around.length >> 1;
    return around.length % 2 ? around[half] : (around[half - 1] + around[half]) / 2;
  });
  // Runs of nodes that push one another share one offset: the mean of what they want.
  const runs = [];
  wanted.forEach((want, index) => {
    let run = { size: 1, sum: want - index };
    while (runs.length && runs.at(-1).sum / runs.at(-1).size >= run.sum / run.size) {
      const before = runs.pop();
      run = { size: before.size + run.size, sum: before.sum + run.sum };
    }
    runs.push(run);
  });
  let index = 0;
  for (const { size, sum } of runs) {
    for (let i = 0; i < size; i += 1, index += 1) slots.set(layer[index], index + sum / size);
  }
}
