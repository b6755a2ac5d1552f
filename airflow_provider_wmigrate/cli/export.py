"""export: the whole history, entries and audit log, for other programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from .call import Answer, Call
from .failure import UsageError
from .screen import Screen

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.model import Entry


def export(call: Call) -> Answer:
    """Entries, audit rows, or both."""
    given = call.arguments
    what = ("entries", "audit") if given.what == "all" else (given.what,)
    if given.format == "csv" and (len(what) > 1 or call.screen.as_json):
        raise UsageError(
            "a CSV file has one table, and is not JSON",
            hint="give `export entries --format csv` or `export audit --format csv`, without --json",
        )
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in what}
    with call.session() as session:
        conn, ledger = session.conn, call.ledger
        if ledger.version(conn) is not None:
            # One moment for both: an entry without its audit row would look like a forged one.
            conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            if "entries" in tables:
                tables["entries"] = [_entry(entry) for entry in ledger.entries(conn)]
            if "audit" in tables:
                tables["audit"] = [asdict(row) for row in ledger.log.rows(conn)]
            conn.execute("COMMIT")
    data = {"target": call.target_document(), **tables}

    def show(screen: Screen) -> None:
        if given.format == "csv":
            _csv(what[0], tables[what[0]])
        else:
            screen.document(data)

    return Answer(data, show)


def _entry(entry: Entry) -> dict[str, Any]:
    """Without the journal of a script that is under way."""
    row = asdict(entry)
    for name in ("statement_hashes", "identity"):
        del row[name]
    return {**row, **entry.identity.columns()}


def _csv(table: str, rows: Sequence[dict[str, Any]]) -> None:
    from airflow_provider_wmigrate.engine.ledger.structure import ENTRY
    from airflow_provider_wmigrate.engine.ledger.trail import COLUMNS

    columns = [c for c in ENTRY if c not in ("rollback_sql", "statement_hashes")] if table == "entries" else COLUMNS
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(columns)
    out.writerows(_cells(row, columns) for row in rows)


def _cells(row: dict[str, Any], columns: Sequence[str]) -> Iterator[Any]:
    for value in (row[column] for column in columns):
        if hasattr(value, "isoformat"):
            yield value.isoformat()
        else:
            yield json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple | dict) else value
