"""What the migrator tells its one listener while it acts: a closed set of frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .model import Blocker, Direction, LockTaken, Record, Script, ServerWords


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another runner holds what we need; told once when the wait begins and again as it lasts."""

    version: str | None
    what: str
    waited_seconds: float
    holders: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    version: str
    name: str
    direction: Direction
    script: Script
    dry_run: bool
    rollback: Script | None = None
    """When applying: the script that would undo it."""
    backend_pid: int = 0


@dataclass(frozen=True, slots=True)
class Blocked:
    """Sessions hold a lock that the running statement waits for. Told from another thread than the other events."""

    version: str
    blockers: tuple[Blocker, ...]
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class HeldLong:
    """Everybody who wanted this relation had to wait for longer than the set limit."""

    version: str
    lock: LockTaken
    limit_seconds: float


@dataclass(frozen=True, slots=True)
class Retrying:
    """A transaction was rolled back for want of a lock, and is tried again as a whole."""

    version: str
    attempt: int
    """Of the transaction that failed, from 1."""
    reason: str
    pause_seconds: float
    lock_timeout_seconds: float
    """Budget of the next attempt."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """A statement, or several that share a transaction, of a script that does not run in one transaction."""

    version: str
    first: int
    last: int
    """Statements by number, from 1."""
    total: int
    line: int
    note: str
    """What is told of it: runs, resumes, was found to have run, had left an invalid index ..."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """A NOTICE, WARNING or the like that the server sent."""

    version: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    record: Record


@dataclass(frozen=True, slots=True)
class Failed:
    version: str
    direction: Direction
    error: str
    sqlstate: str | None
    dry_run: bool = False
    said: ServerWords = field(default_factory=ServerWords)
    """What the server said beside the error."""


Event = Waiting | Started | Stepped | Blocked | HeldLong | Retrying | Noticed | Finished | Failed
Listener = Callable[[Event], None]
