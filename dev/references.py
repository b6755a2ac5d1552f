"""What docs/ holds between two marks is written from the code: `python -m dev.references`. Tests hold it current."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg

from airflow_provider_wmigrate.cli import confirm, failure
from airflow_provider_wmigrate.cli.arguments import AIRFLOW, COMMON, WMIGRATE, Argument, Verb
from airflow_provider_wmigrate.cli.patterns import PATTERNS, words_told
from airflow_provider_wmigrate.cli.verbs import VERBS
from airflow_provider_wmigrate.engine import errors
from airflow_provider_wmigrate.engine.codes import EVENTS, FINDINGS
from airflow_provider_wmigrate.engine.folder.config.reference import describe
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Identity
from dev import airflow_reference
from dev.cluster import Cluster
from dev.lock_table import PAGE_OF, lock_schema, locks_page, outside
from dev.markdown import table, with_generated

DOCS = Path(__file__).resolve().parents[1] / "docs"


def configuration() -> str:
    """A section for each mapping, a row for each key in it."""
    parts: list[str] = []
    rows: list[tuple[str, ...]] = []
    for key in describe():
        if key.type.startswith("a mapping") and not key.default:
            parts += [table("key|value|default|meaning", rows), f"\n## `{key.key}`\n\n{key.meaning}\n"]
            rows = []
        else:
            default = f"`{key.default}`" if key.default not in ("", "required") else key.default
            rows.append((f"`{key.key}`", key.type.replace("|", "or"), default, key.meaning))
    return "".join([*parts, table("key|value|default|meaning", rows)])


def command_line() -> str:
    """Templates, the options of all verbs, and each verb."""
    templates = [
        (f"`{name}`", p.help, ", ".join(f"`{word}`" for word in words_told(p))) for name, p in PATTERNS.items()
    ]
    parts = ["\n## Templates\n", table("template|for|words", templates)]
    parts += ["\n## Reference\n\nOptions of every verb, before it or behind it:\n"]
    parts.append(_options([*COMMON, *WMIGRATE, *AIRFLOW]))
    return "".join([*parts, *map(_verb, VERBS)])


def _verb(verb: Verb) -> str:
    words = [verb.name, *(_positional(argument) for argument in verb.arguments if not argument.is_option)]
    notes = {
        "Asks before it changes the target.": verb.asks,
        "Needs no target.": verb.database == "never",
        "Only in `wmigrate`.": verb.only_wmigrate,
    }
    text = " ".join([verb.help, *(note for note, holds in notes.items() if holds)])
    return f"\n### `{' '.join(words)}`\n\n{text}\n{_options(verb.arguments)}"


def _positional(argument: Argument) -> str:
    name = "|".join(argument.choices) or argument.metavar
    return f"[{name}]" if argument.optional else name


def _options(arguments: Iterable[Argument]) -> str:
    return table("option|meaning", map(_option, arguments))


def _option(argument: Argument) -> tuple[str, str]:
    flags, meaning = f"`{_positional(argument)}`", argument.help
    if argument.is_option:
        flags = " ".join(filter(None, (", ".join(f"`{flag}`" for flag in argument.flags), argument.metavar)))
        meaning += f" One of: {', '.join(argument.choices)}." if argument.choices else ""
    if argument.default is not None:
        meaning += f" Default: `{argument.default}`."
    for command, own in {"wmigrate": WMIGRATE, "airflow wmigrate": AIRFLOW}.items():
        meaning += f" Only in `{command}`." if argument in own else ""
    return flags, meaning


def errors_and_findings() -> str:
    """Both tables."""
    found = [(f"`{f.code}`", f.severity, f.means, f.do) for f in FINDINGS.values()]
    told = table("class|code|exit|tried again|means|do", map(_error, error_classes()))
    return f"{told}\n## Findings\n{table('code|severity|means|do', found)}"


def error_classes() -> list[type[errors.WMigrateError]]:
    """In the order of their modules."""
    named = {**vars(errors), **vars(failure), **vars(confirm)}.values()
    return [kind for kind in named if isinstance(kind, type) and issubclass(kind, errors.WMigrateError)]


def _error(kind: type[errors.WMigrateError]) -> tuple[str, ...]:
    name = kind.__name__
    means = " ".join((kind.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    again = "by its SQLSTATE" if issubclass(kind, errors.StatementFailed) else "yes" if kind.retryable else "no"
    code = str(failure.exit_code(kind.__new__(kind)))
    return f"`{name}`", f"`{failure._snake(name)}`", code, again, means, vars(kind)["remedy"]


def audit_events() -> str:
    """What a row of the audit log can say."""
    return table("event|means|details", [(f"`{e.event}`", e.means, e.details) for e in EVENTS.values()])


_TABLES = """
SELECT c.oid, c.relname, obj_description(c.oid, 'pg_class')
FROM pg_class c WHERE c.relnamespace = 'wmigrate'::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""
_COLUMNS = """
SELECT format('`%%s`', a.attname), format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN '' ELSE 'yes' END,
       coalesce(col_description(a.attrelid, a.attnum), '')
FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_FUNCTIONS = """
SELECT p.proname, obj_description(p.oid, 'pg_proc')
FROM pg_proc p WHERE p.pronamespace = 'wmigrate'::regnamespace ORDER BY p.proname
"""
_METADATA = "SELECT format('`%s`', key), description FROM wmigrate.application_metadata ORDER BY key"


def ledger_tables(conn: psycopg.Connection[Any]) -> str:
    """The ledger's tables as a database has them, with their COMMENTs.

    :param conn: autocommit, to a database in which a ledger may be made.
    """
    with conn.transaction():
        make_current(Ledger("wmigrate"), conn, Identity("reference"))
    parts = []
    for oid, name, comment in conn.execute(_TABLES).fetchall():
        columns = table("column|type|may be NULL|meaning", conn.execute(_COLUMNS, [oid]).fetchall())
        parts.append(f"\n## `{name}`\n\n{_sentence(comment)}\n{columns}")
    functions = [(f"`{name}()`", _sentence(comment)) for name, comment in conn.execute(_FUNCTIONS).fetchall()]
    parts += ["\n## Functions\n", table("function|does", functions)]
    parts += ["\n## `application_metadata` of a new ledger\n", table("key|meaning", conn.execute(_METADATA).fetchall())]
    return "".join(parts)


def _sentence(comment: str | None) -> str:
    text = (comment or "").removeprefix("wmigrate: ")
    return text[:1].upper() + text[1:] + "."


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "cli.md": command_line,
    "reference/airflow.md": airflow_reference.page,
    "reference/errors.md": errors_and_findings,
    "reference/audit-events.md": audit_events,
}
TABLES = "reference/ledger-tables.md"
"""The page of `ledger_tables`."""
LOCKS = "reference/locks.md"
"""The page of `locks_page`, made with the version of PostgreSQL that it names."""


def main() -> None:
    """Write them all."""
    with Cluster.temporary() as cluster, psycopg.connect(cluster.dsn(), autocommit=True) as conn:
        texts = {name: generated() for name, generated in PAGES.items()} | {TABLES: ledger_tables(conn)}
        if conn.info.server_version // 10000 == PAGE_OF:
            with lock_schema(cluster) as locks:
                texts[LOCKS] = locks_page(locks, outside(locks.info.dsn))
    for name, text in texts.items():
        page = (DOCS / name).read_text(encoding="utf-8")
        (DOCS / name).write_text(with_generated(page, text), encoding="utf-8")


if __name__ == "__main__":
    main()
