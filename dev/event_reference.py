"""docs/reference/audit-events.md: what a row of the audit log can say. The events are collected from the code."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import airflow_provider_wmigrate

PACKAGE = Path(airflow_provider_wmigrate.__file__).parent

MEANINGS = {
    "ledger_created": ("The ledger was made.", "`ledger_version`"),
    "ledger_upgraded": ("The ledger's tables were brought to a newer version.", "`from`, `to`"),
    "planned": (
        "A plan was made, and no finding stopped it. Nothing has run yet.",
        "`direction`, `steps`, `forgot_head` if a run was told to",
    ),
    "started": ("A script is about to be sent; committed before it is.", "`direction`, `statements_done` on a resume"),
    "applied": ("A migration was applied; commits with it.", "the audit record"),
    "rolled_back": ("A migration was rolled back by its script; commits with it.", "the audit record"),
    "failed": (
        "A script failed; the message says what was kept.",
        "`direction`, `error`, `sqlstate`, `dry_run`; if said: `detail`, `hint`, `context`, `constraint`, `function`",
    ),
    "rollback_failed": (
        "A rollback script failed.",
        "`direction`, `error`, `sqlstate`, `dry_run`; if said: `detail`, `hint`, `context`, `constraint`, `function`",
    ),
    "failure_handled": ("After a task failed for good: what was found, and what was done about it.", "`outcome`"),
    "dry_run": ("A dry run was executed and rolled back.", "the audit record, `chain`: milliseconds of each"),
    "not_tried": ("A dry run executed nothing of a migration.", "the audit record, `reason`"),
    "refused": (
        "A finding stopped one migration under its lock; nothing was touched.",
        "`findings`, `error`, `dry_run`",
    ),
    "repaired": ("A person settled an entry.", "`decision`, `reason`, `before`, `after`"),
    "baselined": ("A person declared a migration applied; nothing ran.", "`to`, `reason`, `name`, `checksum`"),
    "baseline_undone": ("A person took a baseline back; nothing ran.", "`to`, `reason`, `name`, `checksum`"),
    "reported": (
        "An Airflow run ended with nothing failed; what it applied stays.",
        "`applied`, `rolled_back`, `state`: a hash over what is applied",
    ),
    "alerted": ("People were told of an incident.", "`kind`, `subject`, `what`"),
    "alert_failed": ("No notifier could be reached.", "`kind`, `subject`, and why"),
    "healed": ("People were told that incidents are over.", "`kinds`, `subject`"),
}

_CALLS = {"append", "_append", "record", "migrator.record"}

_HEAD = """# Audit events

The column `event` of [`audit_log`](ledger-tables.md#audit_log), and what its `details` hold beside it. No row holds a
secret, or SQL but the first words of a statement that failed. `wmigrate audit --event failed` filters by it.

This page is generated from the code: `python -m dev.references`.

| event | means | details |
| --- | --- | --- |
"""


def page() -> str:
    """The page as Markdown.

    :raises ValueError: an event is not described above, or is and no longer exists.
    """
    unequal = events() ^ set(MEANINGS)
    if unequal:
        raise ValueError(f"describe in dev/event_reference.py, or take out: {', '.join(sorted(unequal))}")
    return _HEAD + "".join(f"| `{name}` | {meaning} | {details} |\n" for name, (meaning, details) in MEANINGS.items())


def events() -> set[str]:
    """Every event that the code writes: given to the log as a word, or named by a value that becomes one."""
    found = {"applied", "rolled_back"}  # Outcome's own values, by Execution._last_row
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in _CALLS:
                found |= _words(node.args[:2])
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event":
                found |= _words(ast.walk(node.value))
    return found - {"rollback", "apply"}


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _words(nodes: Iterable[ast.AST]) -> set[str]:
    values = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return {v for v in values if isinstance(v, str) and v.replace("_", "").isalpha() and v.islower()}
