"""Numbers and spans of real task runs, heard by a real StatsD listener and a real OpenTelemetry collector."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from airflow_runner import Runner, connection
from listeners import Datagrams, otlp, statsd

from airflow_provider_wmigrate.engine.errors import LockTimeout, StatementFailed
from airflow_provider_wmigrate.engine.events import Failed, Finished, Started, Waiting
from airflow_provider_wmigrate.engine.folder.config.root import Metrics
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Identity, Script
from airflow_provider_wmigrate.engine.record import Bystanders, Outcome, Record
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock
from airflow_provider_wmigrate.hooks import MigrationHook
from airflow_provider_wmigrate.telling.lineage import facets
from airflow_provider_wmigrate.telling.metrics import HEALTH_VALUES, MetricsListener, SpanListener

ROOT = Path(__file__).resolve().parents[2]
MakeFolder = Callable[..., Path]

A = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int);", "002_b.rollback.sql": "DROP TABLE b;"}
BROKEN = {"002_b.sql": "CREATE TABLE b (id int"}
SETTINGS = "settings: {execution: {retry_attempts: 0, retry_delay_seconds: 0, lock_wait_seconds: 0.2}}\n"
CONFIG = {"migration_config.yaml": SETTINGS}


@pytest.fixture
def heard(metadata_database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Datagrams]:
    """What the tasks of this test send, as Airflow's own task process sets StatsD up."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    with statsd() as listener:
        for name, value in {"ON": "True", "HOST": "127.0.0.1", "PORT": str(listener.port)}.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__STATSD_{name}", value)
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")  # tags after the name
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        yield listener
    monkeypatch.undo()
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


def ours(heard: Datagrams, *, felt: bool = False) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Values and tags of our metrics by name, without Airflow's prefix.

    :param felt: those of what others felt; else all but those, which a busy machine sends of a short migration too.
    """
    heard.hear_out()
    found: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for line in heard.lines:
        key, _, value = line.rpartition(":")
        name, *tags = key.split(",")
        if name.startswith("airflow.wmigrate.") and name.startswith("airflow.wmigrate.bystanders.") == felt:
            pairs = dict(tag.split("=", 1) for tag in tags)
            found.setdefault(name.removeprefix("airflow."), []).append((value, pairs))
    return found


def test_a_run_that_succeeds(runner: Runner, heard: Datagrams, make_folder: MakeFolder) -> None:
    dag = runner.migrations(make_folder({**A, **B, **CONFIG}), dag_id="counted")
    runner.run(dag)
    found = ours(heard)
    assert set(found) == {"wmigrate.pending", "wmigrate.migration.success", "wmigrate.migration.duration"}
    assert [value for value, _ in found["wmigrate.pending"]] == ["2|g", "0|g"]
    (first, second) = found["wmigrate.migration.success"]
    assert first == ("1|c", {"target": "target", "dag_id": "counted", "task_id": "migrate.001_a", "version": "001"})
    assert second[1]["version"] == "002"
    assert all(re.fullmatch(r"[0-9.]+\|ms", value) for value, _ in found["wmigrate.migration.duration"])


def test_a_run_that_fails_and_is_tried_again(runner: Runner, heard: Datagrams, make_folder: MakeFolder) -> None:
    folder = make_folder({**A, **BROKEN, **CONFIG})
    run = runner.run(runner.migrations(folder, dag_id="fails"))
    found = ours(heard)
    assert [tags["version"] for _, tags in found["wmigrate.migration.failure"]] == ["002"]
    assert [tags["sqlstate"] for _, tags in found["wmigrate.migration.error.42601"]] == ["42601"]
    assert found["wmigrate.pending"][-1][0] == "2|g"
    make_folder({**A, **B, **CONFIG})
    run.clear("migrate.002_b", "migrate.report", dag=runner.migrations(folder, dag_id="fails"))
    assert len(ours(heard)["wmigrate.migration.retries"]) == 1


def test_rollbacks_are_counted_apart(runner: Runner, heard: Datagrams, make_folder: MakeFolder) -> None:
    folder = make_folder({**A, **B, **CONFIG})
    runner.run(runner.migrations(folder))
    runner.run(runner.rollback(folder, "1"))
    make_folder({**A, "001_a.rollback.sql": "DROP TABLE nothing;", **CONFIG})
    runner.run(runner.rollback(folder, "0", rollback_script="folder"))
    found = ours(heard)
    assert [tags["version"] for _, tags in found["wmigrate.rollback.success"]] == ["002"]
    assert [tags["version"] for _, tags in found["wmigrate.rollback.failure"]] == ["001"]
    assert "wmigrate.rollback.duration" in found
    assert "wmigrate.rollback.error.42P01" in found


def test_a_dry_run_is_neither_success_nor_failure(runner: Runner, heard: Datagrams, make_folder: MakeFolder) -> None:
    runner.run(runner.migrations(make_folder({**A, **BROKEN, **CONFIG}), mode="dry_run"))
    assert set(ours(heard)) == {"wmigrate.pending"}


def test_a_wait_for_another_runner(
    runner: Runner, heard: Datagrams, make_folder: MakeFolder, conn: psycopg.Connection
) -> None:
    slow = {"migration_config.yaml": "settings: {execution: {lock_wait_seconds: 2.5}}\n"}
    folder = read_folder(make_folder({**A, **slow}))
    migrator = MigrationHook("target").migrator(folder, identity=Identity("tester"))
    migrator.record("planned")
    conn.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock("wmigrate:wmigrate:001").number])
    with pytest.raises(LockTimeout):
        migrator.apply("001")
    conn.execute("SELECT pg_advisory_unlock_all()")
    migrator.apply("001")
    found = ours(heard)
    assert [value for value, _ in found["wmigrate.lock.waits"]] == ["1|c"]
    assert found["wmigrate.lock.waits"][0][1] == {"target": "target", "version": "001"}
    assert len(found["wmigrate.lock.wait_duration"]) == 1


def test_what_others_felt(
    runner: Runner, heard: Datagrams, make_folder: MakeFolder, conn: psycopg.Connection, database: str
) -> None:
    """Of one that failed as well; nothing is sent of one that nobody could look at."""
    conn.execute("CREATE TABLE t (id int)")
    slow = "LOCK TABLE t;\nSELECT pg_sleep(0.8);"
    files = {"001_a.sql": slow, "002_b.sql": slow + "\nSELECT 1 / 0;", "003_c.sql": "SELECT 1;", **CONFIG}
    migrator = MigrationHook("target").migrator(read_folder(make_folder(files)), identity=Identity("tester"))

    def shopping() -> None:
        with psycopg.connect(database, autocommit=True) as other:
            locked = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 't'::regclass"
            while not other.execute(locked).rowcount:
                time.sleep(0.01)
            other.execute("SELECT * FROM t")

    for version, outcome in (("001", nullcontext()), ("002", pytest.raises(StatementFailed))):
        customer = threading.Thread(target=shopping)
        customer.start()
        with outcome:
            migrator.apply(version)
        customer.join(20)
    found = ours(heard, felt=True)
    assert set(found) == {"wmigrate.bystanders.sessions", "wmigrate.bystanders.longest_wait"}
    assert found["wmigrate.bystanders.sessions"] == [
        ("1|g", {"target": "target", "version": "001"}),
        ("1|g", {"target": "target", "version": "002"}),
    ]
    waited = [float(value.removesuffix("|ms")) for value, _ in found["wmigrate.bystanders.longest_wait"]]
    assert all(400 < each < 4000 for each in waited)


def record(felt: Bystanders) -> Record:
    return Record("001", "a", Outcome.APPLIED, "c1", Identity("tester"), bystanders=felt)


def test_what_could_not_be_measured_or_ended_in_a_deadlock(heard: Datagrams) -> None:
    listener = MetricsListener(Metrics(), target="t", identity=Identity("tester"))
    listener(Finished(record(Bystanders(9, not_measured="no right"))))
    listener(Finished(record(Bystanders(9, 3, 0, 0, (), 2))))
    found = {name: [value for value, _ in values] for name, values in ours(heard, felt=True).items()}
    assert found == {
        "wmigrate.bystanders.not_measured": ["1|c"],
        "wmigrate.bystanders.sessions": ["0|g"],
        "wmigrate.bystanders.longest_wait": found["wmigrate.bystanders.longest_wait"],
        "wmigrate.bystanders.deadlocks": ["2|c"],
    }


def test_a_look_at_the_target(runner: Runner, heard: Datagrams, make_folder: MakeFolder) -> None:
    from airflow_provider_wmigrate import CheckHealthOperator

    folder = make_folder({**A, **CONFIG})
    runner.run(runner.of(CheckHealthOperator(task_id="look", folder=folder, conn_id="warehouse_db")))
    found = {name: values[0][0] for name, values in ours(heard).items()}
    assert found["wmigrate.health"] == f"{HEALTH_VALUES['degraded']}|g"
    assert found["wmigrate.health.connection"] == "0|g"
    assert found["wmigrate.health.pending"] == "1|g"
    assert found["wmigrate.pending"] == "1|g"
    assert found["wmigrate.health.duration"].endswith("|ms")


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        ("{enabled: false}", set()),
        ("{collect_timing: false}", {"migration.success", "migration.failure", "migration.error.42601", "pending"}),
        ("{collect_success_rate: false}", {"migration.duration", "migration.error.42601", "pending"}),
        ("{collect_error_details: false}", {"migration.duration", "migration.success", "migration.failure", "pending"}),
    ],
)
def test_the_config_decides(
    runner: Runner, heard: Datagrams, make_folder: MakeFolder, config: str, sent: set[str]
) -> None:
    text = f"{SETTINGS}monitoring: {{metrics: {config}}}\n"
    runner.run(runner.migrations(make_folder({**A, **BROKEN, "migration_config.yaml": text})))
    assert {name.removeprefix("wmigrate.") for name in ours(heard)} == sent


def test_what_goes_wrong_with_a_metric_goes_nowhere(monkeypatch: pytest.MonkeyPatch, make_folder: MakeFolder) -> None:
    from airflow.sdk.observability import stats

    def broken(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(stats, "incr", broken)
    listen = MetricsListener(
        read_folder(make_folder(A)).config.monitoring.metrics, target="t", identity=Identity("tester")
    )
    listen(Waiting("001", "a lock", 0.0))
    listen(Failed("001", "apply", "no", "42601"))


_RUN = """
import sys
sys.path[:0] = {paths!r}
from airflow_home import make_metadata_database
make_metadata_database()
from pathlib import Path
from airflow import settings
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from airflow_runner import Runner
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
runner = Runner()
run = runner.run(runner.migrations(Path({folder!r}), dag_id="traced"))
from opentelemetry import metrics, trace
trace.get_tracer_provider().force_flush()
metrics.get_meter_provider().force_flush()
print(run.states)
"""


def test_opentelemetry_hears_metrics_and_spans(make_folder: MakeFolder, database: str) -> None:
    pytest.importorskip("opentelemetry.sdk")
    concurrent = {"002_b.sql": "CREATE INDEX CONCURRENTLY a_id_idx ON a (id);"}
    folder = make_folder({**A, **concurrent, "003_c.sql": "CREATE TABLE c (id int", **CONFIG})
    paths = [str(ROOT / "tests" / "airflow"), str(ROOT)]
    with otlp() as heard:
        here = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{heard.port}"}
        here |= {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "AIRFLOW_CONN_TARGET": connection(database)}
        here |= {"AIRFLOW__METRICS__OTEL_ON": "True", "AIRFLOW__TRACES__OTEL_ON": "True"}
        here |= {"OTEL_TRACES_EXPORTER": "otlp_proto_http"}
        script = _RUN.format(paths=paths, folder=str(folder))
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **here}, capture_output=True, text=True
        )
    assert "'001_a': 'success'" in done.stdout, done.stdout + done.stderr
    names = heard.metrics()
    assert {"airflow.wmigrate.migration.success", "airflow.wmigrate.migration.failure"} <= set(names)
    tags = {a.key: a.value.string_value for a in names["airflow.wmigrate.migration.success"][0].attributes}
    assert tags["target"] == "target"
    assert tags["version"] in ("001", "002")
    spans = {span.name: span for span in heard.spans()}
    assert {"wmigrate apply 001_a", "wmigrate apply 002_b", "wmigrate apply 003_c"} <= set(spans)
    statement = spans["wmigrate statement 1"]
    assert statement.parent_span_id == spans["wmigrate apply 002_b"].span_id
    assert spans["wmigrate apply 003_c"].status.code == 2
    assert "syntax error" in spans["wmigrate apply 003_c"].status.message


def test_a_migration_is_a_span_inside_the_one_that_is_open(make_folder: MakeFolder, monkeypatch) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    listen = SpanListener(target="t")
    with provider.get_tracer("task").start_as_current_span("worker.migrate.001_a") as task:
        listen(Started("001", "a", "apply", Script.of("001_a.sql", "SELECT 'secret'"), dry_run=False))
        listen(Failed("001", "apply", "no", "42601"))
    span = kept.get_finished_spans()[0]
    assert (span.name, span.parent.span_id) == ("wmigrate apply 001_a", task.get_span_context().span_id)
    assert "secret" not in span.to_json()


def test_without_the_lineage_provider_nothing_is_told() -> None:
    try:
        import airflow.providers.openlineage  # noqa: F401
    except ImportError:
        assert facets([], conn_id="target", connect=never) is None


def never() -> NoReturn:
    raise OSError("no way")


def test_with_it_what_was_locked_and_changed_are_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("airflow.providers.openlineage.extractors")
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", "postgresql://user:secret@db.example:5433/warehouse")
    change = {"does": "rename", "kind": "table", "schema": "public", "name": "a", "to": "b"}
    record = {"locks": [{"relation": "public.a"}, {"relation": "public.c"}], "changes": {"each": [change]}}
    renamed, locked = sorted(facets([record], conn_id="target", connect=never).outputs, key=lambda one: one.name)
    assert (renamed.namespace, renamed.name) == ("postgres://db.example:5433", "warehouse.public.b")
    lifecycle = renamed.facets["lifecycleStateChange"]
    assert lifecycle.lifecycleStateChange.value == "RENAME"
    assert lifecycle.previousIdentifier.name == "warehouse.public.a"
    assert (locked.name, locked.facets) == ("warehouse.public.c", {})
