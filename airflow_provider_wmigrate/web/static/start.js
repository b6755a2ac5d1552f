// Asking before a run is started: which database, which versions, for real or not. Nothing is started without it.

import { about, start } from "./api.js";
import { ask } from "./dialogs.js";
import { h, replace } from "./dom.js";
import { address, count } from "./format.js";
import { icon } from "./icons.js";
import { banner, facts, field, finding, problemBox } from "./parts.js";
import { review } from "./review.js";
import { placeOf } from "./router.js";
import { backupNotice } from "./view_plan.js";

/** What a rollback could undo. */
export const IN_LEDGER = ["applied", "changed", "missing", "forgotten", "incomplete"];

/** Ask for an apply or a dry run; `started` gets the run. */
export function askApply(status, mode, started) {
  const { group } = status;
  const place = placeOf(group);
  const verb = mode === "dry_run" ? "Dry run" : "Apply";
  const pending = status.migrations.filter((one) => ["pending", "failed", "incomplete"].includes(one.status));
  const to = select(pending.slice(0, -1).map((one) => [one.version, `${one.version} ${one.name}`]), ["", "everything that is pending"]);
  const rest = commonFields(group.migrate);
  const [facts_, preview] = [h("div", {}, target(group, group.dag_id, mode)), h("div", { class: "preview stack", "aria-live": "polite" })];
  const question = ask({
    title: mode === "dry_run" ? "Dry run of pending migrations?" : "Apply pending migrations?",
    body: [facts_, group.migrate.to && pending.length > 1 && field("Up to version", to), preview, rest.fields],
    submit: verb,
    onSubmit: async () => {
      const run = await start(place, "migrate", { mode, ...(to.value && { to: to.value }), ...rest.values() });
      started({ ...run, what: verb.toLowerCase() });
    },
  });
  let asked = 0;
  const look = async () => {
    const mine = (asked += 1);
    question.waits("Asking for the plan …");
    replace(preview, h("p", { class: "muted" }, "Asking for the plan …"));
    try {
      const plan = await about(place, "plan", { to: to.value, environment: rest.environment() });
      if (mine !== asked) return;
      replace(facts_, target(plan.group, group.dag_id, mode));
      const from = { place, which: "sql", environment: rest.environment() };
      showPlan(plan, { preview, question, verb, mode, from, status });
    } catch (problem) {
      if (mine !== asked) return;
      replace(preview, problemBox(problem, look));
      question.waits("The plan could not be read.");
    }
  };
  to.addEventListener("change", look);
  rest.onEnvironment(look);
  return look();
}

function showPlan({ steps, findings, source, backup_needed: backups }, { preview, question, verb, mode, from, status }) {
  const errors = findings.filter((one) => one.severity === "error");
  const known = new Map(status.migrations.map((one) => [one.version, one.status]));
  const what = mode === "dry_run" ? "will be executed, measured and rolled back" : "will be applied";
  replace(preview,
    source.kind !== "live" && banner("changed", "clock", "The database could not be read just now. The run decides by what it finds there."),
    errors.length > 0 && [banner("failed", "alert", `The plan has ${count(errors.length, "error")}. A run stops before it changes anything.`), h("ul", { class: "stack" }, errors.slice(0, 3).map(finding))],
    mode === "apply" && backupNotice(backups),
    steps.length ? review(`${count(steps.length, "migration")} ${what}, in this order:`, steps.map((step) => ({ ...step, status: known.get(step.version) })), from)
      : h("p", {}, "There is nothing to do."));
  replace(question.button, icon(mode === "dry_run" ? "flask" : "play"), steps.length ? `${verb} ${count(steps.length, "migration")}` : verb);
  question.waits(steps.length === 0 && source.kind === "live" ? "There is nothing to do." : null);
}

/** Ask for a rollback; `stay` is the version that stays, if it is known already. */
export function askRollBack(status, stay, started) {
  const { group } = status;
  let seen = status;
  let inLedger = [];
  const to = select([]);
  const choices = (keep) => {
    inLedger = seen.migrations.filter((one) => IN_LEDGER.includes(one.status)).reverse();
    replace(to, options([...inLedger.slice(1).map((one) => [one.version, `${one.version} ${one.name}`]), ["0", "none: everything is rolled back"]]));
    if ([...to.options].some((one) => one.value === keep)) to.value = keep;
  };
  choices(stay);
  const modes = group.rollback.modes;
  const dry = h("input", { type: "checkbox", checked: !modes.includes("apply"), disabled: !modes.includes("apply") });
  const typed = h("input", { autocomplete: "off", autocapitalize: "off", spellcheck: "false", class: "mono" });
  const rest = commonFields(group.rollback);
  const whose = select([["ledger", "the ledger's: as it was when the migration was applied"], ["folder", "the folder's: as it is now"]], ["", "choose one, after reading both"]);
  const [choice, preview, confirm] = [h("div", {}), h("div", { class: "preview stack", "aria-live": "polite" }), h("div", {})];
  const mode = () => (dry.checked ? "dry_run" : "apply");
  const facts_ = h("div", {});
  const question = ask({
    title: "Roll back migrations?",
    danger: true,
    body: [
      facts_, field("Version that stays, with all before it", to), choice, preview,
      modes.includes("dry_run") && h("label", { class: "check row tight" }, dry, "Dry run: execute, measure, and undo it again"),
      rest.fields, confirm,
    ],
    submit: "Roll back",
    onSubmit: async () => {
      const run = await start(placeOf(group), "rollback", { mode: mode(), to: to.value, ...(differing().length > 0 && whose.value && { rollback_script: whose.value }), ...rest.values() });
      started({ ...run, what: dry.checked ? "dry run of the rollback" : "rollback" });
    },
  });
  const { button, waits } = question;
  const doomed = () => inLedger.filter((one) => BigInt(one.version) > BigInt(to.value));
  const differing = () => (group.rollback.rollback_script ? doomed().filter((one) => one.rollback_differs) : []);
  const check = () => waits(doomed().length === 0 ? "Nothing above this version is applied."
    : differing().length > 0 && !whose.value ? "Choose whose rollback script runs." : !dry.checked && typed.value.trim() !== to.value ? `Type ${to.value} to confirm.` : null);
  const show = () => {
    const list = doomed();
    const without = list.filter((one) => !one.has_rollback);
    replace(facts_, target(seen.group, group.rollback_dag.dag_id, mode()));
    const two = differing();
    replace(choice, two.length > 0 && field("Which rollback script runs", whose,
      `${two.map((one) => one.version).join(", ")}: ledger and folder have different ones. The choice counts for all of them.`));
    const which = two.length > 0 && whose.value === "folder" ? "folder_rollback" : "rollback";
    replace(preview, seen.source.kind !== "live" && banner("changed", "clock", "The database could not be read just now. The run decides by what it finds there."),
      without.length > 0 && banner("failed", "alert", `No rollback script: ${without.map((one) => one.version).join(", ")}. A run stops before it changes anything.`),
      !dry.checked && banner("changed", "alert", "Rows in tables and columns that these scripts drop are lost. Is there a backup?"),
      review(`${count(list.length, "migration")} will be rolled back, in this order:`, list, { place: placeOf(group), which, environment: rest.environment() }));
    replace(confirm, !dry.checked && field(["Type ", h("b", { class: "mono" }, to.value), " to confirm"], typed));
    replace(button, icon(dry.checked ? "flask" : "undo"), dry.checked ? `Dry run ${count(list.length, "rollback")}` : `Roll back ${count(list.length, "migration")}`);
    check();
  };
  let asked = 0;
  const look = async () => {
    const mine = (asked += 1);
    waits("Asking what is applied there …");
    replace(preview, h("p", { class: "muted" }, "Asking what is applied there …"));
    try {
      const answer = await about(placeOf(group), "status", { environment: rest.environment() });
      if (mine !== asked) return;
      [seen, typed.value] = [answer, ""];
      choices(to.value);
      show();
    } catch (problem) {
      if (mine !== asked) return;
      replace(preview, problemBox(problem, look));
      waits("It could not be read what is applied there.");
    }
  };
  to.addEventListener("change", () => { typed.value = ""; show(); });
  rest.onEnvironment(look);
  whose.addEventListener("change", show);
  dry.addEventListener("change", show);
  typed.addEventListener("input", check);
  show();
}

function target(group, dagId, mode) {
  return facts([
    ["Database", [h("b", { class: "mono" }, group.conn_id ?? (group.is_mapped ? "every database of the mapped group" : "decided by the run")),
      group.server && h("span", { class: "mono muted" }, ` ${address(group.server)}`)]],
    ["DAG", h("span", { class: "mono" }, dagId)],
    ["Mode", mode === "dry_run" ? "dry run: everything is executed, then rolled back" : "for real: changes are committed"],
  ]);
}

function commonFields(choices) {
  const environments = choices.environments;
  const standing = ["", `as the DAG says${choices.environment ? `: ${choices.environment}` : ""}`];
  const environment = environments === null ? null
    : environments.length ? select(environments.map((name) => [name, name]), standing)
      : h("input", { placeholder: standing[1], maxlength: "100", autocomplete: "off" });
  const note = h("input", { maxlength: "1000", autocomplete: "off" });
  return {
    fields: [environment && field("Environment", environment), field("Note", note, "Optional; shown with the run in Airflow.")],
    environment: () => environment?.value.trim() ?? "",
    onEnvironment: (listener) => environment?.addEventListener("change", listener),
    values: () => ({ ...(environment?.value && { environment: environment.value }), ...(note.value.trim() && { note: note.value.trim() }) }),
  };
}

function select(choices, first = null) {
  return h("select", {}, options([...(first ? [first] : []), ...choices]));
}

function options(choices) {
  return choices.map(([value, text]) => h("option", { value }, text));
}
