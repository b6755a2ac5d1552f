// Where the reader is, in the hash: #/dag/<dag>/<group>/<tab>/<version>?q=words. Links can be sent and gone back to.

export const TABS = ["migrations", "graph", "plan", "history", "audit", "charts"];

/** Every database, also inside the tab of one DAG. */
export const ALL = "#/all";

/** A hash -> { dag, group, tab, version, query }; without `dag` it is the overview, of everything if `all`. */
export function parseRoute(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [kind, ...parts] = path.split("/").filter(Boolean).map(decode);
  const query = new URLSearchParams(search);
  if (kind !== "dag" || parts.length === 0) return { query, all: kind === "all" };
  const [dag, group, tab, version] = parts;
  return { dag, group, tab: TABS.includes(tab) ? tab : TABS[0], version, query };
}

/** The hash of a place; `query` holds what is searched for, empty values are left out. */
export function routeTo({ dag, group, tab, version } = {}, query = {}) {
  const parts = dag ? ["dag", dag, group, ...(tab || version ? [tab ?? TABS[0]] : []), version] : [];
  const filled = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const search = filled.length ? `?${new URLSearchParams(filled)}` : "";
  return `#/${parts.filter(Boolean).map(encodeURIComponent).join("/")}${search}`;
}

/** Where a group of the API stands; one database of a mapped group has its map index behind the name, as `migrate[1]`. */
export const placeOf = ({ dag_id: dag, group_id: group, map_index: index }) => ({ dag, group: index === null ? group : `${group}[${index}]` });

/** Change what is searched for without a new step in the history and without drawing anew. */
export function rewriteQuery(route, query) {
  history.replaceState(history.state, "", routeTo(route, query));
}

/** Call `listener` with every route, the first at once. */
export function onRoute(listener) {
  const tell = () => listener(parseRoute(location.hash));
  addEventListener("hashchange", tell);
  tell();
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
