"""Engine events as numbers and spans: Airflow's metrics (StatsD, OpenTelemetry) and OpenTelemetry traces.

Sending costs a datagram or nothing. Nothing here may fail a migration, so whatever goes wrong is only logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from airflow_provider_wmigrate.engine.events import (
    Blocked,
    Event,
    Failed,
    Finished,
    Retrying,
    Started,
    Stepped,
    Waiting,
)
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import NO_LOOK, Bystanders, Outcome

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    Values = dict[str, str | int]

    from airflow_provider_wmigrate.engine.folder.config.root import Metrics
    from airflow_provider_wmigrate.engine.health.inspection import Health

log = logging.getLogger(__name__)

HEALTH_VALUES = {"healthy": 0, "degraded": 1, "unhealthy": 2, "unknown": -1}
"""The gauges `wmigrate.health` and `wmigrate.health.<check>`."""

_ACTED = {Outcome.APPLIED: "migration", Outcome.ROLLED_BACK: "rollback"}
"""What counts: neither a dry run nor finding nothing to do is a success of anything."""


class Stats(Protocol):
    """What is needed of Airflow's `stats`."""

    def incr(self, stat: str, count: int = 1, *, tags: dict[str, str]) -> None: ...

    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None: ...

    def timing(self, stat: str, dt: float, *, tags: dict[str, str]) -> None: ...


Emit = Callable[[Callable[[Stats], None]], None]


def to_airflow(send: Callable[[Stats], None]) -> None:
    """Give Airflow's `stats` to what sends numbers. Never raises."""
    try:
        from airflow.sdk.observability import stats

        send(stats)
    except Exception as error:
        log.debug("a metric was not sent: %s", error)


class MetricsListener:
    """Counts and times what a migrator tells.

    :param settings: `monitoring.metrics` of the config.
    :param target: the connection id, as the tag `target`.
    :param identity: who acts: the tags `dag_id` and `task_id`.
    :param emit: where the numbers go.
    """

    def __init__(self, settings: Metrics, *, target: str, identity: Identity, emit: Emit = to_airflow) -> None:
        self._settings, self._identity, self._emit = settings, identity, emit
        self._tags = {"target": target, **_present(dag_id=identity.dag_id, task_id=identity.task_id)}
        self._waiting_since: float | None = None
        self._dry_run = False

    def __call__(self, event: Event) -> None:
        if not self._settings.enabled:
            return
        if isinstance(event, (Waiting, Blocked)):
            self._wait(event)
        elif isinstance(event, Retrying):
            self._end_wait(event.version)
            self._retry(event.version)
        elif isinstance(event, Started):
            self._end_wait(event.version)
            self._start(event)
        elif isinstance(event, Finished):
            self._end_wait(event.record.version)
            self._finish(event)
        elif isinstance(event, Failed):
            self._end_wait(event.version)
            self._fail(event)

    def _wait(self, event: Waiting | Blocked) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic() - event.waited_seconds
            self._incr("lock.waits", version=event.version)

    def _end_wait(self, version: str) -> None:
        if self._waiting_since is not None:
            waited = (time.monotonic() - self._waiting_since) * 1000
            self._waiting_since = None
            if self._settings.collect_timing:
                self._timing("lock.wait_duration", waited, version=version)

    def _start(self, event: Started) -> None:
        self._dry_run = event.dry_run
        if (self._identity.try_number or 1) > 1:
            self._retry(event.version)

    def _retry(self, version: str) -> None:
        if self._settings.collect_success_rate and not self._dry_run:
            self._incr("migration.retries", version=version)

    def _finish(self, event: Finished) -> None:
        record, what = event.record, _ACTED.get(event.record.outcome)
        if what and self._settings.collect_success_rate:
            self._incr(f"{what}.success", version=record.version)
        if what and self._settings.collect_timing:
            self._timing(f"{what}.duration", record.duration_ms, version=record.version)
        self._felt(record.version, record.bystanders)

    def _felt(self, version: str, felt: Bystanders | None) -> None:
        """Nothing is sent of what was not measured, above all no 0."""
        if felt is None or felt.not_measured == NO_LOOK:
            return
        if felt.not_measured is not None:
            self._incr("bystanders.not_measured", version=version)
        if felt.sessions is not None:
            sessions, tags = felt.sessions, {**self._tags, "version": version}
            self._emit(lambda stats: stats.gauge("wmigrate.bystanders.sessions", sessions, tags=tags))
            self._timing("bystanders.longest_wait", felt.longest_wait_ms or 0, version=version)
        if felt.deadlocks:
            self._incr("bystanders.deadlocks", felt.deadlocks, version=version)

    def _fail(self, event: Failed) -> None:
        self._felt(event.version, event.bystanders)
        if self._dry_run:
            return
        what = "migration" if event.direction == "apply" else "rollback"
        if self._settings.collect_success_rate:
            self._incr(f"{what}.failure", version=event.version)
        if self._settings.collect_error_details:
            kind = event.sqlstate or "none"
            self._incr(f"{what}.error.{kind}", version=event.version, sqlstate=kind)

    def _incr(self, name: str, count: int = 1, **tags: str | None) -> None:
        every = {**self._tags, **_present(**tags)}
        self._emit(lambda stats: stats.incr(f"wmigrate.{name}", count, tags=every))

    def _timing(self, name: str, milliseconds: float, **tags: str | None) -> None:
        every = {**self._tags, **_present(**tags)}
        self._emit(lambda stats: stats.timing(f"wmigrate.{name}", milliseconds, tags=every))


def send_pending(settings: Metrics, *, target: str, count: int, emit: Emit = to_airflow) -> None:
    """How many migrations are pending: the plan knows it, and every look at the target."""
    if settings.enabled:
        emit(lambda stats: stats.gauge("wmigrate.pending", count, tags={"target": target}))


def send_health(settings: Metrics, health: Health, *, target: str, emit: Emit = to_airflow) -> None:
    """The outcome of one look at the target."""
    if not settings.enabled:
        return
    tags = {"target": target}

    def send(stats: Stats) -> None:
        stats.gauge("wmigrate.health", HEALTH_VALUES[health.status], tags=tags)
        for check in health.checks:
            stats.gauge(f"wmigrate.health.{check.name}", HEALTH_VALUES[check.status], tags=tags)
        if settings.collect_timing:
            stats.timing("wmigrate.health.duration", health.duration_ms, tags=tags)

    emit(send)
    if health.pending is not None:
        send_pending(settings, target=target, count=health.pending, emit=emit)


def _present(**tags: str | None) -> dict[str, str]:
    return {name: value for name, value in tags.items() if value is not None}


class SpanListener:
    """A span per migration, inside the task's own, and one per statement where the engine tells them apart.

    Without OpenTelemetry, or with tracing switched off, the spans are nothing and cost nothing.

    :param tracer: makes the spans; None: that of the process.
    """

    def __init__(self, *, target: str, tracer: Tracer | None = None) -> None:
        self._target, self._tracer = target, tracer
        self._migration: Span | None = None
        self._statement: Span | None = None

    def __call__(self, event: Event) -> None:
        try:
            self._listen(event)
        except Exception as error:
            log.debug("a span was not recorded: %s", error)

    def _listen(self, event: Event) -> None:
        if isinstance(event, Started):
            self._end()
            values: Values = {"version": event.version, "direction": event.direction, "dry_run": event.dry_run}
            self._migration = self._span(f"wmigrate {event.direction} {event.version}_{event.name}", values)
        elif isinstance(event, Stepped):
            self._end_statement()
            values = {"version": event.version, "statement": event.first, "line": event.line, "note": event.note}
            self._statement = self._span(f"wmigrate statement {event.first}", values, parent=self._migration)
        elif isinstance(event, Finished):
            if self._migration is not None:
                self._migration.set_attribute("wmigrate.outcome", event.record.outcome.value)
                self._migration.set_attribute("wmigrate.rows", event.record.rows)
            self._end()
        elif isinstance(event, Failed):
            self._end(error=event.error)

    def _span(self, name: str, values: Values, parent: Span | None = None) -> Span | None:
        try:
            from opentelemetry import trace
        except ImportError:
            return None
        attributes: Values = {"db.system.name": "postgresql", "wmigrate.target": self._target}
        attributes |= {f"wmigrate.{key}": value for key, value in values.items()}
        context = trace.set_span_in_context(parent) if parent is not None else None
        tracer = self._tracer or trace.get_tracer("airflow_provider_wmigrate")
        return tracer.start_span(name, context=context, attributes=attributes)

    def _end_statement(self, error: str | None = None) -> None:
        span, self._statement = self._statement, None
        _close(span, error)

    def _end(self, error: str | None = None) -> None:
        self._end_statement(error)
        span, self._migration = self._migration, None
        _close(span, error)


def _close(span: Span | None, error: str | None) -> None:
    if span is None:
        return
    if error is not None:
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR, error))
    span.end()
