// What the page asks the server, and nothing else does. Addresses are relative, so that any base path of Airflow works.

const API = new URL("api/v1/", new URL(".", location.href));
const AIRFLOW = new URL("../../../", API);
const PATIENCE_MS = 60_000;

/** An answer that is not the wanted one; `status` 0 means that no answer came. */
export class Problem extends Error {
  constructor(status, { title, detail, code } = {}) {
    super(detail || title || "The server gave no reason.");
    this.status = status;
    this.title = title || "That did not work";
    this.code = code ?? "unknown";
  }
}

/** The address of a page of Airflow: `url` as the API gives it, relative to Airflow's root. */
export function airflowUrl(url) {
  return new URL(String(url).replace(/^\/+/, ""), AIRFLOW).href;
}

/** Every group the caller may read, at a glance. */
export const groups = () => ask(new URL("groups", API));

/** One of `status`, `history`, `plan`, `health`, `audit`, `metrics`, `migrations/<version>` of a group. */
export const about = ({ dag, group }, what, query = {}, signal = undefined) => ask(ofGroup(dag, group, what, query), { signal });

/** Start a run: `action` is `migrate` or `rollback`. */
export const start = ({ dag, group }, action, body) =>
  ask(ofGroup(dag, group, action), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

/** A run of a DAG as Airflow's own API tells it, with the tasks that are running, have failed, or ask a person. */
export async function run(dagId, runId) {
  const base = `api/v2/dags/${encodeURIComponent(dagId)}/dagRuns/${encodeURIComponent(runId)}`;
  const tasks = (query) => ask(new URL(`${base}/taskInstances?${query}`, AIRFLOW));
  const [found, busy, done] = await Promise.all([
    ask(new URL(base, AIRFLOW)),
    tasks("state=running&state=failed&state=awaiting_input&limit=20"),
    tasks("state=success&limit=1"),
  ]);
  const named = (state) => busy.task_instances.filter((task) => task.state === state).map((task) => task.task_id);
  const asks = busy.task_instances.filter((task) => task.state === "awaiting_input").map(({ task_id, map_index: index }) => {
    const task = [dagId, "runs", runId, "tasks", task_id, ...(index >= 0 ? ["mapped", index] : [])].map(encodeURIComponent);
    return { task_id, url: `dags/${task.join("/")}/required_actions` };
  });
  return { state: found.state, running: named("running"), failed: named("failed"), asks, done: done.total_entries };
}

function ofGroup(dag, group, what, query = {}) {
  const path = what.split("/").map(encodeURIComponent).join("/");
  const [, id, index] = /^(.*?)(?:\[(\d+)\])?$/.exec(group);
  const url = new URL(`dags/${encodeURIComponent(dag)}/groups/${encodeURIComponent(id)}/${path}`, API);
  for (const [name, value] of Object.entries({ ...query, map_index: index })) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

async function ask(url, { signal, ...options } = {}) {
  const limits = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
  let answer;
  try {
    const headers = { Accept: "application/json", ...options.headers };
    answer = await fetch(url, { credentials: "same-origin", ...options, headers, signal: AbortSignal.any(limits) });
  } catch (error) {
    if (signal?.aborted) throw error;
    const detail = error.name === "TimeoutError" ? "No answer within a minute." : "The server cannot be reached.";
    throw new Problem(0, { title: "No answer", detail, code: "no_answer" });
  }
  const isJson = /[/+]json\b/.test(answer.headers.get("content-type") ?? "");
  const body = isJson ? await answer.json().catch(() => null) : null;
  if (answer.ok && body !== null) return body;
  throw new Problem(answer.status, problemOf(answer, body));
}

/** The words of an error, be it a problem detail or what Airflow itself or a proxy answers. */
function problemOf(answer, body) {
  const detail = typeof body?.detail === "string" ? body.detail : undefined;
  const title = body?.title ?? `The server answered ${answer.status}`;
  return { title, detail: detail ?? answer.statusText, code: body?.code };
}
