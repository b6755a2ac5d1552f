"""Every code of a finding and every event of the audit log, with its meaning: docs and API have them from here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FindingCode:
    """What findings of one code have in common."""

    code: str
    severity: str
    """`error` or `warning`, or on what it depends."""
    means: str
    do: str
    """What heals it."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What rows of the audit log with one event say."""

    event: str
    means: str
    details: str
    """What its `details` hold, in Markdown."""
    settles: bool = True
    """Whether it says what the entry of its version is from then on; else the entry is what it was."""


E, W = "error", "warning"
_FINDINGS = {
    "changed": (E, "the file was edited after it was applied", "restore it and write a new one; or `repair --accept`"),
    "missing": (E, "applied, and its file is gone", "restore the file; or `repair --forget`"),
    "incomplete": (f"{W}; of a rollback {E}", "begun outside a transaction, not finished", "run it again: it goes on"),
    "executed_statement_edited": (E, "a statement that has run was edited or is gone", "restore that statement"),
    "in_flight": (E, "it is not known whether a statement ran to its end", "`repair --ran` or `--again`"),
    "session_lost": (E, "a script's session cannot be restored", "make that possible, or set it again in the script"),
    "index_in_question": (E, "an index is invalid; whether it is being built must not be seen", "look, then drop it"),
    "index_differs": (E, "another session built an index of that name, a different one", "rename or drop it"),
    "aggregate_unfilled": (E, "an aggregate was left without its data, and something depends on it", "fill or drop it"),
    "not_repairable": (E, "the decision does not fit the migration's status", "look at `wmigrate status`"),
    "not_declarable": (E, "the ledger contradicts a baseline", "what the finding says: repair, or apply"),
    "dependency_unmet": (E, "what it needs is not applied", "apply that first"),
    "dependency_pending": (W, "applied, what it depends on is pending", "apply that, or correct the dependencies"),
    "depended_on": (E, "cannot be rolled back: an applied migration needs it", "roll that back first"),
    "late": ("`late_migrations`", "pending although a later version is applied", "renumber it, or allow late ones"),
    "no_rollback": (E, "no rollback script in the folder or the ledger", "write one, or restore a backup"),
    "rollback_differs": (W, "the rollback script is not the one that was recorded", "read it before you go on"),
    "no_task": (E, "applied, but there is no file and so no task", "restore the file, or use the operator alone"),
    "estimate_over_budget": (W, "its declared duration is over its budget", "raise the budget or correct the estimate"),
    "extension_missing": (E, "the server has no files of a required extension", "install it, or `when_missing: skip`"),
    "extension_not_preloaded": (E, "TimescaleDB is not preloaded", "add it to `shared_preload_libraries`, restart"),
    "extension_too_old": (E, "older than `min_version`", "install a newer one, `ALTER EXTENSION ... UPDATE`"),
    "extension_license": (E, "runs under another licence than the one needed", "install the community packages"),
    "extension_undeclared": (W, "uses TimescaleDB without declaring it", "add `requires_extensions: [timescaledb]`"),
    "folder_error": (E, "files, or the relation between them, are wrong", "what it says: rename, renumber, save anew"),
    "other_layout": (E, "no migration, but SQL in another layout", "give the right folder, or lay the files out anew"),
    "config_error": (E, "a key or a value of the config is wrong", "correct the key at that line"),
    "empty_script": (f"{W}; `allow_empty: false` {E}", "a script without a statement", "nothing, or write one"),
    "planned_key": ("as the key", "a key of the config that is not built yet", "take it out"),
    "version_gap": (E, "a version is left out, and `require_sequential_versions` is on", "add it or renumber"),
    "description_missing": (E, "no description, and `require_description` is on", "describe it in the config"),
    "rollback_missing": (E, "no rollback script, but declared or required", "write it, or `rollback_supported: false`"),
    "rollback_undeclared": (E, "a rollback script, although declared absent", "delete it, or say true"),
    "file_too_large": (E, "larger than `max_file_size_mb`", "split it or raise the limit"),
    "script_refused": (E, "holds what a script must not: COMMIT, `\\i`, the way back ...", "take it out, at that line"),
    "syntax_error": (W, "PostgreSQL's grammar cannot read it, at that line and column", "fix it"),
    "variable": (W, "holds `:name`, `${name}` or the like, and nothing is templated", "write what it stands for"),
    "unsplittable": (E, "declared `transactional: false`, and PostgreSQL's grammar cannot split it", "rewrite it"),
    "outside_transaction": (E, "needs to run outside a transaction, and that is forbidden", "take it out, or allow it"),
    "unnamed_index": (E, "`CREATE INDEX CONCURRENTLY` without a name", "name the index"),
    "drops_all_hypertables": (E, "`DROP EXTENSION timescaledb CASCADE` deletes their rows", "drop tables by name"),
    "allow_ddl_violated": (E, "defines objects, and `validation.sql.allow_ddl` is false", "take it out or allow it"),
    "allow_dml_violated": (E, "changes rows, and `validation.sql.allow_dml` is false", "take it out or allow it"),
    "allow_drop_violated": (E, "drops something, and `validation.sql.allow_drop` is false", "take it out or allow it"),
    "standby": (E, "the target only follows another server", "connect to the primary"),
    "audit_chain_broken": (E, "a row was changed, or the end cut off", "compare with a backup; who may write?"),
    "entry_forged": (E, "an entry or a stored rollback is not what the audit log says", "put back what it says"),
    "ledger_rights": ("warning", "the role may not write the ledger, so `up` would fail", "run the GRANT it names"),
    "append_only_off": (E, "the trigger that keeps the audit log append-only is not at work", "make it again"),
}  # fmt: skip

FINDINGS = {code: FindingCode(code, *row) for code, row in _FINDINGS.items()}
"""By code."""

_FAILURE = "`direction`, `error`, `sqlstate`, `dry_run`; if said: `detail`, `hint`, `context`, `constraint`, `function`"

_EVENTS = (
    AuditEvent("ledger_created", "The ledger was made.", "`ledger_version`"),
    AuditEvent("ledger_upgraded", "The ledger's tables were brought to a newer version.", "`from`, `to`"),
    AuditEvent(
        "planned",
        "A plan was made, and no finding stopped it. Nothing has run yet.",
        "`direction`, `steps`, `forgot_head` if a run was told to",
        settles=False,
    ),
    AuditEvent(
        "started",
        "A script that runs statement by statement begins, or goes on; committed before it does.",
        "`direction`, `statements_done` on a resume",
        settles=False,
    ),
    AuditEvent("applied", "A migration was applied; commits with it.", "the audit record"),
    AuditEvent("rolled_back", "A migration was rolled back by its script; commits with it.", "the audit record"),
    AuditEvent("failed", "A script failed; the message says what was kept.", _FAILURE, settles=False),
    AuditEvent("rollback_failed", "A rollback script failed.", _FAILURE, settles=False),
    AuditEvent(
        "failure_handled",
        "After a task failed for good: what was found, and what was done about it.",
        "`outcome`",
        settles=False,
    ),
    AuditEvent(
        "dry_run",
        "A dry run was executed and rolled back.",
        "the audit record, `chain`: milliseconds of each",
        settles=False,
    ),
    AuditEvent("not_tried", "A dry run executed nothing of a migration.", "the audit record, `reason`", settles=False),
    AuditEvent(
        "refused",
        "A finding stopped one migration under its lock; nothing was touched.",
        "`findings`, `error`, `dry_run`",
        settles=False,
    ),
    AuditEvent("repaired", "A person settled an entry.", "`decision`, `reason`, `before`, `after`"),
    AuditEvent(
        "baselined", "A person declared a migration applied; nothing ran.", "`to`, `reason`, `name`, `checksum`"
    ),
    AuditEvent("baseline_undone", "A person took a baseline back; nothing ran.", "`to`, `reason`, `name`, `checksum`"),
    AuditEvent(
        "reported",
        "An Airflow run ended with nothing failed; what it applied stays.",
        "`applied`, `rolled_back`, `state`: a hash over what is applied",
    ),
    AuditEvent("alerted", "People were told of an incident.", "`kind`, `subject`, `what`", settles=False),
    AuditEvent("alert_failed", "No notifier could be reached.", "`kind`, `subject`, and why", settles=False),
    AuditEvent("healed", "People were told that incidents are over.", "`kinds`, `subject`", settles=False),
)

EVENTS = {event.event: event for event in _EVENTS}
"""By event."""
