"""The window of an environment in Airflow: a task gives its worker back until it opens; a run may be told to go now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_runner import Run, Runner, TaskLog, applied, audit

from airflow_provider_wmigrate.engine.planning import Planning

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

INSIDE, OUTSIDE = (datetime(2020, 11, 27, hour, 30, tzinfo=timezone.utc) for hour in (22, 12))
OPENS = INSIDE.replace(minute=0)
FILES = {
    "001_a.sql": "CREATE TABLE a (id int);",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "CREATE TABLE b (id int);",
    "002_b.rollback.sql": "DROP TABLE b;",
    "003_c.sql": "SELECT 1 / 0;",
}
WAITS = "outside: wait"
CLOSED = (
    "migration 001 may not begin now: this is outside the window of this environment, which opens at 2020-11-27 22:00"
    " UTC"
)


def folder_of(make_folder: MakeFolder, *versions: str, more: str = WAITS) -> Path:
    config = (
        f"settings: {{window: {{open: [{{from: 22:00, to: 23:00}}], {more}}}, execution: {{retry_attempts: 0}}}}\n"
        "migrations: [{version: '003', on_failure: none}]\n"
    )
    files = {name: text for name, text in FILES.items() if name[:3] in versions}
    return make_folder({**files, "migration_config.yaml": config if "003" in versions else config.splitlines()[0]})


class Clock:
    """Outside while it is asked so often, inside from then on."""

    def __init__(self, outside: int) -> None:
        self.outside = outside

    def __call__(self) -> datetime:
        self.outside -= 1
        return OUTSIDE if self.outside >= 0 else INSIDE


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda outside: monkeypatch.setattr(Planning, "now", staticmethod(Clock(outside)))


def reschedules(run: Run) -> list[datetime]:
    from airflow.models.taskreschedule import TaskReschedule
    from airflow.utils.session import create_session
    from sqlalchemy import select

    ids = list(run._of_instances("id").values())
    with create_session() as session:
        return list(session.scalars(select(TaskReschedule.reschedule_date).where(TaskReschedule.ti_id.in_(ids))))


def test_a_task_waits_without_a_worker(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog, clock: Callable[[int], None]
) -> None:
    """The plan is asked once, and each try of a task once: the first comes too early. It counts as no try."""
    clock(2)
    run = runner.run(runner.migrations(folder_of(make_folder, "001", "002")))
    assert (run.state, run.order) == ("success", ["plan", "001_a", "001_a", "002_b", "report"])
    assert (reschedules(run), run.tries["001_a"]) == ([OPENS], 1)
    assert applied(conn) == ["001", "002"]
    assert f"warning: {CLOSED}; a run waits for it, unless it is started with the configuration" in task_log.text
    assert "the window opens at 2020-11-27 22:00:00+00:00; until then no worker is needed" in task_log.lines
    assert [event for event, _ in audit(conn, "failed")] == []


def test_the_task_of_many_goes_on_when_the_window_opens_again(
    runner: Runner, make_folder: MakeFolder, conn: Conn, clock: Callable[[int], None]
) -> None:
    clock(2)
    run = runner.run(runner.migrations(folder_of(make_folder, "001", "002"), max_tasks=0))
    assert (run.state, run.order) == ("success", ["plan", "history", "history", "report"])
    assert (reschedules(run), applied(conn)) == ([OPENS], ["001", "002"])


def test_the_scheduler_waits_for_the_moment(
    runner: Runner, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Planning, "now", staticmethod(lambda: OUTSIDE.replace(year=2100)))
    run = Run(runner.migrations(folder_of(make_folder, "001")), "waits_for_2100")
    run.create({}, "alice")
    with pytest.raises(AssertionError, match="the run hangs"):
        run.drive(patience=0.2)
    assert run.order == ["plan", "001_a"]
    assert (run.states["001_a"], reschedules(run)) == ("up_for_reschedule", [OPENS.replace(year=2100)])


def test_a_run_is_refused_unless_it_is_told_to_go_now(
    runner: Runner, make_folder: MakeFolder, conn: Conn, clock: Callable[[int], None]
) -> None:
    folder = folder_of(make_folder, "001", "002", "003", more="outside: fail")
    clock(1000)
    refused = runner.run(runner.migrations(folder))
    way = 'run it then, or now with the configuration {"outside_window": true}'
    assert (refused.state, str(refused.errors["plan"])) == ("failed", f"{CLOSED}; {way}")
    went = runner.run(runner.migrations(folder, on_run_failure="roll_back"), outside_window=True)
    assert [task for task, state in went.states.items() if state == "failed"] == ["003_c", "report"]
    said = "the configuration of the run says outside_window"
    back = "it takes back what a failed run has left"
    assert [(version, row["direction"], row["because"]) for version, row in audit(conn, "outside_window")] == [
        ("001", "apply", said), ("002", "apply", said), ("003", "apply", said),
        ("002", "rollback", back), ("001", "rollback", back),
    ]  # fmt: skip


def test_a_window_that_ends_between_plan_and_task_refuses(
    runner: Runner, make_folder: MakeFolder, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([INSIDE])
    monkeypatch.setattr(Planning, "now", staticmethod(lambda: next(times, OUTSIDE)))
    run = runner.run(runner.migrations(folder_of(make_folder, "001", more="outside: fail")))
    way = 'run it then, or now with the configuration {"outside_window": true}'
    assert (run.state, str(run.errors["001_a"])) == ("failed", f"{CLOSED}; {way}")
    assert audit(conn, "failed") == []
