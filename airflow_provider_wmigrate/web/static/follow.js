// A run that was started, told until it has ended.

import { run as askRun } from "./api.js";
import { h, replace } from "./dom.js";
import { count } from "./format.js";
import { icon } from "./icons.js";
import { airflowLink } from "./outside.js";
import { answerLinks, stateWord } from "./overview.js";
import { announce, banner } from "./parts.js";
import { routeTo } from "./router.js";

const FIRST_MS = 1000;
const LATER_MS = 5000;
const PATIENCE = 5;

/** Whether a run of this state may still change. */
export const isUnfinished = (state) => ["queued", "running"].includes(state);

/**
 * Show a run inside `holder` and ask Airflow about it until it has ended.
 * @param run { dag_id, run_id, url, what } `what` names it: "dry run", "apply", "rollback"
 * @param isOver tells that nobody looks any more; `onStep` is called, and waited for, whenever a task has begun or ended; `onEnd` once
 *   when the run has ended
 */
export async function follow(holder, run, { isOver, onStep, onEnd, place }) {
  const name = run.what.charAt(0).toUpperCase() + run.what.slice(1);
  let [told, step, wait, failures] = ["", "", FIRST_MS, 0];
  show(holder, run, name, { state: run.state ?? "queued", asks: run.asks, running: [], failed: [], done: 0 });
  while (!isOver()) {
    await pause(wait);
    wait = Math.min(LATER_MS, wait * 1.25);
    if (isOver()) return;
    if (document.hidden) continue;
    let now;
    try {
      now = await askRun(run.dag_id, run.run_id);
      failures = 0;
    } catch (problem) {
      failures += 1;
      if (problem.status === 401 || problem.status === 403 || failures >= PATIENCE) return lost(holder, run, name, problem);
      continue;
    }
    if (isOver()) return;
    show(holder, run, name, now, place);
    if (stateWord(now) !== told) announce(`${name} ${stateWord(now)}`);
    told = stateWord(now);
    if (!isUnfinished(now.state)) return onEnd(now);
    const seen = JSON.stringify([now.running, now.failed, now.asks, now.done]);
    if (seen !== step) await onStep();
    step = seen;
  }
}

function show(holder, run, name, now, place) {
  const ended = !isUnfinished(now.state);
  const waits = now.asks?.length > 0;
  const kind = waits ? "changed" : { success: "applied", failed: "failed", queued: "pending" }[now.state] ?? "running";
  const mark = waits ? "person" : { success: "check", failed: "cross", queued: "clock" }[now.state] ?? "spinner";
  const tasks = [
    now.done > 0 && `${count(now.done, "task")} done`,
    waits && `a person is asked by ${now.asks.map((one) => one.task_id).join(", ")}`,
    now.running.length > 0 && `running: ${now.running.join(", ")}`,
    now.failed.length > 0 && `failed: ${now.failed.join(", ")}`,
  ].filter(Boolean);
  const box = banner(kind, mark, h("strong", {}, `${name} ${stateWord(now)}. `), tasks.join(" · "), " ",
    ended && place && run.what.startsWith("dry run") && [h("a", { class: "chip", href: routeTo({ ...place, tab: "history" }) }, icon("flask"), "See what it found"), " "],
    answerLinks(now), " ",
    airflowLink(run.url, "Open the run", { label: `Open the run ${run.run_id} in Airflow` }));
  if (kind === "running") box.querySelector(".icon").classList.add("turning");
  if (ended) box.append(h("button", { type: "button", class: "quiet small", "aria-label": "Dismiss", onclick: () => replace(holder) }, icon("cross")));
  if (box.textContent === holder.textContent) return;
  const focused = holder.contains(document.activeElement);
  replace(holder, box);
  if (focused) box.querySelector("a").focus();
}

function lost(holder, run, name, problem) {
  replace(holder, banner("changed", "alert", h("strong", {}, `${name} was started, `), `but it cannot be followed here: ${problem.message} `, airflowLink(run.url, "Open the run")));
}

const pause = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });
