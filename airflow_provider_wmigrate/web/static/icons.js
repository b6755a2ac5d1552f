// Small line drawings, beside words and never instead of them.

import { svg } from "./dom.js";

const PATHS = {
  check: "M5 12.5l4.5 4.5L19 7.5",
  circle: "M12 5a7 7 0 1 0 0 14a7 7 0 1 0 0-14",
  pencil: "M4 20l4.2-1L19 8.2a2 2 0 0 0-3-3L5.2 16L4 20z",
  question: "M8.8 9a3.3 3.3 0 1 1 4.7 3.2c-1 .6-1.5 1.1-1.5 2.3M12 18.2v.1",
  cross: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  alert: "M12 4L2.8 19.5h18.4L12 4zM12 10v4.2M12 16.9v.1",
  spinner: "M12 4a8 8 0 1 0 8 8",
  undo: "M8.5 5L4 9.5L8.5 14M4 9.5h10a5.5 5.5 0 0 1 0 11h-3",
  play: "M8 5.5v13l10.5-6.5z",
  flask: "M9.5 4h5M10.5 4v5.5L5.2 18a1.6 1.6 0 0 0 1.4 2.5h10.8a1.6 1.6 0 0 0 1.4-2.5L13.5 9.5V4M7.8 15h8.4",
  database: "M5 6.5c0-1.7 3.1-3 7-3s7 1.3 7 3s-3.1 3-7 3s-7-1.3-7-3zM5 6.5v11c0 1.7 3.1 3 7 3s7-1.3 7-3v-11M5 12c0 1.7 3.1 3 7 3s7-1.3 7-3",
  graph: "M4 6h5v4H4zM15 4h5v4h-5zM15 16h5v4h-5zM9 8h3v-2h3M12 8v10h3",
  list: "M9 6h11M9 12h11M9 18h11M4.5 6v.1M4.5 12v.1M4.5 18v.1",
  plan: "M8 5H6v15h12V5h-2M9 3.5h6v3H9zM9 12l1.6 1.6L14 10.2",
  clock: "M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16M12 8v4.3l3 1.8",
  shield: "M12 3.5l7 2.5v5.5c0 4.4-2.9 7.6-7 9c-4.1-1.4-7-4.6-7-9V6z",
  chart: "M4 20h16M7 16v-5M12 16V6M17 16v-7.5",
  person: "M12 5a3.4 3.4 0 1 0 0 6.8a3.4 3.4 0 1 0 0-6.8M5 20c.6-3.4 3.4-5.2 7-5.2s6.4 1.8 7 5.2",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1",
  log: "M7 3.5h7l4 4v13H7zM14 3.5v4h4M10 12h5M10 15.5h5",
  refresh: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4.5V9H15",
  back: "M14.5 6L8.5 12l6 6",
  pause: "M9 6v12M15 6v12",
  unlink: "M10 14a4 4 0 0 0 5.7 0l2-2M14 10a4 4 0 0 0-5.7 0l-2 2M4 4l16 16",
  up: "M6 14.5l6-6l6 6",
  down: "M6 9.5l6 6l6-6",
  server: "M5 4.5h14v6H5zM5 13.5h14v6H5zM8 7.5v.1M8 16.5v.1",
  search: "M10.5 5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M14.8 14.8L19.5 19.5",
  plus: "M12 5.5v13M5.5 12h13",
  minus: "M5.5 12h13",
  fit: "M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15",
};

const OF_STATE = {
  applied: "check", success: "check", healthy: "check", current: "check", intact: "check",
  pending: "circle", queued: "circle", unknown: "question", not_checked: "question", timeout: "clock",
  changed: "pencil", missing: "question", incomplete: "alert", attention: "alert", degraded: "alert", warning: "alert",
  failed: "cross", error: "cross", unhealthy: "cross", broken: "unlink", rollback_failed: "cross", upstream_failed: "cross",
  running: "spinner", awaiting_input: "person", rolled_back: "undo", left_out: "minus", forgotten: "question", not_tried: "minus", rollback: "undo", dry_run: "flask", apply: "play",
};

/** A drawing by its name; hidden from screen readers. */
export function icon(name, extra = "") {
  const frame = { class: `icon ${extra}`.trim(), viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" };
  return svg("svg", frame, svg("path", { d: PATHS[name] ?? PATHS.circle }));
}

/** The drawing's path of a state, for the graph. */
export function statePath(state) {
  return PATHS[OF_STATE[state] ?? "circle"];
}

/** The drawing of a state. */
export function stateIcon(state) {
  return icon(OF_STATE[state] ?? "circle", state === "running" ? "turning" : "");
}
