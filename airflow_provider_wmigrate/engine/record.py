"""What one call of the migrator did, and what it met: the audit record and its parts, as frozen values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from .changes import Changes
from .locks_taken import LockTaken, OnScratch
from .model import Identity, Migration
from .plain import Plain
from .wording import told_size

if TYPE_CHECKING:
    from .foreseen import Forecast


class Backup(Plain, frozen=True):
    """A backup that was made before something is taken away. Everything here ends up in the audit log."""

    name: str
    method: Literal["pg_dump", "snapshot"]
    place: str
    scope: Literal["database", "relations"]
    versions: Mapping[str, str]
    """The migrations before which it was made, with the checksums of their scripts."""
    relations: tuple[str, ...] = ()
    """Of a backup of some relations: their names, quoted as in SQL."""
    format: Literal["custom", "directory"] | None = None
    """As pg_dump calls it; None: it is a snapshot."""
    bytes: int | None = None
    """None: whoever made the snapshot knows it."""
    sha256: str | None = None
    """Of the file; of a folder, over a line `checksum  name` for each file, in order."""
    seconds: float = 0

    def __str__(self) -> str:
        what = "the whole database" if self.scope == "database" else ", ".join(self.relations)
        size = f", {told_size(self.bytes)}" if self.bytes is not None else ""
        return f"backup of {what} in {self.seconds:.1f} s: {self.place}{size}"


class Outcome(str, Enum):
    """What one call of the migrator did."""

    APPLIED = "applied"
    ALREADY_APPLIED = "already_applied"
    ROLLED_BACK = "rolled_back"
    NOT_APPLIED = "not_applied"
    DRY_RUN = "dry_run"
    NOT_TRIED = "not_tried"
    """A dry run that executed nothing of it; the record says why."""


class Blocker(Plain, frozen=True):
    """A session that held up ours. The query's text is not kept: it may hold values."""

    pid: int
    user: str | None
    application: str | None
    query_start: datetime | None
    """Of a prepared transaction: when it was prepared."""
    prepared: str | None = None
    """The identifier of a prepared transaction, which holds its locks without a session, as process 0."""

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


NO_LOOK = "it was over before the first look"
"""Why nothing was measured of a migration that is over in less than about 0.2 s."""


class Bystanders(Plain, frozen=True, gc=False):
    """What sessions that are not ours felt of a migration, until just before its commit."""

    unseen_ms: int = 0
    """The longest time between two looks, the beginning and the end counted as such: a wait that is shorter may have
    been missed."""
    looks: int = 0
    """How often a second connection looked."""
    sessions: int | None = None
    """How many waited at the same time, at most; None: not measured."""
    longest_wait_ms: int | None = None
    """One wait for one lock. The commit ends those that still go on."""
    relations: tuple[str, ...] = ()
    """What they waited for, as far as the server shows it."""
    deadlocks: int | None = None
    """Transactions of others that the server ended meanwhile, in the whole database; None: not measured."""
    not_measured: str | None = None
    """Why nothing, or not all of it, was measured."""

    @property
    def noticed(self) -> bool:
        """Somebody else felt it."""
        return bool(self.sessions or self.deadlocks)

    def __str__(self) -> str:
        killed = self.deadlocks or 0
        said = f"; {killed} {'transactions' if killed > 1 else 'transaction'} ended in a deadlock" if killed else ""
        if self.sessions:
            return self._waited() + said + (f" (at least: {self.not_measured})" if self.not_measured else "")
        if self.not_measured is None or self.not_measured == NO_LOOK:
            return f"nobody waited longer than {_span(self.unseen_ms)}{said}"
        return f"what others felt was not measured: {self.not_measured}"

    def _waited(self) -> str:
        many, longest = self.sessions or 0, _span(self.longest_wait_ms or 0)
        more = len(self.relations) - _NAMED
        named = ", ".join(self.relations[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        who = f"{many} sessions waited, the longest {longest}" if many > 1 else f"1 session waited {longest}"
        return f"{who}, for {named}" if named else who


def together(felt: Iterable[Bystanders]) -> Bystanders | None:
    """Of several migrations, one after another or at once; None: of none.

    What was seen of some is no answer for those of which nothing was measured.
    """
    every = tuple(felt)
    if not every:
        return None
    sessions = max((f.sessions for f in every if f.sessions is not None), default=None)
    trouble = next((f.not_measured for f in every if f.not_measured not in (None, NO_LOOK)), None)
    return Bystanders(
        max(f.unseen_ms for f in every),
        sum(f.looks for f in every),
        None if trouble and not sessions else sessions,
        max((f.longest_wait_ms for f in every if f.longest_wait_ms is not None), default=None),
        tuple(sorted({relation for f in every for relation in f.relations})),
        None if all(f.deadlocks is None for f in every) else sum(f.deadlocks or 0 for f in every),
        trouble if any(f.looks for f in every) else trouble or NO_LOOK,
    )


_NAMED = 3


def _span(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


class ServerWords(Struct, frozen=True):
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


class TakenAway(Struct, frozen=True):
    """What a script took away of TimescaleDB's, or what a retention policy that it added drops at its first run."""

    what: str
    """`chunks`, `buckets`, `aggregate`, `job`, or `due_chunks` of such a policy."""
    name: str
    """Of the hypertable or aggregate; of a job its number."""
    said: str
    """The same in words."""
    number: int | None = None
    """How many chunks or buckets."""
    rows: int | None = None
    """Of chunks that are gone; None: not known."""

    def __str__(self) -> str:
        return self.said


class Kept(Plain, frozen=True):
    """What a migration with `keep: true` has put aside instead of destroying it."""

    what: Literal["table", "column", "rows"]
    place: str
    """The schema that keeps it, in a table of the same name as the one that it is of."""
    schema: str
    table: str
    columns: tuple[str, ...] = ()
    """Whose values are kept."""
    key: tuple[str, ...] = ()
    """The columns that tell to which row a value belongs."""
    rows: int | None = None
    """None: a table that was moved, and not counted."""
    foreign_keys: tuple[tuple[str, str], ...] = ()
    """Of a table: name and definition of those to other tables, which kept rows must not tie."""

    def __str__(self) -> str:
        name = f"{self.schema}.{self.table}"
        if self.what == "table":
            return f"table {name}"
        count = f"{self.rows:,} {'row' if self.rows == 1 else 'rows'}"
        if self.what == "column":
            return f"values of {', '.join(f'{name}.{column}' for column in self.columns)} of {count}"
        return f"{count} of {name}"


class Record(Plain, frozen=True, gc=False):
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
    bystanders: Bystanders | None = None
    """What others felt of it; None: nothing was run."""
    taken_away: tuple[TakenAway, ...] = ()
    """What is gone of TimescaleDB's."""
    forecast: Forecast | None = None
    """Of a dry run: what was foreseen of its locks, and where that was wrong."""
    kept: tuple[Kept, ...] = ()
    """What it kept of what it destroys; of a rollback: what it gave back."""
    rollback_script: Literal["folder", "ledger"] | None = None
    """Of a rollback: whose script was run. Both have the same one unless a person had to choose."""
    rewritten: tuple[str, ...] = ()
    """Of a dry run: tables with rows, by the names that they had before it, that this migration wrote anew."""
    on_scratch: OnScratch | None = None
    """Of `not_tried`: what became of it on a scratch database; None: none was wanted."""
    changes: Changes = Changes()
    """What it changed of the schema, by its text."""

    @classmethod
    def of(cls, migration: Migration, outcome: Outcome, identity: Identity, **more: Any) -> Record:
        """:param more: the other fields."""
        return cls(migration.version, migration.name, outcome, migration.script.checksum, identity, **more)

    def as_dict(self) -> dict[str, Any]:
        return Plain.as_dict(self) | {"identity": self.identity.columns()}


def taken_first(records: Iterable[Record]) -> dict[str, list[LockTaken]]:
    """Each lock once, by the version of the migration that took it: the others of its transaction hold it too."""
    seen: set[tuple[str, str]] = set()
    first: dict[str, list[LockTaken]] = {}
    for record in records:
        for lock in record.locks:
            key = (f"{lock.what} (dropped)" if lock.dropped else lock.what, lock.mode)
            if key not in seen:
                seen.add(key)
                first.setdefault(record.version, []).append(lock)
    return first
