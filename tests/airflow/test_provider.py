"""What Airflow is told about the provider, what it shows of it, and what the options of `[wmigrate]` do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_runner import Conn, Runner, applied

import airflow_provider_wmigrate as package
from airflow_provider_wmigrate import CheckHealthOperator, MigrationSensor, MigrationTaskGroup
from airflow_provider_wmigrate.provider import get_provider_info
from airflow_provider_wmigrate.web.plugin import WMigratePlugin

MakeFolder = Callable[[Mapping[str, str]], Path]

A = {"001_a.sql": "CREATE TABLE a (id int);"}
ELSEWHERE = {"migration_config.yaml": "environments: {production: {ledger: {schema: elsewhere}}, staging: {}}"}
NAME, ROOT = "airflow-provider-wmigrate", "airflow_provider_wmigrate"


def test_the_metadata_follows_airflows_own_schema() -> None:
    import jsonschema

    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    assert set(get_provider_info()) <= set(schema["properties"])


def test_the_modules_listed_are_those_where_the_public_classes_are() -> None:
    info = get_provider_info()
    listed = {m for kind in ("operators", "sensors", "hooks", "triggers") for m in info[kind][0]["python-modules"]}
    for name in listed:
        import_module(name)
    offered = {name for name in package.__all__ if name.endswith(("Operator", "Sensor", "Hook"))}
    assert {getattr(package, name).__module__ for name in offered} <= listed
    notifiers = [getattr(package, name) for name in package.__all__ if name.endswith("Notifier")]
    assert info["notifications"] == [f"{n.__module__}.{n.__qualname__}" for n in notifiers]


AIRFLOW = """
import contextlib, io, json, sys
from airflow.cli.cli_parser import get_parser
parser, said = get_parser(), []
for words in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        arguments = parser.parse_args(words)
        try:
            arguments.func(arguments)
        except SystemExit as end:
            out.write(f"exit code {end.code}" if end.code else "")
    said.append(out.getvalue())
print(json.dumps(said))
"""


def airflow(*commands: str, **environ: str) -> list[str]:
    """What `airflow` prints for each of some commands. One process for all of them: it takes seconds to start."""
    words = json.dumps([command.split() for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", AIRFLOW, words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[str] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.slow
def test_airflows_own_commands_show_the_provider(metadata_database: None) -> None:
    kinds = ("list", "hooks", "links", "triggers", "configs")
    listed, hooks, links, triggers, configs = airflow(*(f"providers {kind} -o json" for kind in kinds))
    (mine,) = [p for p in json.loads(listed) if p["package_name"] == NAME]
    assert mine["version"] == package.__version__
    (hook,) = [h for h in json.loads(hooks) if h["connection_type"] == "wmigrate"]
    assert (hook["class"], hook["conn_id_attribute_name"]) == (
        f"{ROOT}.hooks.MigrationHook",
        "conn_id",
    )
    assert "airflow_provider_wmigrate.links.MigrationLink" in links
    assert "airflow_provider_wmigrate.triggers" in triggers
    assert NAME in configs


@pytest.mark.slow
def test_every_option_is_in_airflows_configuration(metadata_database: None) -> None:
    options = get_provider_info()["config"]["wmigrate"]["options"]
    section, *values = airflow(
        "config list --section wmigrate --include-descriptions",
        *(f"config get-value wmigrate {name}" for name in options),
        AIRFLOW__WMIGRATE__ENVIRONMENT="production",
    )
    assert all(f"{name} = " in section and option["description"] in section for name, option in options.items())
    assert dict(zip(options, (value.strip() for value in values), strict=True)) == {
        "conn_id": "",
        "environment": "production",
        "page": "True",
        "guarded_tasks": "",
        "guard_wait_seconds": "600",
        "explain_missing": "True",
        "preload": "True",
    }


def test_the_form_of_a_connection() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    fields = {name for name in manager.connection_form_widgets if name.startswith("extra__wmigrate__")}
    assert fields == {f"extra__wmigrate__{name}" for name in ("sslmode", "sslrootcert", "connect_timeout")}
    assert manager.field_behaviours["wmigrate"]["relabeling"]["schema"] == "Database"
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    assert ProvidersManagerTaskRuntime().hooks["wmigrate"].connection_testable


# The options of [wmigrate]


def options(monkeypatch: pytest.MonkeyPatch, **given: str) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"AIRFLOW__WMIGRATE__{name.upper()}", value)


def test_the_connection_where_nobody_names_one(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import DAG

    folder = make_folder(A)

    def make(**more: Any) -> list[str]:
        with DAG("defaults", schedule=None):
            group = MigrationTaskGroup("migrate", folder=folder, **more)
            sensor = MigrationSensor(task_id="wait", folder=folder, **more)
            health = CheckHealthOperator(task_id="look", folder=folder, **more)
        return [*(task.conn_id for task in group), sensor.conn_id, health.conn_id]

    with pytest.raises(ValueError, match=r"give conn_id, or set it in \[wmigrate\]"):
        make()
    options(monkeypatch, conn_id="warehouse_db")
    assert set(make()) == {"warehouse_db"}
    assert set(make(conn_id="other_db")) == {"other_db"}


@pytest.mark.parametrize(
    ("named", "schema"), [(None, "elsewhere"), ("{{ params.where }}", "elsewhere"), ("staging", "wmigrate")]
)
def test_the_environment_where_nobody_names_one(
    runner: Runner, make_folder: MakeFolder, conn: Conn, monkeypatch: pytest.MonkeyPatch, named: str | None, schema: str
) -> None:
    options(monkeypatch, environment="production")
    folder = make_folder({**A, **ELSEWHERE})
    run = runner.run(runner.migrations(folder, environment=named, dag={"params": {"where": ""}}))
    assert run.state == "success"
    found = conn.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'audit_log'").fetchall()
    assert found == [(schema,)]
    assert run.xcoms["plan", "plan"]["environment"] == ("staging" if named == "staging" else "production")


def test_the_look_and_the_sensor_take_that_environment_too(
    runner: Runner, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    options(monkeypatch, environment="production", conn_id="target")
    folder = make_folder({**A, **ELSEWHERE})
    assert runner.run(runner.migrations(folder)).state == "success"
    look, wait = CheckHealthOperator(task_id="look", folder=folder), MigrationSensor(task_id="wait", folder=folder)
    run = runner.run(runner.of(look, wait))
    assert run.state == "success"
    ledger = next(check for check in run.returned("look")["checks"] if check["name"] == "ledger")
    assert (ledger["status"], ledger["reason"]) == ("healthy", "version 3, 1 entry")


def test_an_environment_that_a_folder_does_not_have(
    runner: Runner, make_folder: MakeFolder, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never passed over: that would run with other settings than those that were meant."""
    options(monkeypatch, environment="produktion")
    run = runner.run(runner.migrations(make_folder({**A, **ELSEWHERE})))
    assert run.state == "failed"
    assert "there is no environment produktion" in str(run.errors["plan"])
    with pytest.raises(psycopg.errors.UndefinedTable):
        applied(conn)


@pytest.mark.slow
def test_airflows_command_line_takes_both(
    metadata_database: None, runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder({**A, **ELSEWHERE})
    both = {"AIRFLOW__WMIGRATE__CONN_ID": "target", "AIRFLOW__WMIGRATE__ENVIRONMENT": "production"}
    (said,) = airflow(f"wmigrate up --folder {folder} --yes", **both)
    assert "exit code" not in said
    assert conn.execute("SELECT version FROM elsewhere.schema_migrations").fetchall() == [("001",)]
    (said,) = airflow(f"wmigrate status --folder {folder}", AIRFLOW__WMIGRATE__ENVIRONMENT="production")
    assert said == "exit code 2"


def test_whether_airflow_shows_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [view["destination"] for view in WMigratePlugin().external_views]
    assert shown == ["nav", "dag"]
    options(monkeypatch, page="False")
    assert WMigratePlugin().external_views == []


def test_reading_the_options_asks_no_database() -> None:
    """They are read whenever a DAG file is parsed."""
    code = (
        "import sys, airflow.sdk; before = set(sys.modules)\n"
        "from airflow_provider_wmigrate import defaults as d\n"
        "print(d.chosen_environment(None), d.default_conn_id(), d.page_is_shown())\n"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    environ = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.splitlines()[-2:] == ["None None True", "['airflow_provider_wmigrate']"]
