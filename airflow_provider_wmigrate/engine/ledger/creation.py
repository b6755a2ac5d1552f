"""The ledger's tables made where there are none, and brought to the current version where they are older."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.model import Identity

from .ledger import Ledger
from .ledger_upgrades import after
from .structure import in_schema
from .trail import GENESIS, HEAD


def make_current(ledger: Ledger, conn: Connection[Any], identity: Identity, version: int | None = None) -> None:
    """Make the tables, or what an older version lacks.

    One transaction, under the exclusive ledger lock, under which `version` was read.

    :param version: the ledger's; None: there is none.
    """
    newest = ledger.newest_version
    if version is not None and version >= newest:
        return
    if version is None:
        _make_schema(conn, ledger.schema)
        conn.execute(in_schema(ledger.schema, files(__package__).joinpath("ledger.sql").read_text(encoding="utf-8")))
    for step in after(version or 1, ledger.upgrades):
        conn.execute(in_schema(ledger.schema, step.script))
    ledger.writer(conn).set_metadata(
        {"ledger_version": str(newest), **({HEAD: f"0:{GENESIS}"} if version is None else {})}
    )
    if version is None:
        ledger.log.append(conn, "ledger_created", identity, details={"ledger_version": newest})
    else:
        ledger.log.append(conn, "ledger_upgraded", identity, details={"from": version, "to": newest})


def _make_schema(conn: Connection[Any], schema: str) -> None:
    """IF NOT EXISTS would ask for CREATE on the database even where a DBA has made it."""
    if conn.execute("SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s", [schema]).fetchone() is None:
        conn.execute(in_schema(schema, "CREATE SCHEMA {schema}"))
