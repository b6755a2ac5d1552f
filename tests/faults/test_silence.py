"""Every call has an end at the client: a server or a network that stops answering hangs nobody.

The line goes silent at each request in turn. The call must end by itself with one sentence, within its limits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from harness.wire import Point, Wire

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.events import Event, Finished, Noticed, Waiting
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome, Record
from airflow_provider_wmigrate.engine.run.execution import NOT_REPLICATED
from airflow_provider_wmigrate.engine.session import answering
from dev.cluster import Cluster

NO_ENCRYPTION = "?sslmode=disable&gssencmode=disable&connect_timeout=2"
GENEROUS = 40.0
"""Seconds for a call whose limits add up to some five."""


@pytest.fixture
def wire(cluster: Cluster) -> Iterator[Wire]:
    wire = Wire(lambda: cluster.port)
    yield wire
    wire.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits, shorter."""
    monkeypatch.setattr(answering, "ANSWER_SECONDS", 0.4)
    monkeypatch.setattr(answering, "CANCEL_SECONDS", 0.2)


def through(wire: Wire, database: str, folder: Path, tell: Callable[[Event], None]) -> Migrator:
    name = database.rpartition("/")[2]
    dsn = f"postgresql://postgres@127.0.0.1:{wire.port}/{name}{NO_ENCRYPTION}"
    return Migrator(lambda: psycopg.connect(dsn), read_folder(folder), identity=Identity("tester"), on_event=tell)


FILES = {
    "001_a.sql": "CREATE TABLE a (id int);",
    "001_a.rollback.sql": "DROP TABLE a;",
    "migration_config.yaml": "settings: {execution: {timeout_seconds: 1, retry_attempts: 0}}",
}


def requests_of(wire: Wire, act: Callable[[], object]) -> int:
    wire.arm(None)
    act()
    return len(wire.texts)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 1.0])
def test_a_silent_line_ends_an_apply(
    wire: Wire, database: str, make_folder: Callable[..., Path], part: float, events: list[Event]
) -> None:
    """Early, in the middle, late, and at the last request, which gives the locks back when all is done."""
    migrator = through(wire, database, make_folder(FILES), events.append)
    migrator.apply("001")
    migrator.roll_back("001")
    count = requests_of(wire, lambda: migrator.apply("001"))
    migrator.roll_back("001")
    point = Point(max(round(count * part), 2), "before")
    wire.arm(point)
    began = time.monotonic()
    outcome = ended(wire, lambda: migrator.apply("001"))
    assert time.monotonic() - began < GENEROUS
    if part == 1.0:
        assert isinstance(outcome, Record)
        assert outcome.outcome is Outcome.APPLIED
    else:
        assert isinstance(outcome, WMigrateError)


@pytest.mark.usefixtures("impatient")
def test_a_silent_line_before_a_script_outside_a_transaction_is_told(
    wire: Wire, database: str, make_folder: Callable[..., Path], events: list[Event]
) -> None:
    """At each request between the login and the script."""
    repeatable = "migrations: [{version: 1, repeatable: true}]\n"
    files = {**FILES, "001_a.sql": "VACUUM pg_am;", "001_a.rollback.sql": "SELECT 1;"}
    files["migration_config.yaml"] = repeatable + FILES["migration_config.yaml"]
    migrator = through(wire, database, make_folder(files), events.append)
    for request in range(4, 10):
        wire.arm(None)
        migrator.apply("001")
        migrator.roll_back("001")
        wire.arm(Point(request, "before"))
        assert isinstance(ended(wire, lambda: migrator.apply("001")), WMigrateError), wire.texts


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("what", ["read", "plan", "record", "record_success"])
def test_a_silent_line_ends_what_runs_no_script(
    wire: Wire, database: str, make_folder: Callable[..., Path], what: str, events: list[Event]
) -> None:
    migrator = through(wire, database, make_folder(FILES), events.append)
    migrator.record("planned")
    act = {
        "read": migrator.read,
        "plan": migrator.plan,
        "record": lambda: migrator.record("planned"),
        "record_success": migrator.record_success,
    }[what]
    count = requests_of(wire, act)
    for request in sorted({2, count // 2, count - 1}):
        wire.arm(Point(request, "before"))
        began = time.monotonic()
        assert isinstance(ended(wire, act), WMigrateError)
        assert time.monotonic() - began < GENEROUS


def ended(wire: Wire, act: Callable[[], object]) -> object:
    """What became of a call whose line goes silent when it reaches its point."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(act())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert wire.reached.wait(GENEROUS)
    wire.silence()
    thread.join(GENEROUS)
    assert found, "it hangs"
    return found[0]


@pytest.fixture(scope="module")
def without_standby(start_cluster: Callable[..., object]) -> Iterator[Cluster]:
    """A server that waits for a standby which is not there, for whoever asks for it."""
    settings = {"synchronous_standby_names": "nobody", "synchronous_commit": "local"}
    with Cluster.temporary(settings=settings) as cluster:
        yield cluster


def test_a_commit_that_waits_for_an_absent_standby_is_told(
    without_standby: Cluster, make_folder: Callable[..., Path], events: list[Event]
) -> None:
    dsn = without_standby.create_database("warehouse")
    config = {"migration_config.yaml": "settings: {execution: {timeout_seconds: 4}}"}
    folder = read_folder(make_folder(FILES | config | {"001_a.sql": "ALTER TABLE shop ADD COLUMN c int;"}))
    waited: list[float] = []

    def read() -> None:
        with psycopg.connect(dsn, application_name="shop") as conn:
            began = time.monotonic()
            conn.execute("SELECT FROM shop")
            waited.append(time.monotonic() - began)

    reader = threading.Thread(target=read)

    def tell(event: Event) -> None:
        events.append(event)
        if isinstance(event, Waiting) and not reader.ident:
            reader.start()

    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE shop (id int)")
    patient = Migrator(lambda: psycopg.connect(dsn), folder, identity=Identity("tester"))
    patient.record("planned")
    waits = Migrator(
        lambda: psycopg.connect(dsn, options="-c synchronous_commit=on"),
        folder,
        identity=Identity("tester"),
        on_event=tell,
    )
    record = waits.apply("001")
    reader.join(GENEROUS)
    assert record.outcome is Outcome.APPLIED
    assert [e.status for e in patient.read().entries] == ["applied"]
    told = [e for e in events if isinstance(e, Waiting)]
    assert told
    assert told[0].what == "a synchronous standby to confirm the commit"
    assert Noticed("001", "WARNING", NOT_REPLICATED) in events
    felt = record.bystanders
    assert felt is not None
    assert (felt.sessions, felt.relations) == (1, ("public.shop",)), "its locks are held until the commit is over"
    assert (felt.longest_wait_ms or 0) / 1000 == pytest.approx(waited[0], rel=0.2)
    assert [e.record.bystanders for e in events if isinstance(e, Finished)] == [felt]
