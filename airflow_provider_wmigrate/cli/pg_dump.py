"""A database as a script, by PostgreSQL's own pg_dump, in the form in which a migration can have it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from airflow_provider_wmigrate.engine.errors import WMigrateError

_OF_PSQL = re.compile(r"\\(un)?restrict [A-Za-z0-9]+")
_OF_A_SESSION = re.compile(
    "SET (statement_timeout|lock_timeout|idle_in_transaction_session_timeout|transaction_timeout|client_encoding"
    "|client_min_messages|row_security) = .*;"
)
"""What wmigrate itself sets for a script, or what an older server does not know."""

_KNOWN = (
    "host", "hostaddr", "port", "user", "dbname", "options", "passfile", "connect_timeout", "sslmode", "sslrootcert",
    "sslcert", "sslkey", "sslcrl", "sslcrldir", "channel_binding", "gssencmode", "krbsrvname", "gsslib",
)  # fmt: skip
"""Of a connection's parameters, those of every version of libpq: psycopg may have a newer one than pg_dump."""


def program() -> str:
    """Where pg_dump is.

    :raises WMigrateError: it is not on the path.
    """
    path = shutil.which("pg_dump")
    if path is None:
        hint = "install PostgreSQL's client programs, of the server's major version or a newer one"
        raise WMigrateError("pg_dump is not on the path, and it writes the file", hint=hint)
    return path


def dump(path: str, connect: Callable[[], psycopg.Connection[Any]], without_schema: str, *, rows: bool) -> str:
    """A script that makes what is in a database.

    :param path: the program.
    :param without_schema: the ledger's.
    :param rows: with the rows, as INSERT.
    :raises WMigrateError: pg_dump refuses.
    """
    with connect() as conn:
        where = {name: value for name, value in conn.info.get_parameters().items() if name in _KNOWN}
        dsn, password = make_conninfo(**where), conn.info.password
        (role,) = conn.execute("SELECT pg_catalog.quote_ident(current_user)").fetchone() or ("",)
    name = without_schema.replace('"', '""')
    what = ["--column-inserts"] if rows else ["--schema-only"]
    command = [path, "--no-password", "--no-subscriptions", "--encoding=UTF8", f'--exclude-schema="{name}"', *what]
    done = subprocess.run(
        [*command, f"--dbname={dsn}"],
        env={**os.environ, **({"PGPASSWORD": password} if password else {})},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        reason = next(iter(done.stderr.strip().splitlines()), f"it ends with {done.returncode}")
        hint = "take a pg_dump of the server's major version or a newer one"
        raise WMigrateError(f"pg_dump failed: {reason.removeprefix('pg_dump: error: ')}", hint=hint)
    return as_migration(done.stdout, role)


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
