"""The task that proves rollbacks, on a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException
from airflow_runner import Runner, terminated_when

from airflow_provider_wmigrate import VerifyMigrationsOperator
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.folder.verdict_file import VERDICT_FILE, Grade, about, as_text
from airflow_provider_wmigrate.engine.plan.proven import with_verdicts
from airflow_provider_wmigrate.engine.plan.verdict import Verdict

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]
DAGS = Path(__file__).resolve().parents[2] / "dags"
FILES = {
    "001_a.sql": "CREATE TABLE a (id int, note text);",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "ALTER TABLE a DROP note;",
    "002_b.rollback.sql": "ALTER TABLE a ADD note text;",
}
SCRATCH = "SELECT datname FROM pg_database WHERE datname LIKE 'wmigrate_scratch_%'"
ASLEEP = "SELECT FROM pg_stat_activity WHERE datname LIKE 'wmigrate_scratch_%' AND wait_event = 'PgSleep'"


def verifying(runner: Runner, folder: Path, **more: Any) -> Any:
    return runner.of(VerifyMigrationsOperator(task_id="verify", folder=folder, conn_id="target", jobs=2, **more))


def test_the_task_fails_until_a_person_has_accepted_what_is_lost(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder(FILES)
    run = runner.run(verifying(runner, folder))
    assert (run.state, type(run.errors["verify"])) == ("failed", AirflowFailException)
    assert str(run.errors["verify"]) == "not proven: 002_b (rows lost); the task log and the XCom say why"
    found = run.returned("verify")
    assert (found["proven"], [(v["version"], v["grade"]) for v in found["verdicts"]]) == (
        False,
        [("001", "exact"), ("002", "rows_lost")],
    )
    texts = about(read_folder(folder).migrations)
    taken = with_verdicts(texts, {}, [Verdict("002", "b", Grade.ROWS_LOST)], 15, {"002"})
    (folder / VERDICT_FILE).write_text(as_text(taken))
    run = runner.run(verifying(runner, folder, versions=["2"]))
    assert (run.state, [v["accepted"] for v in run.returned("verify")["verdicts"]]) == ("success", [True])
    assert conn.execute(SCRATCH).fetchall() == []


@pytest.fixture
def terminated_when_asleep(database: str) -> Iterator[None]:
    """Sends SIGTERM to this process, once, as soon as a scratch database is inside pg_sleep."""
    with terminated_when(database, lambda conn: conn.execute(ASLEEP).fetchall()):
        yield


@pytest.mark.usefixtures("terminated_when_asleep")
def test_a_task_that_is_killed_leaves_no_database(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(verifying(runner, make_folder({**FILES, "002_b.sql": "SELECT pg_sleep(1000)"})))
    assert (run.state, str(run.errors["verify"])) == ("failed", "verifying was stopped")
    assert conn.execute(SCRATCH).fetchall() == []


def test_the_shipped_dag_verifies_the_shipped_folder() -> None:
    """What it proves is held by tests of the engine; here, what it asks for."""
    bag = DagBag(dag_folder=DAGS, bundle_path=DAGS)
    assert bag.import_errors == {}
    task = bag.dags["warehouse_verify"].task_dict["verify"]
    assert (Path(task.folder).resolve(), task.conn_id) == (DAGS.parent / "migrations", "scratch_db")
