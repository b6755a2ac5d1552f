"""A head of the audit log that was kept outside the database, compared with the log as it is now. Pure."""

from __future__ import annotations

import re

from airflow_provider_wmigrate.engine.model import Finding

GENESIS = "0" * 64
"""What stands for the hash of the row before the first one."""

NO_LEDGER = "the ledger is gone"

_HEAD = re.compile(r"(0|[1-9][0-9]{0,18}):([0-9a-f]{64})")


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
