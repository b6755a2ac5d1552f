"""docs/reference/audit-events.md: what a row of the audit log can say."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.codes import EVENTS

_HEAD = """# Audit events

The column `event` of [`audit_log`](ledger-tables.md#audit_log), and what its `details` hold beside it. No row holds a
secret, or SQL but the first words of a statement that failed. `wmigrate audit --event failed` filters by it.

This page is generated from the code: `python -m dev.references`.

| event | means | details |
| --- | --- | --- |
"""


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "".join(f"| `{e.event}` | {e.means} | {e.details} |\n" for e in EVENTS.values())
