"""What the migrator tells its one listener while it acts: a closed set of frozen values. Each says its sentence itself,
which the task log and the terminal show alike."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from .locks_taken import LockTaken
from .model import Direction, Script
from .record import Backup, Blocker, Bystanders, Record, ServerWords
from .wording import told_size


class Waiting(Struct, frozen=True):
    """Another runner holds what we need, or a standby has not confirmed. Told when it begins and again as it lasts."""

    version: str | None
    what: str
    waited_seconds: float
    holders: tuple[int, ...] = ()

    def __str__(self) -> str:
        held = f", held by pid {', '.join(map(str, self.holders))}" if self.holders else ""
        return f"waiting for {self.what} since {self.waited_seconds:.0f} s{held}"


class Started(Struct, frozen=True):
    version: str
    name: str
    direction: Direction
    script: Script
    dry_run: bool
    rollback: Script | None = None
    """When applying: the script that would undo it."""
    backend_pid: int = 0

    def __str__(self) -> str:
        doing = {"apply": "applying", "rollback": "rolling back"}[self.direction]
        dry = " (dry run)" if self.dry_run else ""
        return f"{doing} {self.version}_{self.name}{dry} on server process {self.backend_pid}"


class Blocked(Struct, frozen=True):
    """Sessions hold a lock that the running statement waits for. Told from another thread than the other events."""

    version: str
    blockers: tuple[Blocker, ...]
    waited_seconds: float

    def __str__(self) -> str:
        return f"blocked for {self.waited_seconds:.1f} s by {'; '.join(map(str, self.blockers))}"


class HeldLong(Struct, frozen=True):
    """Everybody who wanted this relation had to wait for longer than the set limit."""

    version: str
    lock: LockTaken
    limit_seconds: float

    def __str__(self) -> str:
        held, limit = (self.lock.held_ms or 0) / 1000, self.limit_seconds
        return f"{self.lock.what} was locked against everybody for {held:.1f} s, limit {limit:g} s"


class OthersWait(Struct, frozen=True):
    """Sessions wait because of the migration. Told from another thread: after a second, and each time it doubled."""

    version: str
    bystanders: Bystanders
    """Of this moment."""

    def __str__(self) -> str:
        return f"others wait because of it: {self.bystanders}"


class Retrying(Struct, frozen=True):
    """A transaction was rolled back for want of a lock, and is tried again as a whole."""

    version: str
    attempt: int
    """Of the transaction that failed, from 1."""
    reason: str
    pause_seconds: float
    lock_timeout_seconds: float
    """Budget of the next attempt."""

    def __str__(self) -> str:
        patience = f"in {self.pause_seconds:.1f} s, waiting up to {self.lock_timeout_seconds:g} s for a lock"
        return f"attempt {self.attempt} rolled back: {self.reason}; trying again {patience}"


class Stepped(Struct, frozen=True):
    """A statement, or several that share a transaction, of a script that does not run in one transaction."""

    version: str
    first: int
    last: int
    """Statements by number, from 1."""
    total: int
    line: int
    note: str
    """What is told of it: runs, resumes, was found to have run, had left an invalid index ..."""

    def __str__(self) -> str:
        which = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        return f"statement {which} of {self.total} (line {self.line}): {self.note}"


class Noticed(Struct, frozen=True):
    """A NOTICE, WARNING or the like that the server sent."""

    version: str
    severity: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}"


class BackingUp(Struct, frozen=True):
    """A backup is being made. Told when it begins, and now and then as it lasts."""

    name: str
    seconds: float
    written: int
    """Bytes so far."""

    def __str__(self) -> str:
        return f"backing up to {self.name}: {self.seconds:.0f} s, {told_size(self.written)} written"


class BackedUp(Struct, frozen=True):
    backup: Backup

    def __str__(self) -> str:
        return str(self.backup)


class BackupRemoved(Struct, frozen=True):
    """One that wmigrate had made was old enough; or it should go, and could not: then `why` is not empty."""

    place: str
    why: str = ""

    def __str__(self) -> str:
        return f"old backup {self.place} could not be deleted: {self.why}" if self.why else f"deleted: {self.place}"


class Finished(Struct, frozen=True):
    record: Record


class Failed(Struct, frozen=True):
    version: str
    direction: Direction
    error: str
    sqlstate: str | None
    dry_run: bool = False
    said: ServerWords = field(default_factory=ServerWords)
    """What the server said beside the error."""
    bystanders: Bystanders | None = None

    def __str__(self) -> str:
        dry = "dry run of " if self.dry_run else ""
        lines = [f"{dry}{self.direction} of {self.version} failed: {self.error}", *self.said.lines()]
        return "\n".join([*lines, *([str(self.bystanders)] if self.bystanders and self.bystanders.noticed else [])])


Event = (
    Waiting | Started | Stepped | Blocked | HeldLong | OthersWait | Retrying | Noticed | BackingUp | BackedUp
    | BackupRemoved | Finished | Failed
)  # fmt: skip
Listener = Callable[[Event], None]
