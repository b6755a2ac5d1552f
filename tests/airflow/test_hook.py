"""From an Airflow connection to a psycopg connection, and what a person is told when that fails."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow_runner import Runner
from psycopg.conninfo import conninfo_to_dict

from airflow_provider_wmigrate import CheckHealthOperator, MigrationHook
from airflow_provider_wmigrate.engine.health.introduction import Introduction
from airflow_provider_wmigrate.engine.ledger.ledger import LEDGER_VERSION
from dev.cluster import Cluster

StartCluster = Callable[..., AbstractContextManager[Cluster]]
MakeFolder = Callable[[dict[str, str]], Path]
Connect = Callable[..., MigrationHook]
PASSWORD = "a%40b@c#d:e/f?g&h=i j'k\"l\\m%s"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """A hook for a connection with these fields."""

    def make(**fields: object) -> MigrationHook:
        value = {"conn_type": "postgres", "host": "127.0.0.1", "login": "postgres", "schema": "postgres", **fields}
        monkeypatch.setenv("AIRFLOW_CONN_ODD_DB", json.dumps(value))
        return MigrationHook("odd_db")

    return make


def test_a_password_with_every_character_a_url_minds(
    start_cluster: StartCluster, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_cluster(password=PASSWORD) as cluster:
        works, says = connect(port=cluster.port, password=PASSWORD).test_connection()
        assert works, says
        assert says.startswith("PostgreSQL")
        url = f"wmigrate://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:{cluster.port}/postgres"
        monkeypatch.setenv("AIRFLOW_CONN_ODD_DB", url)
        works, says = MigrationHook("odd_db").test_connection()
        assert works, says
        works, says = connect(port=cluster.port, password="wrong" + PASSWORD).test_connection()
        assert not works
        assert "password authentication failed" in says
        assert PASSWORD not in says


@pytest.mark.parametrize("kind", ["postgres", "wmigrate"])
def test_both_types_of_connection_carry_a_run(
    runner: Runner, make_folder: MakeFolder, database: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    given = conninfo_to_dict(database)
    url = f"{kind}://{given['user']}@{given['host']}:{given['port']}/{given['dbname']}?application_name=x"
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", url)
    run = runner.run(runner.migrations(make_folder({"001_a.sql": "CREATE TABLE a (id int);"})))
    assert run.state == "success"
    works, says = MigrationHook("target").test_connection()
    assert works, says
    assert says.endswith("; ledger version 3 in schema wmigrate with 1 applied migration")


def test_a_time_zone_that_python_does_not_know_is_no_line_in_a_task_log(
    runner: Runner, make_folder: MakeFolder, conn: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """psycopg tells each such zone once in a process, so this one is in no other test."""
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET TimeZone TO '<+0545>-5:45'".encode())
    folder = make_folder({"001_a.sql": "CREATE TABLE a AS SELECT current_setting('TimeZone') AS zone;"})
    with caplog.at_level("WARNING", "psycopg"):
        run = runner.run(runner.migrations(folder))
        look = runner.run(runner.of(CheckHealthOperator(task_id="look", conn_id="target", folder=folder)))
        assert MigrationHook("target").test_connection()[0]
    assert (run.state, look.state) == ("success", "success")
    assert conn.execute("SELECT zone FROM a").fetchall() == [("<+0545>-5:45",)]
    assert [record.getMessage() for record in caplog.records if record.name == "psycopg"] == []


def test_airflow_finds_the_hook_by_the_type_of_the_connection(database: str, connect: Connect) -> None:
    """As the button in Airflow's form does."""
    from airflow.sdk import Connection

    given = conninfo_to_dict(database)
    place = {"host": given["host"], "port": int(given["port"]), "login": given["user"], "schema": given["dbname"]}
    connect(conn_type="wmigrate", **place)
    works, says = Connection(conn_id="odd_db", conn_type="wmigrate", **place).test_connection()
    assert (works, says.partition("; ")[2]) == (True, "no ledger yet, so nothing has been applied here")


def test_another_type_is_refused(connect: Connect) -> None:
    works, says = connect(conn_type="mysql").test_connection()
    assert not works
    assert says == "connection odd_db is of type mysql; wmigrate needs one of type wmigrate or postgres"


def test_a_connection_that_is_not_there() -> None:
    works, says = MigrationHook("nowhere_db").test_connection()
    assert not works
    assert says.endswith("create that connection or correct conn_id")


# The fields of the form


def test_what_the_form_leaves_empty_is_left_out(cluster: Cluster, connect: Connect) -> None:
    empty = {"sslmode": "", "sslrootcert": None, "connect_timeout": None}
    works, says = connect(conn_type="wmigrate", port=cluster.port, extra=json.dumps(empty)).test_connection()
    assert works, says


def test_every_field_of_the_form_reaches_the_driver(cluster: Cluster, connect: Connect) -> None:
    given = {"sslmode": "allow", "sslrootcert": "/nowhere/ca.pem", "connect_timeout": "7"}
    with connect(conn_type="wmigrate", port=cluster.port, extra=json.dumps(given)).get_conn() as conn:
        assert given.items() <= conn.info.get_parameters().items()


def test_encryption_that_the_server_does_not_have(cluster: Cluster, connect: Connect) -> None:
    works, says = connect(conn_type="wmigrate", port=cluster.port, extra='{"sslmode": "require"}').test_connection()
    assert not works
    assert says.endswith("server does not support SSL, but SSL was required")
    assert "\n" not in says


def test_a_server_that_never_answers_is_waited_for_as_long_as_the_form_says(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = connect(conn_type="wmigrate", port=silent.getsockname()[1], extra='{"connect_timeout": 2}')
        works, says = hook.test_connection()
    assert not works
    assert "timeout" in says


def test_a_password_that_was_written_into_the_host_is_not_told(connect: Connect) -> None:
    works, says = connect(host="user:tr0ub4dor@127.0.0.1", port=1, password="tr0ub4dor").test_connection()
    assert not works
    assert "tr0ub4dor" not in says


# What a target says of itself


def test_a_ledger_that_cannot_be_read(database: str, connect: Connect) -> None:
    given = conninfo_to_dict(database)
    place = {"port": int(given["port"]), "schema": given["dbname"]}
    with psycopg.connect(database, autocommit=True) as conn:
        for schema in ("others", "wmigrate"):
            conn.execute(f"CREATE SCHEMA {schema}")
            for table in ("schema_migrations", "audit_log", "application_metadata"):
                conn.execute(f"CREATE TABLE {schema}.{table} (key text, value text)")
        conn.execute("INSERT INTO wmigrate.application_metadata VALUES ('ledger_version', '99')")
        conn.execute("CREATE ROLE looker LOGIN; GRANT USAGE ON SCHEMA wmigrate TO looker")
    try:
        works, says = connect(**place).test_connection()
        assert works, says
        assert f"the ledger in schema wmigrate has version 99, this wmigrate knows up to {LEDGER_VERSION}" in says
        assert "others.application_metadata has no ledger_version" in says
        works, says = connect(**place, login="looker").test_connection()
        assert works, says
        assert "a ledger in schema wmigrate, which this role may not read" in says
    finally:
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute("DROP OWNED BY looker; DROP ROLE looker")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            {"timescaledb": "TimescaleDB 2.17.2 (Community Edition)", "ledgers": ("ledger version 1",)},
            "PostgreSQL 17.2, TimescaleDB 2.17.2 (Community Edition); ledger version 1",
        ),
        (
            {"timescaledb": "no TimescaleDB", "standby": True},
            "PostgreSQL 17.2, a standby that takes no migrations, no TimescaleDB;"
            " no ledger yet, so nothing has been applied here",
        ),
    ],
    ids=["with", "without"],
)
def test_the_sentence(target: dict[str, Any], sentence: str) -> None:
    assert str(Introduction(**{"server": "17.2", "ledgers": (), "standby": False, **target})) == sentence


@pytest.mark.parametrize("name", ["cursor_factory", "row_factory", "context"])
def test_a_python_object_in_the_extra_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given = json.dumps({"conn_type": "postgres", "host": "127.0.0.1", "extra": {name: "psycopg.ClientCursor"}})
    monkeypatch.setenv("AIRFLOW_CONN_ODD", given)
    with pytest.raises(AirflowFailException, match=f"connection odd has {name} in its extra"):
        MigrationHook("odd").get_conn()


def test_who_acts_names_the_version_of_the_bundle() -> None:
    """A bundle without versions, such as a folder of DAGs, has nothing to name."""
    from types import SimpleNamespace

    from airflow.dag_processing.bundles.local import LocalDagBundle

    class OfOneCommit(LocalDagBundle):
        supports_versioning = True

    from airflow_provider_wmigrate.hooks import identity_of

    def who(bundle: object) -> object:
        ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", try_number=1, bundle_instance=bundle)
        return identity_of({"ti": ti}).bundle

    assert who(OfOneCommit(name="warehouse", version="4f2c", path="/")) == ("warehouse", "4f2c")
    assert who(LocalDagBundle(name="dags-folder", path="/")) is None
