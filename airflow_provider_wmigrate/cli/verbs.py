"""The one table of verbs and options. Both commands, the shell completion and the docs are made from it.

Data only, standard library only: every `airflow` call imports this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .arguments import COMMON, Argument, Verb
from .folder_verbs import FOLDER_VERBS
from .shared_options import (
    DAGS,
    DRY_RUN,
    FILTERS,
    FROM,
    JOBS,
    OUTSIDE_WINDOW,
    REASON,
    SCRATCH,
    TO,
    TRY_ON,
)

VERBS = (
    Verb("status", "Show every migration and its status.", "look:status"),
    Verb("plan", "Show what `up` would do, and what would stop it.", "plan:plan", (TO, DAGS)),
    Verb("up", "Apply the pending migrations.", "plan:up", (TO, DRY_RUN, TRY_ON, JOBS, OUTSIDE_WINDOW), asks=True),
    Verb(
        "down",
        "Roll back everything above a version, or the last N migrations, or one.",
        "plan:down",
        (
            Argument(
                ("version",),
                "The version to go back to. It stays; 0 rolls back everything (if there is no migration 000).",
                "VERSION",
                optional=True,
            ),
            Argument(
                ("--steps",), "Instead: roll back the N applied migrations with the highest versions.", "N", "number"
            ),
            Argument(
                ("--only",),
                "Instead: roll back this migration alone; no other applied one may depend on it.",
                "VERSION",
            ),
            Argument(
                ("--script",),
                "Where the ledger has another rollback script than the folder: run this one.",
                choices=("folder", "ledger"),
            ),
            DRY_RUN,
            TRY_ON,
            OUTSIDE_WINDOW,
        ),
        asks=True,
    ),
    Verb(
        "history",
        "Show what was applied, rolled back, repaired, baselined or failed: when, by whom, how long.",
        "trail:history",
        (*FILTERS, Argument(("--daily",), "Show numbers per day instead of rows.", kind="flag")),
    ),
    Verb(
        "wait",
        "Wait until the target accepts connections.",
        "wait:wait",
        (Argument(("--timeout",), "Give up after so many seconds.", "SECONDS", "number", default=60),),
    ),
    Verb("health", "Show whether the target is healthy, with reasons.", "look:health"),
    Verb("info", "Show the target, where it was named, the folder and all versions.", "look:info", database="optional"),
    *FOLDER_VERBS,
    Verb(
        "repair",
        "Correct the ledger after you have decided what is true of an edited, deleted, incomplete or failed migration.",
        "repair:repair",
        (
            Argument(("version",), "The migration.", "VERSION"),
            Argument(("--accept",), "Changed: the edited file is the right one.", kind="flag"),
            Argument(("--done",), "Incomplete: all of it is in the database; it counts as applied.", kind="flag"),
            Argument(("--undone",), "Incomplete: nothing of it is in the database; it is pending.", kind="flag"),
            Argument(("--ran",), "Incomplete: the interrupted statement has run; continue after it.", kind="flag"),
            Argument(("--again",), "Incomplete: the interrupted statement has not run; run it again.", kind="flag"),
            Argument(("--forget",), "Missing: deleted on purpose; it can still be rolled back.", kind="flag"),
            Argument(("--settle",), "Failed: this is over; `status` and `health` need not tell it.", kind="flag"),
            REASON,
        ),
        asks=True,
    ),
    Verb(
        "baseline",
        "Declare that an existing database is at a version, without running anything.",
        "baseline:baseline",
        (
            Argument(("version",), "This version, all lower ones, and what they need, count as applied.", "VERSION"),
            Argument(
                ("--no-compare",),
                "Do not apply them to a scratch database first, to see whether the target has the same schema.",
                kind="flag",
            ),
            Argument(("--compare",), "Compare the schemas, as it is done anyway.", kind="flag"),
            SCRATCH,
            Argument(
                ("--accept",),
                "A difference that is all right, by its name, such as 'column public.orders.note'; may be given several"
                " times.",
                "NAME",
                "list",
            ),
            Argument(("--undo",), "Undo the baseline to this version: its migrations are pending again.", kind="flag"),
            REASON,
        ),
        asks=True,
    ),
    Verb(
        "adopt",
        "Take over what another tool has applied, from its own table, with times and names; nothing is run.",
        "adopt:adopt",
        (
            FROM,
            Argument(("--table",), "The tool's table, if it has not its usual name.", "[SCHEMA.]TABLE"),
            Argument(
                ("--accept",),
                "What the tool applied, by its name for it, has no file: leave it out. Or, by version: the file is not"
                " the one that was applied, and that is right. May be given several times.",
                "NAME",
                "list",
            ),
            Argument(("--dry-run",), "Show what would be taken over, and change nothing.", kind="flag"),
            REASON,
        ),
        asks=True,
    ),
    Verb(
        "convert",
        "Write another tool's folder of migrations as a folder of wmigrate; the other one is only read.",
        "adopt:convert",
        (
            FROM,
            Argument(("source",), "Folder in which the other tool has its migrations.", "SOURCE", completes="folder"),
            Argument(("dest",), "Folder to write; made if it is not there.", "DEST", completes="folder"),
            Argument(("--dry-run",), "Show what would be written, and write nothing.", kind="flag"),
        ),
        database="never",
    ),
    Verb(
        "squash",
        "Write one file for the first migrations, proven to make the same; who had them needs nothing.",
        "squash:squash",
        (
            Argument(("version",), "All migrations up to this version.", "VERSION"),
            Argument(("--data",), "With the rows that they insert, which else are refused.", kind="flag"),
            Argument(("--archive",), "Where the old files go. Default: beside the folder.", "DIR", completes="folder"),
            SCRATCH,
            Argument(("--dry-run",), "Prove it, and write nothing.", kind="flag"),
        ),
        database="optional",
    ),
    Verb(
        "snapshot",
        "Take a picture of the target's schema: its facts and one fingerprint.",
        "snapshot:snapshot",
        (Argument(("--output",), "Write it to this file, for `diff`.", "FILE", completes="file"),),
    ),
    Verb(
        "diff",
        "Show what differs between two schemas.",
        "snapshot:diff",
        (
            Argument(("before",), "File of `snapshot`, or a target as --dsn takes it.", "BEFORE", completes="file"),
            Argument(("after",), "Another one. Default: the target.", "AFTER", optional=True, completes="file"),
        ),
        database="optional",
    ),
    Verb(
        "verify",
        "Prove the rollbacks: on scratch databases apply, roll back, compare schema and rows, and apply again.",
        "verify:verify",
        (
            Argument(("version",), "Only these migrations. Default: all.", "VERSION", "list", optional=True),
            Argument(
                ("--scratch",),
                "Server on which it happens, and which is there for nothing else, as postgresql://... or key=value"
                " pairs. Default, or `target`: the target's own, where the role needs CREATEDB; without a target, one"
                " of its own if the extra `postgresql` is installed.",
                "DSN",
            ),
            Argument(("--jobs",), "Prove up to N at the same time. Default: the processors here.", "N", "number"),
            Argument(
                ("--write",),
                "Write the verdicts into the folder, to migration_verdicts.txt, where `require_rollback_validation`"
                " looks for them.",
                kind="flag",
            ),
            Argument(
                ("--accept",),
                "With --write: the grade of this migration is all right although it is not exact; may be given several"
                " times.",
                "VERSION",
                "list",
            ),
        ),
        database="optional",
    ),
    Verb(
        "drift",
        "Show what others have changed in the target's schema since the last run that kept it.",
        "drift:drift",
        (
            Argument(("--accept",), "Take the schema as it is now for the known one.", kind="flag"),
            REASON,
            Argument(
                ("--watch",),
                "Record with an event trigger who changes the schema without wmigrate, end that, or show how it is.",
                "WISH",
                choices=("on", "off", "status"),
            ),
        ),
        asks=True,
    ),
    Verb("backups", "Show the backups that wmigrate has made of the target, and where they are.", "backups:backups"),
    Verb(
        "kept",
        "Show what migrations with `keep: true` have put aside instead of destroying it, or let go of it.",
        "kept:kept",
        (
            Argument(("--empty",), "Drop it; no rollback gives it back then.", kind="flag"),
            Argument(
                ("--older-than",), "With --empty: only what has been kept for more than so many days.", "DAYS", "number"
            ),
        ),
        asks=True,
    ),
    Verb(
        "export",
        "Write the whole history, entries and audit log, as JSON or CSV.",
        "export:export",
        (
            Argument(("what",), "Which table.", choices=("all", "entries", "audit"), default="all", optional=True),
            Argument(("--format",), "How it is written.", "FORMAT", choices=("json", "csv"), default="json"),
        ),
    ),
    Verb(
        "audit",
        "Show the audit log, find out whether anybody changed it, sign its head, or export it.",
        "trail:audit",
        (
            Argument(
                ("action",),
                "Show rows; verify that nobody changed them; sign the head; or export all rows for others to verify.",
                choices=("show", "verify", "sign", "export"),
                default="show",
                optional=True,
            ),
            *FILTERS,
            Argument(
                ("--head",), "For verify: a head that you kept elsewhere, COUNT:HASH. The log must contain it.", "HEAD"
            ),
            Argument(
                ("--key",),
                "For verify, sign and export: file with the key. Default: the key itself in WMIGRATE_AUDIT_KEY.",
                "FILE",
                completes="file",
            ),
            Argument(
                ("--heads",),
                "File of signed heads, kept outside the database: `sign` appends to it, `verify` proves that the log"
                " contains each, `export` takes them along.",
                "FILE",
                completes="file",
            ),
            Argument(
                ("--out",), "For export: the file that is written, one JSON object per line.", "FILE", completes="file"
            ),
        ),
    ),
    Verb(
        "graph",
        "Draw the dependencies, for Mermaid or Graphviz.",
        "look:graph",
        (
            Argument(
                ("--format",), "Language of the drawing.", "FORMAT", choices=("mermaid", "dot"), default="mermaid"
            ),
            Argument(("--statuses",), "Ask the target, and draw each migration's status.", kind="flag"),
        ),
        database="optional",
    ),
    Verb(
        "completion",
        "Print a completion script for a shell.",
        "completion:completion",
        (Argument(("shell",), "The shell.", choices=("bash", "zsh", "fish")),),
        database="never",
        only_wmigrate=True,
    ),
)


def verb_of(name: str) -> Verb:
    return next(verb for verb in VERBS if verb.name == name)


def options(verb: Verb, target: Sequence[Argument]) -> Iterator[Argument]:
    """Every option the verb takes, its own first.

    :param target: where the command's targets come from. The first one names a database.
    """
    yield from (argument for argument in verb.arguments if argument.is_option)
    yield from COMMON
    yield from target if verb.database != "never" else target[1:]
