"""Engine events as lines in the task log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import asdict

from airflow_provider_wmigrate.engine.events import (
    BackedUp,
    BackingUp,
    BackupRemoved,
    Blocked,
    Event,
    Failed,
    Finished,
    HeldLong,
    Noticed,
    OthersWait,
    Retrying,
    Started,
    Stepped,
    Waiting,
)
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plain import plain
from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.sql.masking import masked_sql

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.folder.config.settings import Logging

_SHOWN_CHARACTERS = 20_000
"""Of a script, in the task log: enough for what a person reads, and a log viewer stays fast."""


class Log(Protocol):
    """What is needed of a logger, of which Airflow's own is not one of Python's."""

    def log(self, level: int, message: str, /, *arguments: object) -> object: ...


def log_listener(log: Log, settings: Logging) -> Callable[[Event], None]:
    """A listener that writes events to a log, as `settings.logging` asks."""
    threshold = logging.getLevelName(settings.level)

    def listen(event: Event) -> None:
        level = logging.WARNING if _warns(event) else _LEVELS[type(event)]
        if level < threshold:
            return
        text = _text(event, settings)
        if settings.format == "json":
            text = json.dumps({"event": type(event).__name__.lower(), **_fields(event, settings)}, default=str)
        for line in text.splitlines():
            log.log(level, "%s", line)

    return listen


_LEVELS = {
    Started: logging.INFO,
    Stepped: logging.INFO,
    Blocked: logging.WARNING,
    HeldLong: logging.WARNING,
    OthersWait: logging.WARNING,
    Retrying: logging.WARNING,
    Noticed: logging.INFO,
    BackingUp: logging.INFO,
    BackedUp: logging.INFO,
    BackupRemoved: logging.INFO,
    Finished: logging.INFO,
    Waiting: logging.WARNING,
    Failed: logging.ERROR,
}


def _warns(event: Event) -> bool:
    if isinstance(event, BackupRemoved):
        return bool(event.why)
    return isinstance(event, Noticed) and event.severity == "WARNING"


def _text(event: Event, settings: Logging) -> str:
    if isinstance(event, Started):
        return _started(event, settings)
    if isinstance(event, Finished):
        return _finished(event.record, settings)
    return str(event)


def _started(event: Started, settings: Logging) -> str:
    lines = [str(event)]
    if settings.include_sql:
        lines += _shown(event.script)
        if event.rollback is not None:
            lines += _shown(event.rollback)
    return "\n".join(lines)


def _shown(script: Script) -> list[str]:
    """A script between Airflow's markers for a part of the log that can be folded."""
    text = masked_sql(script.text[:_SHOWN_CHARACTERS]).rstrip()
    cut = len(script.text) - len(script.text[:_SHOWN_CHARACTERS])
    more = [f"... and {cut} more characters"] if cut else []
    return [f"::group::{script.file} (sha256 {script.checksum[:12]})", *text.splitlines(), *more, "::endgroup::"]


def _finished(record: Record, settings: Logging) -> str:
    took = f" in {record.duration_ms} ms" if settings.include_timing and record.statements else ""
    statements, rows = (
        f"{n} {what}{'s' * (n != 1)}" for n, what in ((record.statements, "statement"), (record.rows, "row"))
    )
    did = f": {statements}, {rows} changed" if record.statements else ""
    did += f": {record.reason}" if record.reason else ""
    lines = [f"{record.version}_{record.name}: {record.outcome.value.replace('_', ' ')}{took}{did}"]
    lines += [f"  locked {lock}" for lock in record.locks]
    lines += [f"  {record.bystanders}"] if record.bystanders and settings.include_timing else []
    return "\n".join(lines)


def _fields(event: Event, settings: Logging) -> dict[str, object]:
    if isinstance(event, Finished):
        fields = event.record.as_dict()
        if not settings.include_timing:
            fields.pop("duration_ms")
        return fields
    if isinstance(event, Started):
        fields = {"version": event.version, "name": event.name, "direction": event.direction, "dry_run": event.dry_run}
        fields |= {"file": event.script.file, "checksum": event.script.checksum, "backend_pid": event.backend_pid}
        if settings.include_sql:
            fields["sql"] = masked_sql(event.script.text[:_SHOWN_CHARACTERS])
            undo = event.rollback
            fields["rollback_sql"] = masked_sql(undo.text[:_SHOWN_CHARACTERS]) if undo else None
        return fields
    if isinstance(event, Failed):
        return dict(plain(event))
    if isinstance(event, OthersWait):
        return {"version": event.version, **event.bystanders.as_dict()}
    if isinstance(event, BackedUp):
        return event.backup.as_dict()
    return asdict(event)
