"""What the watch has recorded of the DDL of others: as rows for the audit log, and beside the differences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import groupby
from typing import Any

from msgspec import Struct

PER_ROW = 100
"""How many changes one row of the audit log tells, at the most: the restore of a dump makes ten thousand."""


class OthersChange(Struct, frozen=True):
    """One command of somebody who is not wmigrate.

    :param role: taken with SET ROLE; None: none.
    :param address: None: the client came over a socket of the server's machine.
    :param objects: kind and name, `table public.orders`; of GRANT and REVOKE, the server tells the kind alone.
    :param count: how many there were; the first hundred are in `objects`.
    """

    at: datetime
    login: str
    role: str | None
    address: str | None
    application_name: str
    pid: int
    command: str
    objects: tuple[str, ...]
    count: int

    @property
    def sentence(self) -> str:
        """`ALTER TABLE by bob from 10.0.0.7 with psql, 2026-01-31 12:00 UTC`."""
        role = f" as {self.role}" if self.role and self.role != self.login else ""
        where = f" from {self.address}" if self.address else ""
        what = f" with {self.application_name}" if self.application_name else ""
        return (
            f"{self.command} by {self.login}{role}{where}{what}, {self.at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
        )

    def is_about(self, kind: str, identity: str) -> bool:
        """Whether it may have made a difference of this kind."""
        if self.command in ("GRANT", "REVOKE") and kind.startswith("grant"):
            return kind.removeprefix("grant on ") in self.objects
        return any(_holds(each, kind, identity) for each in self.objects)


def _holds(told: str, kind: str, identity: str) -> bool:
    """Whether an object is this one, or what it is a part of."""
    if told == f"{kind} {identity}" or told.endswith(f" {identity}"):
        return True
    *_, name = told.rpartition(" ")
    return identity.startswith(f"{name}.") or identity.endswith(f" on {name}")


def audit_details(changes: Iterable[OthersChange]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Who, and the details of a row of the audit log: one for each session, or more of a long one."""

    def session(change: OthersChange) -> tuple[Any, ...]:
        return change.pid, change.login, change.address or "", change.application_name

    for _, group in groupby(sorted(changes, key=lambda c: (session(c), c.at)), key=session):
        all_of_it = list(group)
        for first in range(0, len(all_of_it), PER_ROW):
            part = all_of_it[first : first + PER_ROW]
            by = {
                "login": part[0].login,
                "address": part[0].address,
                "application_name": part[0].application_name,
                "pid": part[0].pid,
            }
            told = [
                {"at": c.at.isoformat(), "command": c.command, "role": c.role, "objects": c.objects, "count": c.count}
                for c in part
            ]
            yield part[0].login, {"by": by, "changes": told}


def from_details(details: Any) -> list[OthersChange]:
    """The changes that a row of the audit log tells; none of a row that wmigrate has not written, which `audit verify`
    finds."""
    try:
        return [
            OthersChange(
                **{
                    **details["by"],
                    **told,
                    "at": datetime.fromisoformat(told["at"]),
                    "objects": tuple(map(str, told["objects"])),
                }
            )
            for told in details["changes"]
        ]
    except (KeyError, TypeError, ValueError):
        return []
