"""Every code of a finding and every event of the audit log, with its meaning: docs and API have them from here."""

from __future__ import annotations

from msgspec import Struct


class FindingCode(Struct, frozen=True):
    """What findings of one code have in common."""

    code: str
    severity: str
    """`error` or `warning`, or on what it depends."""
    means: str
    do: str
    """What a person does about it."""


class AuditEvent(Struct, frozen=True):
    """What rows of the audit log with one event say."""

    event: str
    means: str
    details: str
    """What its `details` hold, in Markdown."""


E, W = "error", "warning"
_FINDINGS = {
    "changed": (E, "the file was edited after it was applied", "restore it and write a new one; or `repair --accept`"),
    "missing": (E, "the migration is applied, but its file is gone", "restore the file; or `repair --forget`"),
    "incomplete": (f"{W}; of a rollback {E}", "begun outside a transaction, not finished", "run it again: it resumes"),
    "executed_statement_edited": (E, "a statement that has run was edited or deleted", "restore that statement"),
    "in_flight": (E, "it is not known whether a statement ran to its end", "`repair --ran` or `--again`"),
    "session_lost": (E, "a script's session cannot be restored", "follow the message, or set it in the script"),
    "index_in_question": (E, "an index is invalid; this role may not see who builds it", "look, then drop it"),
    "index_differs": (E, "another session built a different index of that name", "rename or drop it"),
    "aggregate_unfilled": (E, "an aggregate was left without its data, and something depends on it", "fill or drop it"),
    "not_repairable": (E, "the decision does not fit the migration's status", "look at `wmigrate status`"),
    "not_squashable": (E, "one file cannot stand for these migrations", "follow the finding"),
    "squashed_in_part": (
        E,
        "the database has a part of what a file squashes, or another text of it",
        "bring it there with the folder as it was before the squash",
    ),
    "not_declarable": (E, "the ledger contradicts the baseline", "follow the finding: repair, or apply"),
    "not_as_replayed": (E, "the database is not what the migrations make of an empty one", "change it, or accept it"),
    "not_on_scratch": (E, "a script may reach beyond a scratch database", "name a server of its own with `--scratch`"),
    "not_adoptable": (E, "another tool's history cannot be taken over as it is", "follow the finding"),
    "dependency_unmet": (E, "a dependency is not applied", "apply that first"),
    "dependency_pending": (W, "it is applied, but a dependency is pending", "apply that, or correct the dependencies"),
    "depended_on": (E, "it cannot be rolled back: an applied migration needs it", "roll that back first"),
    "late": ("`late_migrations`", "it is pending, but a later version is applied", "renumber it, or allow late ones"),
    "no_rollback": (E, "there is no rollback script in the folder or the ledger", "write one, or restore a backup"),
    "irreversible": (E, "it is declared irreversible: `rollback_supported: false`", "a new migration, or a backup"),
    "rollback_differs": (f"{E}; {W} if none is recorded", "the rollback script is not the recorded one", "choose one"),
    "drops_of_others": (
        f"{E}; {W} without the file",
        "the rollback's CASCADE would take along what others made",
        "roll that back first, or drop it by name",
    ),
    "no_task": (E, "it is applied, but has no file and so no task", "restore the file, or use the operator alone"),
    "estimate_over_budget": (W, "its estimated duration is over its limit", "raise the limit or correct the estimate"),
    "extension_missing": (E, "the server does not have a required extension", "install it, or `when_missing: skip`"),
    "extension_not_preloaded": (E, "TimescaleDB is not preloaded", "add it to `shared_preload_libraries`, restart"),
    "extension_too_old": (E, "older than `min_version`", "install a newer one, `ALTER EXTENSION ... UPDATE`"),
    "extension_license": (E, "it runs under a different licence than needed", "install the community packages"),
    "extension_undeclared": (W, "uses TimescaleDB without declaring it", "add `requires_extensions: [timescaledb]`"),
    "folder_error": (E, "a file is wrong, or files contradict one another", "read the message: rename, renumber ..."),
    "other_layout": (E, "no migration, but SQL in another layout", "give the right folder, or rename the files"),
    "config_error": (E, "a key or a value of the config is wrong", "correct the key at that line"),
    "empty_script": (f"{W}; `allow_empty: false` {E}", "a script without a statement", "nothing, or write one"),
    "outside_window": (
        f"{E}; {W} if a run waits",
        "the environment may not be changed now",
        "run it when the window opens, or with `--outside-window`",
    ),
    "late_lock": (W, "a table is locked behind something that may take long", "put it into a migration of its own"),
    "backup_missing": (E, "it needs a backup, and this run has none", "let the run make one; `settings.backup`"),
    "version_gap": (E, "a version is left out, and `require_sequential_versions` is on", "add it or renumber"),
    "description_missing": (E, "no description, and `require_description` is on", "describe it in the config"),
    "rollback_missing": (E, "a declared or required rollback is missing", "write it, or `rollback_supported: false`"),
    "rollback_undeclared": (E, "a rollback script exists, but is declared absent", "delete it, or declare true"),
    "rollback_unproven": (E, "no verdict says that the rollback works, and it is required", "`verify --write`"),
    "file_too_large": (E, "larger than `max_file_size_mb`", "split it or raise the limit"),
    "script_refused": (E, "it contains COMMIT, `\\i`, an undo part, or the like", "remove it, at that line"),
    "syntax_error": (W, "PostgreSQL's grammar cannot read it, at that line and column", "fix it"),
    "variable": (W, "it contains `:name`, `${name}` or the like; there are no templates", "write the value itself"),
    "unsplittable": (E, "declared `transactional: false`, but PostgreSQL's grammar cannot split it", "rewrite it"),
    "outside_transaction": (E, "it must run outside a transaction, but this is forbidden", "remove it, or allow it"),
    "unnamed_index": (E, "`CREATE INDEX CONCURRENTLY` without a name", "name the index"),
    "drops_all_hypertables": (E, "`DROP EXTENSION timescaledb CASCADE` deletes their rows", "drop tables by name"),
    "not_kept": (E, "`keep: true`, but what it destroys cannot be given back", "follow the finding"),
    "kept_gone": (E, "what a migration kept is not there any more", "a backup; or `keep: false`, and only the script"),
    "timescaledb_lost": (W, "what applied migrations made of TimescaleDB's is gone", "follow the message"),
    "refresh_unbounded": (W, "a refresh deletes the buckets whose rows were dropped", "give it a lower bound"),
    "policy_window": (W, "a policy's window never reaches rows that come late", "a longer `start_offset`"),
    "allow_ddl_violated": (E, "it defines objects, but `validation.sql.allow_ddl` is false", "remove it or allow it"),
    "allow_dml_violated": (E, "it changes rows, but `validation.sql.allow_dml` is false", "remove it or allow it"),
    "allow_drop_violated": (E, "it drops something, but `validation.sql.allow_drop` is false", "remove it or allow it"),
    "rewrites_rows": (W, "`lint`: a large table is written anew while others wait", "fill a new column in parts"),
    "scans_under_lock": (W, "`lint`: a large table is read while others wait", "`NOT VALID`, then `VALIDATE`"),
    "builds_under_lock": (W, "`lint`: an index of a large table is built while others wait", "`CONCURRENTLY`"),
    "loses_rows": (W, "`lint`: rows go that no rollback script gives back", "a backup; or drop in a later migration"),
    "released_changed": (E, "`check --since`: a released script differs", "restore it; write a new migration"),
    "released_missing": (E, "`check --since`: a released migration is gone", "restore its file"),
    "released_rollback_changed": (W, "`check --since`: a released rollback script differs", "restore it, or choose"),
    "number_taken": (E, "`check --since`: another branch has got the number meanwhile", "renumber the files"),
    "touches_ledger": (E, "`lint`: a script names the schema of the ledger", "leave it alone"),
    "rollback_forgets": (W, "`lint`: the rollback does not name what the script makes", "drop it there"),
    "allowance": (W, "`lint`: a comment that allows a finding has no reason, or allows nothing", "correct it"),
    "squawk/RULE": (W, "`lint`: a rule of squawk, whose own pages explain it", "what the finding says"),
    "standby": (E, "the target is a standby of another server", "connect to the primary"),
    "audit_chain_broken": (E, "a row was changed, or the end cut off", "compare with a backup; check who may write"),
    "signature_wrong": (E, "a signed head of the audit log was not signed with this key", "give the right key or file"),
    "entry_forged": (E, "an entry or a stored rollback differs from the audit log", "restore what the audit log says"),
    "drift": ("`settings.drift`", "others have changed the schema", "`wmigrate drift`; undo it, or `drift --accept`"),
    "not_as_approved": (E, "it is not what a person has approved, or nobody has", "have a new plan approved"),
    "not_promoted": (E, "it is not applied in the environment before as it is here", "apply it there first"),
    "ledger_rights": (W, "the role may not write the ledger, so `up` would fail", "run the GRANT in the message"),
    "append_only_off": (E, "the trigger that protects the audit log is not active", "create it again"),
}  # fmt: skip

FINDINGS = {code: FindingCode(code, *row) for code, row in _FINDINGS.items()}
"""By code."""

_FAILURE = (
    "`direction`, `error`, `sqlstate`, `dry_run`, `bystanders`;"
    " if said: `detail`, `hint`, `context`, `constraint`, `function`"
)

_EVENTS = {
    "ledger_created": ("The ledger was created.", "`ledger_version`"),
    "ledger_upgraded": ("The ledger's tables were upgraded to a newer version.", "`from`, `to`"),
    "planned": ("A plan was made, and no finding stopped it. Nothing has run yet.",
                "`direction`, `steps`; `forgot_head` if the run had `forget_head`;"
                " `backup`, where backups are made: what needs one, and why"),
    "started": ("A script that runs statement by statement begins or resumes; the row is committed before this.",
                "`direction`, `statements_done` on a resume"),
    "applied": ("A migration was applied; the row commits with it.", "the audit record"),
    "rolled_back": ("A migration was rolled back; the row commits with it.", "the audit record"),
    "outside_window": ("A migration is about to begin although the window is closed.",
                       "`direction`, `because`: who said so, `opens`: when it would have opened"),
    "failed": ("A script failed; `error` says what was kept.", _FAILURE),
    "rollback_failed": ("A rollback script failed.", _FAILURE),
    "failure_handled": ("A task failed in its last try: what it had left behind, and what was done about it.",
                        "`outcome`"),
    "dry_run": ("A dry run was executed and rolled back.", "the audit record, `chain`: milliseconds of each migration"),
    "not_tried": ("A dry run executed nothing of a migration.", "the audit record, `reason`"),
    "backed_up": ("A backup was made and looked at, before migrations that need one.",
                  "`name`, `method`, `place`, `scope`, `relations`, `format`, `bytes`, `sha256`, `seconds`, `origin`,"
                  " `versions`: before which it was made, with their checksums"),
    "backup_failed": ("No backup could be made, so what needs one was not touched.", "`error`, `versions`"),
    "backup_removed": ("A backup that wmigrate had made was old enough, and was deleted.", "`name`, `place`"),
    "refused": ("A finding stopped one migration under its lock; nothing was changed.",
                "`findings`, `error`, `dry_run`"),
    "repaired": ("A person repaired an entry.", "`decision`, `reason`, `before`, `after`"),
    "baselined": ("A person declared a migration applied; nothing ran.",
                  "`to`, `reason`, `name`, `checksum`; after a comparison `accepted`, the names of differences"),
    "adopted": ("A migration that another tool had applied was taken over from that tool's table; nothing ran.",
                "`from`, `table`, `to`, `reason`, `name`, `checksum`, `called`: the tool's name for it,"
                " `time_known`: whether the tool kept the time"),
    "baseline_undone": ("A person took a baseline back; nothing ran.", "`to`, `reason`, `name`, `checksum`"),
    "drift_accepted": ("A person took the schema as it was for the known one; nothing ran.",
                       "`reason`, `fingerprint`, `differences`: how many, `names` of the first 100"),
    "watch_on": ("A person had the DDL of others recorded from then on.", "nothing"),
    "watch_off": ("A person ended that.", "nothing"),
    "changed_by_others": ("What the watch recorded of one session that is not wmigrate's; written by the next run.",
                          "`by`: `login`, `address`, `application_name`, `pid`;"
                          " `changes`: of each command `at`, `command`, `role`, `objects`, `count`"),
    "kept_emptied": ("Something that a migration had kept was dropped; no rollback gives it back any more.",
                     "`kept`: what, as in the row `applied`"),
    "approved": ("A person approved the plan of a run.",
                 "`answer`, `user`: id and name, `digest` over what was approved, `environment`, `head`, `fingerprint`,"
                 " `steps`: version -> checksum"),
    "rejected": ("A person rejected the plan of a run, or nobody answered in time. Nothing of it is applied.",
                 "as of `approved`; `user` is null if nobody answered"),
    "reported": ("An Airflow run ended without a failure; what it applied stays applied.",
                 "`applied`, `rolled_back`, `state`: a hash over what is applied"),
    "alerted": ("An alert was sent about an incident.", "`kind`, `subject`, `what`"),
    "alert_failed": ("An alert could not be sent by any notifier.", "`kind`, `subject`, and why"),
    "healed": ("A message was sent that incidents are over.", "`kinds`, `subject`"),
}  # fmt: skip

NOT_SETTLING = frozenset({
    "planned", "started", "failed", "rollback_failed", "failure_handled", "dry_run", "not_tried", "refused", "alerted",
    "alert_failed", "healed", "outside_window", "kept_emptied",
})  # fmt: skip
"""Events of a version after which its entry is what it was; every other one says what the entry is from then on."""
EVENTS = {event: AuditEvent(event, *row) for event, row in _EVENTS.items()}
"""By event."""
