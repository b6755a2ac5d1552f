"""One strike while it happens: what the faults act on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import psycopg

from .arena import Arena, Clean
from .kinds import Kind
from .moments import Approach
from .runner import Run


@dataclass
class Scene:
    """One strike while it happens."""

    arena: Arena
    kind: Kind
    clean: Clean
    database: str
    approach: Approach
    coin: bool
    """Which of a fault's two variants."""
    others: list[Run] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    """What was seen to be wrong already while it happened."""

    @property
    def run(self) -> Run:
        assert self.approach.run is not None
        return self.approach.run

    @property
    def runs(self) -> list[Run]:
        return [self.run, *self.others]

    def start_another(self, **job: Any) -> Run:
        """:param job: see `Arena.start`."""
        other = self.arena.start(self.kind, self.arena.direct(self.database), name="second", **job)
        self.others.append(other)
        return other

    def release(self, *, commit: bool = False) -> None:
        """Let the runner go on. See `Approach.release`."""
        self.approach.release(commit=commit)

    def somebody_waits(self) -> bool:
        """Whether the second runner polls for the locks that the first one has."""
        query = (
            "SELECT FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'wmigrate%%second'"
            " AND query ~ 'pg_try_advisory_lock|pg_advisory_unlock'"
        )
        with contextlib.suppress(psycopg.Error), self.arena.conn("postgres") as conn:
            return conn.execute(query.encode(), [self.database]).fetchone() is not None
        return False
