"""What one task of a run left, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_wmigrate.engine.model import IDENTITY_COLUMNS, Identity, LastEvent

from .catalog import GroupTasks


class RunKey(NamedTuple):
    """One pass through a group: of a mapped group each index makes one of its own."""

    dag_id: str
    run_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class PlanResult:
    """The plan of one run, as its plan task left it."""

    group: GroupTasks
    key: RunKey
    at: datetime
    value: Mapping[str, Any]

    @property
    def failures(self) -> list[LastEvent]:
        """What had failed before it, and was not settled."""
        return [
            LastEvent(
                version,
                "rollback_failed" if told["direction"] == "rollback" else "failed",
                datetime.fromisoformat(told["at"]),
                Identity(**{name: told.get(name) for name in IDENTITY_COLUMNS}),
                told.get("error") or "",
                told.get("sqlstate"),
            )
            for version, told in (self.value.get("failures") or {}).items()
        ]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """An audit record, as a task left it."""

    key: RunKey
    task_id: str
    at: datetime
    value: Mapping[str, Any]

    @property
    def version(self) -> str:
        return str(self.value.get("version"))

    @property
    def outcome(self) -> str:
        return str(self.value.get("outcome"))

    @property
    def actor(self) -> str | None:
        identity = self.value.get("identity")
        return identity.get("actor") if isinstance(identity, dict) else None


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """A task that failed at a migration."""

    attempt: LastEvent
    key: RunKey
    duration_ms: int | None
