"""`baseline --compare`: a database is not taken at a person's word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.session.scratch import PREFIX

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]
WHY = ("--reason", "it was there", "--yes")
REPLAY = "applying the migrations up to 002 to a scratch database, to compare\n"


def declared(conn: Conn) -> list[Any]:
    if conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,):
        return []
    query = "SELECT version, details -> 'accepted' FROM wmigrate.audit_log WHERE event = 'baselined' ORDER BY position"
    return conn.execute(query).fetchall()


def left_over(conn: Conn) -> list[Any]:
    return conn.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{PREFIX}%"]).fetchall()


def test_the_same_schema_is_declared(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    conn.execute("CREATE TABLE shop (price int, id int)")  # the order of columns is no difference
    result = wmigrate("baseline", "2", "--compare", *WHY)
    assert (result.code, result.err) == (0, REPLAY)
    assert declared(conn) == [("001", []), ("002", [])]
    assert left_over(conn) == []


def test_a_difference_is_refused_until_it_is_accepted_by_name(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    conn.execute("CREATE TABLE shop (id bigint, price int)")
    conn.execute("CREATE TABLE schema_migrations (version bigint)")
    refused = wmigrate("baseline", "2", "--compare", *WHY)
    said = "the database is not what the migrations up to 002 make:"
    way = "change the database or the migrations, or accept it: --accept"
    column = f"{said} column public.shop.id: integer -> bigint; {way} 'column public.shop.id'"
    table = f"{said} table public.schema_migrations is new, with 1 x column; {way} 'table public.schema_migrations'"
    assert (refused.code, refused.out) == (3, "")
    assert refused.err == f"{REPLAY}{table}\nwmigrate: {column} (and 1 more)\n"
    assert declared(conn) == left_over(conn) == []
    names = ("column public.shop.id", "table public.schema_migrations")
    one = wmigrate("baseline", "2", "--compare", "--accept", names[0], *WHY)
    assert (one.code, one.err) == (3, f"{REPLAY}wmigrate: {table}\n")
    both = [word for name in names for word in ("--accept", name)]
    assert wmigrate("baseline", "2", "--compare", *both, *WHY).code == 0
    assert declared(conn) == [("001", list(names)), ("002", list(names))]


def test_its_options_alone_mean_nothing(shop: Path, wmigrate: Wmigrate) -> None:
    for words in (["--accept", "x"], ["--scratch", "host=x"]):
        result = wmigrate("baseline", "2", *words, *WHY)
        said = "wmigrate: --scratch and --accept belong to --compare; give it too, or leave them out\n"
        assert (result.code, result.err) == (2, said)


def test_what_does_not_run_on_an_empty_database(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    (shop / "002_price.sql").write_text("ALTER TABLE shop ADD price int REFERENCES nowhere;")
    refused = wmigrate("baseline", "2", "--compare", *WHY)
    assert refused.code == 1
    assert "wmigrate: 002_price.sql:1" in refused.err
    assert declared(conn) == left_over(conn) == []


def test_a_role_that_may_make_no_database(
    shop: Path, wmigrate: Wmigrate, conn: Conn, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute("CREATE TABLE shop (id int, price int)")
    role = f"plain_{conn.info.dbname}"
    conn.execute(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {conn.info.dbname} TO {role}".encode())
    monkeypatch.setenv("PGUSER", role)
    try:
        refused = wmigrate("baseline", "2", "--compare", *WHY)
        assert (refused.code, refused.err) == (
            1,
            f"{REPLAY}wmigrate: no scratch database can be made: permission denied to create database; give the role"
            " CREATEDB, or name a server on which it has that with --scratch\n",
        )
        assert wmigrate("baseline", "2", "--compare", "--scratch", database, *WHY).code == 3, "the owner is another one"
    finally:
        conn.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())
    assert left_over(conn) == []
