"""`baseline` compares: a database is not taken at a person's word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.session.scratch import PREFIX
from dev.cluster import Cluster

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
    result = wmigrate("baseline", "2", *WHY)
    assert (result.code, result.err) == (0, REPLAY)
    assert declared(conn) == [("001", []), ("002", [])]
    assert left_over(conn) == []


def test_a_difference_is_refused_until_it_is_accepted_by_name(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    conn.execute("CREATE TABLE shop (id bigint, price int)")
    conn.execute("CREATE TABLE schema_migrations (version bigint)")
    refused = wmigrate("baseline", "2", *WHY)
    said = "the database is not what the migrations up to 002 make:"
    way = "change the database or the migrations, or accept it: --accept"
    column = f"{said} column public.shop.id: integer -> bigint; {way} 'column public.shop.id'"
    table = f"{said} table public.schema_migrations is new, with 1 x column; {way} 'table public.schema_migrations'"
    assert (refused.code, refused.out) == (3, "")
    assert refused.err == f"{REPLAY}{table}\nwmigrate: {column} (and 1 more)\n"
    assert declared(conn) == left_over(conn) == []
    names = ("column public.shop.id", "table public.schema_migrations")
    one = wmigrate("baseline", "2", "--accept", names[0], *WHY)
    assert (one.code, one.err) == (3, f"{REPLAY}wmigrate: {table}\n")
    both = [word for name in names for word in ("--accept", name)]
    assert wmigrate("baseline", "2", *both, *WHY).code == 0
    assert declared(conn) == [("001", list(names)), ("002", list(names))]


def test_a_reason_is_asked_for_before_anything_is_compared(shop: Path, wmigrate: Wmigrate) -> None:
    result = wmigrate("baseline", "2", "--yes")
    said = "wmigrate: a baseline needs a reason, which the audit log keeps; give --reason\n"
    assert (result.code, result.out, result.err) == (2, "", said)


def test_whoever_does_not_compare_says_so(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    assert wmigrate("baseline", "2", "--no-compare", *WHY).err == ""
    assert declared(conn) == [("001", None), ("002", None)]
    for words in (["--accept", "x"], ["--scratch", "host=x"], ["--compare"]):
        result = wmigrate("baseline", "2", "--no-compare", *words, *WHY)
        said = "wmigrate: --no-compare goes with no --compare, --scratch and --accept; leave it out, or them\n"
        assert (result.code, result.err) == (2, said)


def test_a_script_that_may_reach_beyond_is_not_run(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    """On the server that others use; it is run on one that is there for nothing else."""
    conn.execute("CREATE TABLE shop (id int, price int)")
    (shop / "002_price.sql").write_text(
        "ALTER TABLE shop ADD price int;\nALTER ROLE CURRENT_USER SET work_mem = '5MB';"
    )
    refused = wmigrate("baseline", "2", *WHY)
    assert (refused.code, refused.err) == (
        1,
        f"{REPLAY}wmigrate: the schema cannot be compared: `ALTER ROLE` may reach beyond a scratch database; name a"
        " server of its own with --scratch; or declare it on your word with --no-compare\n",
    )
    assert conn.execute("SELECT rolconfig FROM pg_roles WHERE rolname = current_user").fetchone() == (None,)
    assert wmigrate("baseline", "2", "--scratch", conn.info.dsn, *WHY).code == 0
    conn.execute("ALTER ROLE CURRENT_USER RESET work_mem")


@pytest.mark.needs_postgresql(15, "a database whose locale is one of ICU")
def test_a_target_that_sorts_by_icu(
    shop: Path, wmigrate: Wmigrate, conn: Conn, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds of a range are right there alone: where bytes are compared, a comes after Z."""
    if conn.execute("SELECT FROM pg_collation WHERE collname = 'de-x-icu'").fetchone() is None:
        pytest.skip("this server was built without ICU")
    table = "CREATE TABLE shop (id text) PARTITION BY RANGE (id);"
    part = "CREATE TABLE a_to_z PARTITION OF shop FOR VALUES FROM ('a') TO ('Z');"
    (shop / "001_shop.sql").write_text(table + part)
    conn.execute("CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C'")
    try:
        monkeypatch.setenv("PGDATABASE", "icu")
        with psycopg.connect(cluster.dsn("icu"), autocommit=True) as there:
            there.execute(f"{table}{part}".encode())
        result = wmigrate("baseline", "1", *WHY)
        assert (result.code, result.err) == (0, REPLAY.replace("002", "001"))
    finally:
        cluster.drop_database("icu")
    assert left_over(conn) == []


def test_what_does_not_run_on_an_empty_database(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    (shop / "002_price.sql").write_text("ALTER TABLE shop ADD price int REFERENCES nowhere;")
    refused = wmigrate("baseline", "2", *WHY)
    assert refused.code == 1
    assert "wmigrate: the schema cannot be compared: 002_price.sql:1" in refused.err
    assert refused.err.endswith("; or declare it on your word with --no-compare\n")
    assert declared(conn) == left_over(conn) == []


def test_a_role_that_may_make_no_database(
    shop: Path, wmigrate: Wmigrate, conn: Conn, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute("CREATE TABLE shop (id int, price int)")
    role = f"plain_{conn.info.dbname}"
    conn.execute(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {conn.info.dbname} TO {role}".encode())
    monkeypatch.setenv("PGUSER", role)
    try:
        refused = wmigrate("baseline", "2", *WHY)
        assert (refused.code, refused.err) == (
            1,
            f"{REPLAY}wmigrate: the schema cannot be compared: no scratch database can be made: permission denied to"
            " create database; give the role CREATEDB, or name a server on which it has that with --scratch; or declare"
            " it on your word with --no-compare\n",
        )
        assert wmigrate("baseline", "2", "--scratch", database, *WHY).code == 3, "the owner is another one"
    finally:
        conn.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())
    assert left_over(conn) == []
