"""docs/reference/errors.md: every error and finding, collected from the code; what to do about them is told here."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator
from pathlib import Path

import airflow_provider_wmigrate
from airflow_provider_wmigrate.cli import failure
from airflow_provider_wmigrate.engine import errors

PACKAGE = Path(airflow_provider_wmigrate.__file__).parent
_MAKERS = {
    "Finding": None,
    "ConfigFinding": None,
    "FolderFinding": None,
    "Problem": None,
    "Lack": None,
    "_finding": "rules.py",
}
"""What makes a finding of a code (its first argument, or `code=`), and in which file only."""
_HANDED_ON = {
    ("problems.py", "first.code"),
    ("problems.py", "code"),
    ("rules.py", "code"),
    ("extensions.py", "found.code"),
}
"""Where a maker gets the code from its own caller."""

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

E, W = "error", "warning"
FINDINGS = {
    "changed": (E, "the file was edited after it was applied", "restore it and write a new one; or `repair --accept`"),
    "missing": (E, "applied, and its file is gone", "restore the file; or `repair --forget`"),
    "incomplete": (f"{W}; of a rollback {E}", "begun outside a transaction, not finished", "run it again: it goes on"),
    "executed_statement_edited": (E, "a statement that has run was edited or is gone", "restore that statement"),
    "in_flight": (E, "it is not known whether a statement ran to its end", "`repair --ran` or `--again`"),
    "session_lost": (E, "a script's session cannot be had again", "make that possible, or set it again in the script"),
    "index_in_question": (E, "an index is invalid; whether it is being built must not be seen", "look, then drop it"),
    "index_differs": (E, "another session built an index of that name, a different one", "rename or drop it"),
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
    "syntax_error": (W, "PostgreSQL's grammar cannot read it, at that line and column", "mend it"),
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

    :raises ValueError: an error or a finding is not described above, or is and no longer exists.
    """
    _refuse_unequal("error", {name for name, _ in _classes()}, set(REMEDIES))
    _refuse_unequal("finding", codes(), set(FINDINGS))
    rows = [_row(name, kind) for name, kind in _classes()]
    table = "\n## Findings\n\n| code | severity | means | do |\n| --- | --- | --- | --- |\n"
    found = [f"| `{code}` | {severity} | {means} | {do} |\n" for code, (severity, means, do) in FINDINGS.items()]
    return _HEAD + "".join(rows) + table + "".join(found)


def _refuse_unequal(what: str, there: set[str], described: set[str]) -> None:
    if there != described:
        names = ", ".join(sorted(there ^ described))
        raise ValueError(f"{what}: describe in dev/error_reference.py, or take out: {names}")


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


def codes() -> set[str]:
    """The code of every finding that the engine, the command line and the operators can make.

    :raises ValueError: one is made in a way that is not known here.
    """
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MAKERS:
                found |= _code(file, node) if _MAKERS[node.func.id] in (None, file.name) else set()
    return found


def _code(file: Path, call: ast.Call) -> set[str]:
    named = [k.value for k in call.keywords if k.arg == "code"]
    if isinstance(call.func, ast.Name) and call.func.id == "Problem" and not named:
        return set()  # of another kind, or of the code that is the usual one
    given = named[0] if named else call.args[0]
    if isinstance(given, ast.Constant):
        return {str(given.value)}
    if isinstance(given, ast.JoinedStr):
        pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in given.values)
        return {code for code in FINDINGS if fnmatch.fnmatch(code, pattern)}
    if (file.name, ast.unparse(given)) not in _HANDED_ON:
        raise ValueError(f"{file.name}:{call.lineno}: where does the code {ast.unparse(given)} come from?")
    return set()
