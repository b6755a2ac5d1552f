"""What is told of a run that misses its deadline, and the names that OpenLineage gets: both outside of a task."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wmigrate.alerting.deadlines import callback_for, tell_missed_deadline
from airflow_provider_wmigrate.alerting.messages import KINDS, Alert, wanted
from airflow_provider_wmigrate.engine.folder.config.root import Config
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.changed import changed
from airflow_provider_wmigrate.telling.lineage import State, named, states_of

TOLD: list[tuple[str, Alert]] = []


class Notifier:
    """One as Airflow's, which keeps what it was told."""

    template_fields = ()

    def __init__(self, to: str) -> None:
        self.to = to

    def __call__(self, context: dict[str, Any]) -> None:
        if self.to == "nobody":
            raise OSError("no way")
        TOLD.append((self.to, context["wmigrate_alert"]))


def notifier(to: str) -> Any:
    return {"path": f"{__name__}.Notifier", "arguments": {"to": to}}


@pytest.mark.parametrize(
    ("run", "names"),
    [
        ({"dag_id": "d", "dag_run_id": "r"}, ("d", "r")),
        ({"dag_id": "d", "run_id": "s"}, ("d", "s")),
        (None, ("", "")),
    ],
)
def test_a_missed_deadline_is_told_by_every_notifier_that_can(
    run: Any, names: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    TOLD.clear()
    with caplog.at_level(logging.ERROR):
        tell_missed_deadline("db", 90.0, [notifier("nobody"), notifier("a"), notifier("b")], {"dag_run": run})
    dag_id, run_id = names
    alert = Alert(
        "deadline_missed",
        f"{dag_id} on db",
        "the run is not over 90 minutes after it was queued",
        (("target", "db"), ("DAG", dag_id), ("run", run_id)),
        "look at the run: a task may wait for a lock, an approval or a free worker",
    )
    assert [("a", alert), ("b", alert)] == TOLD
    title = f"[wmigrate] deadline missed: {dag_id} on db"
    assert caplog.messages == [f"{__name__}.Notifier could not tell {title!r}: no way"]


def test_airflow_is_given_what_it_calls_as_plain_values() -> None:
    """What it gives back is told as if it had stayed here."""
    path, arguments = callback_for(timedelta(minutes=1, seconds=30), "db", [Notifier("a")])  # type: ignore[list-item]
    assert path == "airflow_provider_wmigrate.alerting.deadlines.tell_missed_deadline"
    assert arguments == {"conn_id": "db", "minutes": 1.5, "notifiers": [notifier("a")]}


def folder(**alerts: bool) -> Folder:
    config = Config()
    monitoring = config.monitoring.having(alerts=config.monitoring.alerts.having(**alerts))
    return Folder(Path(), config.having(monitoring=monitoring), (), Graph({}))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_switch_that_the_config_names(kind: str) -> None:
    assert wanted(kind, None)
    assert wanted(kind, folder())
    assert not wanted(kind, folder(enabled=False))
    switches = ("migration_failure", "migration_timeout", "database_connection_failure", "rollback_failure")
    off = {name for name in switches if not wanted(kind, folder(**{name: False}))}
    assert off == {KINDS[kind].switch} - {None}


def test_a_relation_is_named_once_in_the_namespace_of_its_server() -> None:
    there = named(["s.b", "s.a", "s.b"], host="h", port=6000, database="d")
    assert there == [("postgres://h:6000", "d.s.b"), ("postgres://h:6000", "d.s.a")]
    assert named(["s.a"], host=None, port=None, database=None) == [("postgres://localhost:5432", "postgres.s.a")]
    assert named([], host="h", port=1, database="d") == []


@pytest.mark.parametrize(
    ("sql", "states"),
    [
        ("CREATE TABLE s.a (id int); ALTER TABLE s.a ADD n int", {("s", "a"): State("CREATE")}),
        ("ALTER TABLE s.a ADD n int; INSERT INTO s.b VALUES (1)", {("s", "a"): State("ALTER"), ("s", "b"): State()}),
        ("DROP TABLE s.a; CREATE TABLE s.a ()", {("s", "a"): State("CREATE")}),
        ("ALTER TABLE s.a RENAME TO b; ALTER TABLE s.b SET SCHEMA t", {("t", "b"): State("RENAME", ("s", "a"))}),
        ("CREATE TABLE s.a (); ALTER TABLE s.a RENAME TO b", {("s", "b"): State("CREATE")}),
        ("DROP VIEW s.v; DROP FUNCTION s.f()", {("s", "v"): State("DROP")}),
        ("TRUNCATE s.a", {("s", "a"): State("TRUNCATE")}),
    ],
)
def test_what_becomes_of_a_relation(sql: str, states: dict[tuple[str, str], State]) -> None:
    changes = changed(analyse(Script.of("001_a.sql", sql)))
    assert states_of({"locks": (), "changes": changes.as_dict()}) == states
    locked = states_of({"locks": [{"relation": 's."A b"'}], "changes": {"each": []}})
    assert locked == {("s", "A b"): State()}
