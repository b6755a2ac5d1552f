"""The nouns of folder, ledger and plan, as frozen values. Nothing here acts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct, field

from .plain import Plain

if TYPE_CHECKING:
    from .extension import Extension, RequiredExtension
    from .lock_modes import LockMode

CHECKSUM_ALGORITHM = "sha256"
"""Over canonical text: UTF-8, no byte order mark, line ends LF. The name is stored beside every checksum."""

Transactional = Literal["auto", True, False]
OnFailure = Literal["rollback", "none"]
Direction = Literal["apply", "rollback"]
Severity = Literal["error", "warning"]
LatePolicy = Literal["apply", "warn", "error"]


class Status(str, Enum):
    """What is true of a migration, seen from both the folder and the ledger."""

    PENDING = "pending"
    FAILED = "failed"
    """Pending, and the last attempt to apply it failed. Nothing of it is in the database."""
    LEFT_OUT = "left_out"
    """Pending, and `up` will not run it here; the plan says why."""
    APPLIED = "applied"
    CHANGED = "changed"
    MISSING = "missing"
    FORGOTTEN = "forgotten"
    """Applied, and a person has said that its file was deleted on purpose."""
    INCOMPLETE = "incomplete"

    @property
    def is_pending(self) -> bool:
        """Whether nothing of it is in the database, for whatever reason."""
        return self in (Status.PENDING, Status.FAILED, Status.LEFT_OUT)

    @property
    def words(self) -> str:
        """As a person reads it."""
        return self.value.replace("_", " ")


def version_key(version: str) -> int:
    """Sort key of a version: its number, so that 1000 comes after 999."""
    return int(version)


def canonical_version(number: int | str) -> str:
    """The one way a version is written in the ledger, in plans and in messages: at least three digits.

    :param number: or its digits, of which there may be more than Python makes a number of.
    """
    return str(number).lstrip("0").zfill(3)


def checksum(text: str) -> str:
    """Checksum of a canonical text, as lower-case hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


NOT_READ = "not read"
"""In place of the checksum of a script that nobody has read, so that it is never the one that was applied."""


class TextOfFile(Protocol):
    """The text of a script that is read when it is needed: what is applied and unchanged is only hashed."""

    @property
    def size(self) -> int:
        """In bytes of UTF-8."""

    def read(self) -> str:
        """:raises WMigrateError: it is not the text that was hashed any more."""


class Script(Struct, frozen=True, eq=False, gc=False):
    """One SQL file: its name inside the folder, its canonical text and the checksum of that text."""

    file: str
    source: str | TextOfFile
    """The text, or what reads it."""
    checksum: str

    def __eq__(self, other: object) -> bool:
        """Whether they are called the same and have the same text, wherever it is read from."""
        return isinstance(other, Script) and (self.file, self.checksum) == (other.file, other.checksum)

    def __hash__(self) -> int:
        return hash((self.file, self.checksum))

    def __repr__(self) -> str:
        """Without the text, which may hold a password."""
        return f"Script(file={self.file!r}, checksum={self.checksum!r})"

    @classmethod
    def of(cls, file: str, text: str) -> Script:
        return cls(file, text, checksum(text))

    @property
    def text(self) -> str:
        return self.source if isinstance(self.source, str) else self.source.read()

    def with_text(self) -> Script:
        """The same, and its text stays what it is now, whatever becomes of the file."""
        return self if isinstance(self.source, str) else Script(self.file, self.source.read(), self.checksum)

    @property
    def size(self) -> int:
        """Of the text, in bytes of UTF-8."""
        if not isinstance(self.source, str):
            return self.source.size
        return len(self.source if self.source.isascii() else self.source.encode())  # a copy costs memory

    @property
    def is_read(self) -> bool:
        """False: nobody has read the file, or it is no text; the checksum is then none of a text."""
        return self.size > 0 or self.checksum == checksum("")


class Migration(Struct, frozen=True, gc=False):
    """One numbered SQL file with what the folder and its config say about it."""

    version: str
    name: str
    script: Script
    rollback: Script | None = None
    description: str = ""
    dependencies: tuple[str, ...] = ()
    dependencies_implied: bool = False
    """Nobody declared them: each migration needs the one before it in the folder."""
    transactional: Transactional = "auto"
    rollback_transactional: Transactional = "auto"
    repeatable: bool = False
    rollback_repeatable: bool = False
    timeout_seconds: float | None = None
    """Total budget of one apply or rollback in seconds; None means the setting of the folder."""
    lock_timeout_seconds: float | None = None
    lock_attempts: int | None = None
    max_bystander_wait_seconds: float | None = None
    lock_first: bool | None = None
    keep: bool = False
    locks: tuple[tuple[str, LockMode], ...] = ()
    """Tables, as in SQL, that it locks beside those that its SQL shows."""
    squashes: tuple[tuple[str, str], ...] = ()
    """Versions that it stands for, its own among them, and what the checksums of their files were."""
    on_failure: OnFailure = "rollback"
    requires_extensions: tuple[RequiredExtension, ...] = ()
    rollback_supported: bool | None = None
    """As declared; None means not declared, which is never a contradiction."""
    estimated_duration_seconds: float | None = None
    config_line: int | None = None
    """Line of this migration's block in the config file, for messages."""

    @property
    def stem(self) -> str:
        """The file name without .sql, which is also the task id in Airflow."""
        return self.script.file.rsplit("/", 1)[-1].removesuffix(".sql")


class Identity(Struct, frozen=True):
    """Who acts. Everything here ends up in the ledger, so no field may carry a secret."""

    actor: str
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    try_number: int | None = None
    bundle: tuple[str, str] | None = None
    """Name and version of the DAG bundle that the files came from; None: it has no versions."""

    def columns(self) -> dict[str, str | int | None]:
        """As the ledger's tables have it."""
        return {name: getattr(self, name) for name in IDENTITY_COLUMNS}

    @property
    def details(self) -> dict[str, Any]:
        """What the audit log keeps beside that."""
        return {"bundle": dict(zip(("name", "version"), self.bundle, strict=True))} if self.bundle else {}


IDENTITY_COLUMNS = tuple(name for name in Identity.__struct_fields__ if name != "bundle")
"""What the ledger's tables have of it; the rest is in the details of the audit log."""


class Entry(Struct, frozen=True, gc=False):
    """One row of schema_migrations."""

    version: str
    name: str
    status: Literal["applied", "incomplete"]
    checksum: str
    checksum_algorithm: str
    dependencies: tuple[str, ...]
    rollback_checksum: str | None
    """None: it was applied without a rollback script. The text itself stays in the ledger until it is needed."""
    applied_at: datetime
    duration_ms: int
    statements_done: int
    statements_total: int
    statement_hashes: tuple[str, ...]
    identity: Identity
    direction: Direction = "apply"
    """What an incomplete entry was doing when it stopped."""


class LastEvent(Struct, frozen=True):
    """How the last attempt at one migration ended, or what a person has decided since, as the audit log has it."""

    version: str
    event: str
    at: datetime
    identity: Identity
    error: str = ""
    sqlstate: str | None = None
    forgotten: bool = False
    """Since it was applied, a person has said that its file was deleted on purpose."""

    @property
    def direction(self) -> Direction:
        """Of one that failed: what it was to do."""
        return "rollback" if self.event == "rollback_failed" else "apply"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what failed, when, in whose hands, and why."""
        why = {"error": self.error, "sqlstate": self.sqlstate}
        return {"direction": self.direction, "at": self.at, **self.identity.columns(), **why}


class Finding(Plain, frozen=True):
    """A contradiction or a danger: what it is, where, and what to do next."""

    code: str
    message: str
    next_step: str
    severity: Severity = "error"
    version: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        place = f"{place}: " if self.file else ""
        return f"{place}{self.message}; {self.next_step}"


def finding_in(
    code: str,
    migration: Migration,
    message: str,
    next_step: str,
    severity: Severity = "error",
    *,
    file: str | None = None,
    line: int | None = None,
) -> Finding:
    """A finding in a file of a migration: its script, unless another one is named."""
    return Finding(code, message, next_step, severity, migration.version, file or migration.script.file, line)


class FolderFinding(Finding, frozen=True):
    """What is wrong with files of the folder."""

    files: tuple[str, ...] = ()
    """Every file it is about; a line names only the first few."""


class ConfigFinding(Finding, frozen=True):
    """What is wrong with a key of the config."""

    key: str = ""
    """As messages write it: `migrations[0].version`; empty: it is about the file."""
    suggestion: str | None = None

    @property
    def reason(self) -> str:
        return self.message.removeprefix(f"{self.key}: ")

    @classmethod
    def of(cls, file: str, line: int | None, key: str, reason: str, suggestion: str | None = None) -> ConfigFinding:
        message = f"{key + ': ' if key else ''}{reason}"
        nxt = f"did you mean {suggestion}?" if suggestion else "correct it"
        return ConfigFinding("config_error", message, nxt, file=file, line=line, key=key, suggestion=suggestion)


class Step(Plain, frozen=True):
    """One thing a plan wants done."""

    action: Direction
    version: str
    name: str
    checksum: str
    estimated_duration_seconds: float | None = None
    """As declared in the config; None: not declared, or a rollback."""


class Plan(Struct, frozen=True):
    """Ordered steps and findings; a pure function of folder and ledger."""

    direction: Direction
    to: str | None
    steps: tuple[Step, ...]
    statuses: dict[str, Status]
    """Of every version that the folder or the ledger knows, in numeric order."""
    findings: tuple[Finding, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    """Versions that could be steps and are none, with the reason."""
    failures: dict[str, LastEvent] = field(default_factory=dict)
    """By version, the last attempt that failed, as long as nothing has settled it."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == "error")


class State(Struct, frozen=True):
    """What a target database answered: the ledger's entries and the extensions that are available."""

    entries: tuple[Entry, ...] = ()
    extensions: Mapping[str, Extension] | None = None
    """By name, what the server has files of or the database has created; None means nobody asked."""
    ledger_version: int | None = None
    """None: the database has no ledger yet."""
    last_events: tuple[LastEvent, ...] = ()
    """Of each migration whose last attempt failed, or whose missing file is forgotten: the last one."""
    last_success: datetime | None = None
    """When a run last ended with nothing failed."""
    standby: bool = False
    """The server only follows another one."""
