// The newest runs, and what happened to the migrations.

import { append, h, replace } from "./dom.js";
import { duration } from "./format.js";
import { airflowLink } from "./outside.js";
import { badge, empty, loading, sourceBanner, when } from "./parts.js";
import { table } from "./table.js";
import { history } from "./view_migration.js";
import { answerLinks, runBadge, verb } from "./overview.js";

/** The tab "history". `kept.pages`: how many pages of events the reader has asked for. */
export async function showHistory(panel, { place, status, ask, refresh, kept }) {
  replace(panel, loading(4));
  const answer = await ask("history");
  const events = h("div", { class: "stack" });
  const addEvents = (page) => {
    const more = h("button", { type: "button", onclick: async () => {
      more.disabled = true;
      await addOlder(page);
      kept.pages += 1;
      more.remove();
    } }, "Show older events");
    append(events, [history(page.events, { withVersion: place }), page.next_before !== null && more]);
    return page;
  };
  const addOlder = async (page) => addEvents(await ask("history", { before: page.next_before }));
  kept.pages ??= 1;
  let last = addEvents(answer);
  for (let pages = 1; pages < kept.pages && last.next_before !== null; pages += 1) {
    events.lastChild.remove();
    last = await addOlder(last);
  }
  replace(panel, h("div", { class: "stack" },
    answer.source.kind !== status.source.kind && sourceBanner(answer.source, refresh),
    h("section", { class: "stack" }, h("h2", {}, "Runs"), runs(answer.runs)),
    h("section", { class: "stack" }, h("h2", {}, "Migrations"), events)));
}

function runs(items) {
  if (!items.length) return h("div", { class: "card" }, empty("clock", "No run yet"));
  const list = (versions) => (versions.length > 6 ? `${versions.slice(0, 5).join(", ")} and ${versions.length - 5} more` : versions.join(", "));
  return table("Runs, newest first", [
    { title: "Started", cell: (run) => when(run.started_at ?? run.run_after) },
    { title: "Run", cell: (run) => airflowLink(run.url, run.run_id) },
    { title: "For", cell: (run) => badge(run.mode === "dry_run" ? "dry_run" : run.direction, verb(run)) },
    { title: "State", cell: (run) => [runBadge(run), answerLinks(run)] },
    { title: "Who", cell: (run) => run.actor ?? "schedule" },
    { title: "Did", cell: (run) => [
      run.applied.length > 0 && h("p", {}, `applied ${list(run.applied)}`), run.rolled_back.length > 0 && h("p", {}, `rolled back ${list(run.rolled_back)}`),
      run.dry_run.length > 0 && h("p", {}, `tried ${list(run.dry_run)}`),
      Object.keys(run.not_tried).length > 0 && h("p", {}, `not tried ${list(Object.keys(run.not_tried))}`), run.failed.length > 0 && h("p", { class: "error-text" }, `failed: ${run.failed.join(", ")}`)] },
    { title: "Took", number: true, cell: (run) => duration(run.duration_ms) },
  ], items, { hideCaption: true });
}
