"""The audit log's rows as a chain of hashes: what a row's hash is over, and where a chain breaks. Pure.

A change behind the trigger that refuses changes is found, because the chain does not add up any more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import LedgerDamaged
from airflow_provider_wmigrate.engine.model import Finding

from .storable import canonical_json

GENESIS = "0" * 64
"""What stands for the hash of the row before the first one."""

NO_LEDGER = "the ledger is gone"

_HEAD = re.compile(r"(0|[1-9][0-9]{0,18}):([0-9a-f]{64})")

HEAD = "audit_head"
"""Key of application_metadata under which the chain's length and last hash stand."""


class AuditRow(Struct, frozen=True):
    """One row of audit_log, in the order in which its columns are hashed."""

    position: int
    at: datetime
    event: str
    version: str | None
    actor: str
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    try_number: int | None
    duration_ms: int | None
    details: dict[str, Any]
    previous_hash: str
    hash: str

    @property
    def authenticated(self) -> dict[str, Any] | None:
        """Whom the server knew at the other end: `user` (the role that logged in), `address` and `pid`; `actor` is only
        what the caller said of itself. None: the row is older than that."""
        session = self.details.get("session") if isinstance(self.details, dict) else None
        return session if isinstance(session, dict) else None

    @property
    def head(self) -> str:
        """Of the log that ends with this row, `count:hash`."""
        return f"{self.position}:{self.hash}"

    def canonical(self) -> str:
        """The text that is hashed, as docs/ledger.md says it: JSON of all columns but `hash`."""
        return _canonical({name: getattr(self, name) for name in COLUMNS if name != "hash"})

    def line(self) -> str:
        """The row as a line of an export: the canonical text, and `hash`."""
        return f'{self.canonical()[:-1]},"hash":"{self.hash}"}}'

    def computed_hash(self) -> str:
        """SHA-256 of the canonical text in UTF-8, as lower-case hexadecimal digits."""
        return _hash(self.canonical())


COLUMNS = AuditRow.__struct_fields__


def _canonical(values: dict[str, Any], details: str | None = None) -> str:
    """:param details: their canonical text, if it was made already: most of a row is this."""
    values = {**values, "at": values["at"].astimezone(timezone.utc).isoformat(timespec="microseconds")}
    if details is None:
        return canonical_json(values)
    before = {name: values[name] for name in values if name < "details"}
    after = {name: values[name] for name in values if name > "details"}
    return f'{canonical_json(before)[:-1]},"details":{details},{canonical_json(after)[1:]}'


def _hash(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()


def following(
    head: str | None,
    schema: str,
    at: datetime,
    event: str,
    version: str | None,
    who: Mapping[str, Any],
    duration_ms: int | None,
    details: dict[str, Any],
    text: str | None = None,
) -> AuditRow:
    """The row behind the last one.

    :param head: of the log, under a lock that is held to the commit.
    :param schema: of the ledger, for a message.
    :param who: the columns that say it.
    :param text: of the details, canonical, if it was made already.
    :raises LedgerDamaged: there is no head.
    """
    count = position(head or "")
    if count is None or head is None:
        raise damaged(f"{schema}.application_metadata has no {HEAD}")
    values = {
        "position": count + 1,
        "at": at,
        "event": event,
        "version": version,
        **who,
        "duration_ms": duration_ms,
        "details": details,
        "previous_hash": head.partition(":")[2],
    }
    return AuditRow(**values, hash=_hash(_canonical(values, text)))


def settles(event: str, version: str | None, said: bool | None) -> bool:
    """Whether a row says what the entry of its version is from here on.

    :param said: what the writer says; None: as the event is.
    """
    if version is None:
        return False
    from airflow_provider_wmigrate.engine.codes import NOT_SETTLING  # readers do not pay for it

    return event not in NOT_SETTLING if said is None else said


def damaged(message: str) -> LedgerDamaged:
    return LedgerDamaged(message, hint="restore the ledger, or choose another settings.ledger.schema")


def first_break(
    rows: Iterable[AuditRow], *, before: tuple[int, str], expected: str | None, head: Callable[[], str | None]
) -> Finding | None:
    """The first break of a chain; what follows it says nothing any more.

    :param rows: those to recompute, in order.
    :param before: position and hash of the row before them.
    :param expected: a head that one of them must have been; None: none is looked for.
    :param head: the head as application_metadata has it, asked when all rows are read.
    """
    count, previous = before
    for row in rows:
        count += 1
        reason = broken_at(row, count, previous)
        if reason:
            return broken(reason, count)
        previous = row.hash
        if expected == f"{count}:{previous}":
            expected = None
    now = head()
    if now != f"{count}:{previous}":
        return broken(f"the chain ends at row {count}, its head says {now}", count)
    return broken(f"the chain never passed through {expected}", count) if expected is not None else None


def broken_at(row: AuditRow, place: int, previous: str) -> str | None:
    """Why this row cannot be the one at this place of the chain; None: it can.

    :param previous: the hash of the row before it.
    """
    if row.position != place:
        return f"row {place} is gone or out of place: found row {row.position}"
    if row.previous_hash != previous:
        return f"row {place} does not follow the row before it"
    if row.computed_hash() != row.hash:
        return f"row {place} ({row.event}) was changed"
    return None


def last_left_out(head: str | None, last: int | None) -> int:
    """The position of the row before the newest `last` ones; 0: all are to be recomputed."""
    count = (head or "").partition(":")[0]
    return max(int(count) - last, 0) if last is not None and count.isdecimal() else 0


# A head that was kept outside the database, compared with the log as it is now


def position(head: str) -> int | None:
    """The number of rows in a head, `count:hash`; None: it is no head."""
    found = _HEAD.fullmatch(head)
    return int(found[1]) if found else None


def contradiction(known: str, now: str | None, there: str | None) -> str | None:
    """Why the log in the database is not the one that `known` was read from, nor that one continued; None: it is.

    :param known: the head kept outside, `count:hash`.
    :param now: the head in the database; None: it has no ledger.
    :param there: the hash of the row at the position that `known` names; None: no such row.
    """
    count = position(known)
    if count is None:
        return f"{known!r} is no head, which is COUNT:HASH"
    if now is None:
        return f"{NO_LEDGER}, which had {count} rows at head {known}"
    there = GENESIS if count == 0 else there
    if there is None:
        return f"it was cut off: its head was {known} and is {now}"
    if known != f"{count}:{there}":
        return f"it is another chain: row {count} has the hash {there}, and the known head is {known}"
    return None


def broken(message: str, row: int | None = None) -> Finding:
    """The finding for a log that is not what it was."""
    return Finding(
        "audit_chain_broken",
        f"audit_log: {message}",
        "compare with a backup, and find out who has write access to the ledger",
        line=row,
    )
