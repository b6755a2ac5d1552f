"""What one call of the migrator did, and what it met: the audit record and its parts, as frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from .model import Identity


class Outcome(str, Enum):
    """What one call of the migrator did."""

    APPLIED = "applied"
    ALREADY_APPLIED = "already_applied"
    ROLLED_BACK = "rolled_back"
    NOT_APPLIED = "not_applied"
    DRY_RUN = "dry_run"
    NOT_TRIED = "not_tried"
    """A dry run that executed nothing of it; the record says why."""


@dataclass(frozen=True, slots=True)
class LockTaken:
    """A lock a migration held just before commit. In a dry run, also the locks of those that ran before it."""

    relation: str
    """As it was called when the migration began; what the migration made, as it was called in the end."""
    mode: str
    held_ms: int | None = None
    """How long it was seen to be held, of an AccessExclusive lock on a relation that existed before."""
    dropped: bool = False
    """The migration dropped it."""
    parts: int = 0
    """How many of its chunks or partitions were locked in this mode."""
    whole: bool = True
    """It was locked itself; else only these parts of it."""

    @property
    def what(self) -> str:
        """The relation, with its parts."""
        if not self.parts:
            return self.relation
        parts = f"{self.parts:,} {'chunk or partition' if self.parts == 1 else 'chunks or partitions'}"
        return f"{self.relation} and its {parts}" if self.whole else f"{parts} of {self.relation}"

    def as_dict(self) -> dict[str, str | int | bool | None]:
        """Plain values for JSON, XCom and audit rows."""
        plain = {"relation": self.relation, "mode": self.mode, "held_ms": self.held_ms, "dropped": self.dropped}
        return {**plain, "parts": self.parts, "whole": self.whole} if self.parts else plain

    def __str__(self) -> str:
        return f"{self.what} ({self.mode}{', dropped' if self.dropped else ''})"


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that held up ours. The query's text is not kept: it may hold values."""

    pid: int
    user: str | None
    application: str | None
    query_start: datetime | None
    """Of a prepared transaction: when it was prepared."""
    prepared: str | None = None
    """The identifier of a prepared transaction, which holds its locks without a session, as process 0."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, XCom and audit rows."""
        return {**asdict(self), "query_start": self.query_start.isoformat() if self.query_start else None}

    @property
    def key(self) -> tuple[int, str | None]:
        """What tells it from others."""
        return self.pid, self.prepared

    def way_out(self) -> str:
        """What ends it where nobody else will; empty: its session does."""
        if self.prepared is None:
            return ""
        gid = "'" + self.prepared.replace("'", "''") + "'"
        return f"end it with ROLLBACK PREPARED {gid} or COMMIT PREPARED {gid}"

    def __str__(self) -> str:
        at = self.query_start.astimezone(timezone.utc) if self.query_start else None
        if self.prepared is not None:
            since = f" since {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
            return f"prepared transaction {self.prepared!r} of {self.user or 'unknown user'}{since}"
        since = f", its query since {at:%H:%M:%S} UTC" if at else ""
        return f"pid {self.pid} ({self.user or 'unknown user'}, {self.application or 'no application name'}{since})"


@dataclass(frozen=True, slots=True)
class ServerWords:
    """What the server said of an error beside its message, with what can be a secret masked."""

    detail: str | None = None
    hint: str | None = None
    context: str | None = None
    constraint: str | None = None
    function: str | None = None
    """Where it was inside a function: `PL/pgSQL function boom(integer) line 3 at PERFORM`."""

    def lines(self) -> list[str]:
        """As psql shows them."""
        named = (("DETAIL", self.detail), ("HINT", self.hint), ("CONTEXT", self.context))
        return [f"{name}: {text}" for name, text in named if text]


@dataclass(frozen=True, slots=True)
class Record:
    """The audit record of one call: what Airflow keeps as XCom. Never SQL text."""

    version: str
    name: str
    outcome: Outcome
    checksum: str
    identity: Identity
    duration_ms: int = 0
    rows: int = 0
    """Rows inserted, updated, deleted or copied, as the server counted them."""
    statements: int = 0
    locks: tuple[LockTaken, ...] = ()
    attempts: int = 1
    """Transactions begun for it: more than one when a lock was not free within its budget, or after a deadlock."""
    blocked_by: tuple[Blocker, ...] = ()
    """Who held it up, in the order in which they were seen."""
    audit_head: str | None = None
    """`count:hash` of the audit log after this call, kept outside the database so that a cut-off tail is found."""
    reason: str | None = None
    """Of `not_tried`: why, with file and line."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, XCom and audit rows."""
        plain = {
            name: getattr(self, name) for name in _FIELDS
        }  # `asdict` copies what is plain, and takes five times as long
        return plain | {
            "outcome": self.outcome.value,
            "identity": self.identity.columns(),
            "locks": [lock.as_dict() for lock in self.locks],
            "blocked_by": [blocker.as_dict() for blocker in self.blocked_by],
        }


_FIELDS = tuple(f.name for f in fields(Record))
