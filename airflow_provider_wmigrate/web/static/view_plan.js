// What a run would do now, and what speaks against it.

import { h, replace } from "./dom.js";
import { count, words } from "./format.js";
import { badge, banner, empty, finding, loading, sourceBanner, when } from "./parts.js";
import { routeTo } from "./router.js";
import { pagedTable } from "./table.js";

/** The tab "plan". */
export async function showPlan(panel, { place, status, ask, refresh }) {
  replace(panel, loading(3));
  const { steps, findings, forecast, blast, left_out: leftOut, backup_needed: backups, planned_at: at, source } = await ask("plan");
  const errors = findings.filter((one) => one.severity === "error");
  const warnings = findings.filter((one) => one.severity !== "error");
  const foreseen = new Map(forecast.map((one) => [one.version, [...one.losses.map((loss) => loss.told), ...one.gives_back, ...(blast[one.version] ?? []), ...one.locks.map((lock) => lock.who_waits), ...one.unforeseen, ...one.late]]));
  for (const [version, why] of Object.entries(backups)) foreseen.set(version, [`needs a backup: ${why}`, ...(foreseen.get(version) ?? [])]);
  const held = Object.entries(leftOut);
  const link = (version) => h("a", { class: "mono", href: routeTo({ ...place, tab: "migrations", version }) }, version);
  replace(panel, h("div", { class: "stack" },
    source.kind !== status.source.kind && sourceBanner(source, refresh),
    errors.length > 0 && banner("failed", "alert", h("strong", {}, `${count(errors.length, "error")}. `), "Until this is corrected, a run stops before it changes anything."),
    backupNotice(backups),
    findings.length > 0 && h("section", { class: "stack" }, h("h2", {}, "Findings"), h("ul", { class: "stack" }, [...errors, ...warnings].map(finding))),
    h("section", { class: "stack" },
      h("h2", {}, steps.length ? `${count(steps.length, "step")}, in this order` : "Steps"),
      steps.length ? pagedTable("Steps of the plan", [
        { title: "#", number: true, cell: (step) => steps.indexOf(step) + 1 },
        { title: "Does", cell: (step) => badge(step.action) },
        { title: "Version", cell: (step) => link(step.version) },
        { title: "Name", cell: (step) => words(step.name) },
        ...(foreseen.size ? [{ title: foreseenTitle(forecast, blast), cell: (step) => lines(foreseen.get(step.version)) }] : []),
        { title: "SHA-256", cell: (step) => h("code", { class: "muted", title: step.checksum }, step.checksum.slice(0, 12)) },
      ], steps) : h("div", { class: "card" }, empty("check", "There is nothing to do", held.length ? "Everything that can run here is applied." : source.kind === "live" ? "Every migration of the folder is applied." : "This is what the last run reported."))),
    held.length > 0 && h("section", { class: "stack" }, h("h2", {}, "Left out"),
      h("ul", { class: "card held" }, held.map(([version, reason]) => h("li", {}, link(version), ` ${reason}`)))),
    at && h("p", { class: "muted" }, "The scripts were last checked by the plan of a run, ", when(at), ".")));
}

/** That a run makes a backup before it changes anything; `backups`: version -> why. */
export function backupNotice(backups) {
  const versions = Object.keys(backups).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
  if (!versions.length) return null;
  const few = versions.length > 6 ? `${versions.slice(0, 5).join(", ")} and ${versions.length - 5} more` : versions.join(", ");
  return banner("pending", "database", h("strong", {}, `A backup is made first, for ${few}. `), "If it cannot be made, nothing is applied.");
}

/** What the lines of the forecast say, as far as there are any of a kind. */
function foreseenTitle(forecast, blast) {
  if (forecast.some((one) => one.losses.length)) return "What is lost, who would wait";
  if (!forecast.length) return "Needs";
  return Object.keys(blast).length ? "Who uses what goes, who would wait" : "Who would wait";
}

/** A line for each; nothing where a migration locks nothing that is there before it. */
function lines(texts = []) {
  return texts.length > 0 && h("ul", { class: "stack tight-stack" }, texts.map((text) => h("li", {}, text)));
}
