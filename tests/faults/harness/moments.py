"""When a strike falls: moments that are held, not timed, so that each strike hits what it is meant to hit."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from .arena import LIMIT, Arena, Clean, Conn, eventually
from .kinds import GATE_KEY, Hold, Kind
from .runner import Run
from .wire import Point, Side


@dataclass(frozen=True, slots=True)
class Told:
    """The runner stands in its own listener: about to begin (0), or about to send its n-th segment."""

    number: int

    def __str__(self) -> str:
        return f"segment {self.number} about to be sent" if self.number else "about to begin"


@dataclass(frozen=True, slots=True)
class Gate:
    """The server stands between two statements of one message."""

    number: int

    def __str__(self) -> str:
        return f"between two statements (gate {self.number})"


@dataclass(frozen=True, slots=True)
class Held:
    """The server stands in the middle of a statement, waiting for a transaction of the harness."""

    hold: Hold

    def __str__(self) -> str:
        return f"in the middle of statement {self.hold.statement} ({self.hold.sql[:24]})"


@dataclass(frozen=True, slots=True)
class OnWire:
    """A request is under way to the server, or its answer back."""

    number: int
    side: Side
    text: str

    def __str__(self) -> str:
        which = "before the server has" if self.side == "before" else "before the runner has the answer to"
        return f"{which} request {self.number} ({self.text[:32]!r})"


@dataclass(frozen=True, slots=True)
class After:
    """Some time after the start, in parts of a clean run's time. The only kind that is timed."""

    part: float

    def __str__(self) -> str:
        return f"after {self.part:.0%} of the time"


Moment = Told | Gate | Held | OnWire | After


def boundaries(kind: Kind, clean: Clean) -> list[Moment]:
    """Every boundary between statements, and the middles of those that can be held there."""
    moments: list[Moment] = [Told(n) for n in range(len(clean.steps) + 1)]
    moments += [Gate(n) for n in range(kind.gates)]
    moments += [Held(hold) for hold in kind.holds]
    return moments


def on_wire(clean: Clean) -> list[OnWire]:
    """Every request and every answer, the connecting apart."""
    sides: tuple[Side, ...] = ("before", "after")
    return [OnWire(n, side, text) for n, text in enumerate(clean.texts, 1) if n > 3 for side in sides]


def commits(clean: Clean) -> list[OnWire]:
    return [moment for moment in on_wire(clean) if moment.text == "COMMIT"]


def timed(dice: random.Random, count: int) -> list[Moment]:
    return [After(round(dice.uniform(0.0, 1.1), 3)) for _ in range(count)]


class Approach:
    """Starts a run and brings it to a moment, where it stands until it is released."""

    def __init__(self, arena: Arena, kind: Kind, clean: Clean, database: str, **job: Any) -> None:
        self._arena, self._kind, self._clean, self._database = arena, kind, clean, database
        self._job = job
        self._holder: Conn | None = None
        self.run: Run | None = None
        self.reached = False
        """Whether it stands where it should; not when it was over before."""
        self.server_stands = False
        """Whether it is the server that stands, in a statement, and not the runner."""

    def begin(self, moment: Moment) -> None:
        self.server_stands = isinstance(moment, Gate | Held)
        wire, point = self._arena.wire, None
        if isinstance(moment, OnWire):
            point = Point(moment.number, moment.side)
        wire.arm(point)
        if isinstance(moment, Gate):
            self._hold(f"SELECT pg_advisory_xact_lock({GATE_KEY}, {moment.number})")
        wait_at = "Started Stepped" if isinstance(moment, Told | Held) else ""
        dsn = self._arena.wired(self._database)
        self.run = self._arena.start(self._kind, dsn, wait_at=wait_at, **self._job)
        self.reached = self._bring(self.run, moment)

    def _bring(self, run: Run, moment: Moment) -> bool:
        if isinstance(moment, OnWire):
            return self._arena.wire.reached.wait(LIMIT)
        if run.until("ready", LIMIT) is None:
            return False
        if isinstance(moment, After):
            time.sleep(moment.part * self._clean.seconds)
            return True
        if isinstance(moment, Gate):
            at_gate = "locktype = 'advisory' AND objsubid = 2"
            eventually(lambda: self._waiting(at_gate) or run.is_over(), "the script comes to the gate")
            return not run.is_over()
        if isinstance(moment, Told):
            return _step_to(run, lambda seen, _: seen == moment.number)
        if not _step_to(run, lambda _, first: first == moment.hold.statement):
            return False
        self._hold(moment.hold.sql)
        run.go()
        eventually(lambda: self._waiting("true") or run.is_over(), "the statement waits")
        return not run.is_over()

    def _hold(self, text: str) -> None:
        self._holder = psycopg.connect(self._arena.direct(self._database), application_name="harness")
        for statement in text.split(";"):
            self._holder.execute(statement.encode())

    def _waiting(self, where: str) -> bool:
        with self._arena.conn("postgres") as conn:
            query = (
                "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                f" WHERE NOT granted AND a.datname = %s AND a.application_name LIKE 'wmigrate%%' AND {where}"
            )
            row = conn.execute(query.encode(), [self._database]).fetchone()
        return bool(row and row[0])

    def backends(self) -> list[int]:
        """The server's processes that work for runners in this database."""
        query = (
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
            " AND application_name <> 'harness' AND pid <> pg_backend_pid()"
        )
        with self._arena.conn("postgres") as conn:
            return [pid for (pid,) in conn.execute(query.encode(), [self._database])]

    @property
    def holder(self) -> Conn:
        """The transaction of the harness that the server's process waits for."""
        assert self._holder is not None
        return self._holder

    def release(self, *, commit: bool = False) -> None:
        """Let it go on, wherever it stands.

        :param commit: what the harness's transaction did becomes true; else nobody ever sees it.
        """
        if self._holder is not None:
            with contextlib.suppress(psycopg.Error):
                self._holder.commit() if commit else self._holder.rollback()
            self._holder.close()
        if self.run is not None:
            self.run.go(60)
        self._arena.wire.release()


def _step_to(run: Run, there: Callable[[int, int | None], bool]) -> bool:
    """On from event to event until it stands where it should: given how many it has told, and the statement."""
    seen = 0
    message = run.until("Started", LIMIT)
    while message is not None:
        if message["told"] in ("Started", "Stepped"):
            if there(seen, message["first"]):
                return True
            seen += 1
            run.go()
        elif message["told"] == "end":
            return False
        message = run.next(LIMIT)
    return False
