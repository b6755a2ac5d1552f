"""docs/reference/errors.md: every error and finding. What heals an error is told here."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_wmigrate.cli import failure
from airflow_provider_wmigrate.engine import errors
from airflow_provider_wmigrate.engine.codes import FINDINGS

REMEDIES = {
    "WMigrateError": "read the sentence: what, where, what next",
    "FolderError": "rename or mend the file it names",
    "ConfigError": "correct the key at that line",
    "HistoryError": "read its findings, in the table below",
    "UnknownVersion": "name a version that `wmigrate status` shows",
    "ScriptError": "take out what cannot be run, at that line",
    "StatementFailed": "mend the statement and run the migration again",
    "TimedOut": "raise `timeout_seconds` or `statement_timeout_seconds`, or do less in one migration",
    "LockTimeout": "look at who holds it; it is tried again",
    "LedgerNotWritten": "look at the ledger's tables, then run again",
    "RollbackFailed": "mend the rollback script and roll back again",
    "ConnectionFailed": "make the target reachable; it is tried again",
    "LedgerTooNew": "upgrade airflow-provider-wmigrate here",
    "UsageError": "correct what was typed",
    "Interrupted": "look at `wmigrate status`: it says what was kept",
    "LedgerDamaged": "restore the ledger from a backup, or choose another `settings.ledger.schema`",
}

_HEAD = """# Errors and findings

An error is one sentence: what, where, what next. A finding is a contradiction or a danger as a value with a code; an
`error` stops the plan before anything is touched, a `warning` is told. What to do at night is told in
[A failed migration](../how-to/failed-migration.md).

This page is generated from the code: `python -m dev.references`.

## Errors

`code` is what `--json` gives, `exit` the exit code of the command line ([all of them](../cli.md#exit-codes)).
What may heal by itself is tried again, as `settings.execution.retry_attempts` says.

| class | code | exit | tried again | means | do |
| --- | --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The page as Markdown.

    :raises ValueError: an error is not described above, or is and no longer exists.
    """
    classes = dict(_classes())
    if classes.keys() != REMEDIES.keys():
        names = ", ".join(sorted(classes.keys() ^ REMEDIES.keys()))
        raise ValueError(f"describe in dev/error_reference.py, or take out: {names}")
    rows = [_row(name, kind) for name, kind in classes.items()]
    table = "\n## Findings\n\n| code | severity | means | do |\n| --- | --- | --- | --- |\n"
    found = [f"| `{f.code}` | {f.severity} | {f.means} | {f.do} |\n" for f in FINDINGS.values()]
    return _HEAD + "".join(rows) + table + "".join(found)


def _classes() -> Iterator[tuple[str, type[errors.WMigrateError]]]:
    for name, kind in {**vars(errors), **vars(failure)}.items():
        if isinstance(kind, type) and issubclass(kind, errors.WMigrateError):
            yield name, kind


def _row(name: str, kind: type[errors.WMigrateError]) -> str:
    error = kind.__new__(kind)
    means = " ".join((kind.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    again = "by its SQLSTATE" if issubclass(kind, errors.StatementFailed) else "yes" if kind.retryable else "no"
    code = failure._snake(name)
    return f"| `{name}` | `{code}` | {failure.exit_code(error)} | {again} | {means} | {REMEDIES[name]} |\n"
