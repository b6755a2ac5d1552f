"""Options that several verbs take, and the words that they may be given. Data only, standard library only."""

from __future__ import annotations

from .arguments import Argument

TEMPLATES = (
    "empty", "table", "column", "not-null", "index-concurrently", "enum-value", "foreign-key", "hypertable",
    "continuous-aggregate", "change-aggregate", "aggregate-column", "backfill", "view", "function",
)  # fmt: skip

TOOLS = (
    "flyway", "liquibase", "alembic", "golang-migrate", "dbmate", "sqitch", "yoyo", "goose", "node-pg-migrate",
    "diesel", "django", "seed",
)  # fmt: skip
FROM = Argument(("--from",), "The tool that the project comes from.", "TOOL", choices=TOOLS, required=True)

TO = Argument(("--to",), "Only up to this version, with everything that it needs.", "VERSION")
DAGS = Argument(
    ("--dags",),
    "Folder with DAG files: which tasks and SQL files in it use what goes. The files are read and never run.",
    "FOLDER",
    completes="file",
)
DRY_RUN = Argument(("--dry-run",), "Execute for real, measure, and roll everything back.", kind="flag")
TRY_ON = Argument(
    ("--scratch",),
    "With --dry-run: run what cannot be tried in one transaction on a scratch database of this server:"
    " postgresql://..., key=value pairs, or `target` for the target's own, where the role needs CREATEDB.",
    "DSN",
)
JOBS = Argument(
    ("--jobs",),
    "Run up to N migrations that do not need one another at the same time, each on its own connection.",
    "N",
    "number",
    default=1,
)
OUTSIDE_WINDOW = Argument(
    ("--outside-window",),
    "Begin although `settings.window` says that the environment may not be changed now; the audit log keeps that.",
    kind="flag",
)
SCRATCH = Argument(
    ("--scratch",),
    "Server on which the scratch database is made, as postgresql://... or key=value pairs. Default, or `target`: the"
    " target's own, where the role needs CREATEDB.",
    "DSN",
)
REASON = Argument(("--reason",), "Why, for the audit log.", "TEXT")
OFFLINE = Argument(("--offline",), "Ask no database, even if a target is given.", kind="flag")
STRICT = Argument(("--strict",), "Count warnings as errors.", kind="flag")
RELEASED = Argument(
    ("--since",),
    "A branch or tag, such as origin/main: what it has is released. Edited or deleted files of it, and numbers that it"
    " has got meanwhile, are errors.",
    "REF",
)
VERSION = Argument(("--migration",), "Only of this migration.", "VERSION")
FILTERS = (
    VERSION,
    Argument(("--event",), "Only this event, such as applied; may be given several times.", "EVENT", "list"),
    Argument(("--actor",), "Only what this actor did.", "NAME"),
    Argument(
        ("--since",), "At this time or later: 2026-01-31, 2026-01-31T12:00Z, or back from now: 12h, 7d, 4w.", "TIME"
    ),
    Argument(("--until",), "Earlier than this time.", "TIME"),
    Argument(
        ("--before",),
        "Only rows older than this position, which the page before names as `next`.",
        "POSITION",
        "number",
    ),
    Argument(("--limit",), "At most N rows, the newest ones.", "N", "number", default=50),
)
