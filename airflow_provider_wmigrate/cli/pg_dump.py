"""A database as a script, by PostgreSQL's own pg_dump, in the form in which a migration can have it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.backup.programs import Programs, login_of

_OF_PSQL = re.compile(r"\\(un)?restrict [A-Za-z0-9]+")
_OF_A_SESSION = re.compile(
    "SET (statement_timeout|lock_timeout|idle_in_transaction_session_timeout|transaction_timeout|client_encoding"
    "|client_min_messages|row_security) = .*;"
)
"""What wmigrate itself sets for a script, or what an older server does not know."""


def dump(connect: Callable[[], psycopg.Connection[Any]], without_schema: str, *, rows: bool) -> str:
    """A script that makes what is in a database.

    :param without_schema: the ledger's.
    :param rows: with the rows, as INSERT.
    :raises WMigrateError: there is no pg_dump, or it refuses.
    """
    programs = Programs(os.environ)
    with connect() as conn:
        login = login_of(conn)
        (role,) = conn.execute("SELECT pg_catalog.quote_ident(current_user)").fetchone() or ("",)
    name = without_schema.replace('"', '""')
    what = ["--column-inserts"] if rows else ["--schema-only"]
    how = ["--no-password", "--no-subscriptions", "--encoding=UTF8", f'--exclude-schema="{name}"']
    return as_migration(programs.run([programs.find("pg_dump"), *how, *what], login), role)


def as_migration(text: str, role: str) -> str:
    """The script without what only psql understands, and without the name of the role that made everything.

    :param role: quoted as pg_dump does it where it must be.
    """
    mine = f" OWNER TO {role};"
    kept = [
        re.sub("; Owner: .*", "", line) if line.startswith("-- Name: ") else line
        for line in text.split("\n")
        if not _OF_PSQL.fullmatch(line)
        and not _OF_A_SESSION.fullmatch(line)
        and not (line.startswith("ALTER ") and line.endswith(mine))
    ]
    return re.sub("\n{3,}", "\n\n", "\n".join(kept)).strip("\n") + "\n"
