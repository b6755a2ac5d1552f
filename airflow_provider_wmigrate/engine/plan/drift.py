"""The schema as it is, compared with what is known of it: what others have changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import Difference, diff
from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Fact, Snapshot, ordered
from airflow_provider_wmigrate.engine.folder.config.settings import DriftPolicy
from airflow_provider_wmigrate.engine.model import Finding

from .others import OthersChange

FIRST = 3
"""How many differences a finding tells; `wmigrate drift` tells all."""


class Known(Struct, frozen=True):
    """The schema that the ledger keeps: what runs of wmigrate have made, and what a person has accepted.

    :param version: the highest that was applied then; empty: none.
    :param position: the last row of the audit log before the schema was read.
    :param fingerprint: as it was written; another one than the facts have if somebody has changed them.
    """

    number: int
    at: datetime
    version: str
    position: int
    fingerprint: str
    snapshot: Snapshot

    @property
    def since(self) -> str:
        """`after 003 (2026-01-31 12:00 UTC)`."""
        what = f"after {self.version}" if self.version else "before any migration"
        return f"{what} ({self.at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC)"

    def useless(self, now: Snapshot) -> str:
        """Why nothing can be compared with it; empty: it can."""
        if self.snapshot.format != now.format:
            return f"the known schema was kept in format {self.snapshot.format}, this wmigrate compares {now.format}"
        if self.snapshot.fingerprint != self.fingerprint:
            return "the known schema is not what wmigrate wrote into the ledger: somebody has changed it there"
        return ""


class Drift(Struct, frozen=True, dict=True):
    """What differs now.

    :param known: None: nothing has been kept yet.
    :param unkept: versions that were applied or rolled back behind it, by runs that have not kept what they did.
    :param recorded: what the watch knows of others, the newest first.
    """

    known: Known | None
    now: Snapshot
    unkept: tuple[str, ...] = ()
    recorded: tuple[OthersChange, ...] = ()

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """Without kinds that could not be seen when the schema was kept; they are in its `unseen`."""
        if self.known is None or self.known.useless(self.now):
            return ()
        before = self.known.snapshot
        return tuple(d for d in diff(before, self.now) if d.change != "unseen" or d.kind not in before.unseen)

    def last_change(self, difference: Difference) -> OthersChange | None:
        """What others did last to the object of a difference, as far as it was recorded."""
        about = (change for change in self.recorded if change.is_about(difference.kind, difference.identity))
        return next(about, None)

    def _told(self, difference: Difference) -> str:
        change = self.last_change(difference)
        return f"{difference.sentence} ({change.sentence})" if change else difference.sentence

    @property
    def sentence(self) -> str:
        """What is wrong; empty: nothing."""
        if self.known is None:
            return "the ledger keeps no known schema yet, so nobody can say what others have changed"
        useless = self.known.useless(self.now)
        if useless or not self.differences:
            return useless
        told = "; ".join(self._told(d) for d in self.differences[:FIRST])
        count = len(self.differences)
        more = f" (and {count - FIRST} more)" if count > FIRST else ""
        what = "1 difference" if count == 1 else f"{count} differences"
        return f"the schema has {what} from what was known {self.known.since}: {told}{more}{self.cause}"

    @property
    def cause(self) -> str:
        """That some of it may be the work of migrations; else empty."""
        if not self.unkept:
            return ""
        was = "was" if len(self.unkept) == 1 else "were"
        names = ", ".join(self.unkept)
        return f"; {names} {was} applied or rolled back after that, by a run that has not ended or was killed"

    @property
    def next_step(self) -> str:
        if self.known is None:
            return "the next migration that runs keeps one; to keep what is there now: `wmigrate drift --accept`"
        return "undo it, or take what is there now as known: `wmigrate drift --accept`"

    def finding(self, policy: DriftPolicy) -> Finding | None:
        """Nothing kept yet is never an error: the first run could not begin."""
        if not self.sentence:
            return None
        is_error = policy == "error" and self.known is not None
        look = "`wmigrate drift` tells all; " if self.differences else ""
        return Finding("drift", self.sentence, f"{look}{self.next_step}", severity="error" if is_error else "warning")


def merged(known: Snapshot, before: Snapshot, after: Snapshot) -> Snapshot:
    """What is known after a run: what the run has changed is as it is now, all else as it was known. So what others
    have changed stays a difference until a person accepts it.

    :param before: the schema when the run began. :param after: when it ended.
    """
    hidden = {*known.unseen, *before.unseen, *after.unseen}
    old, new, facts = (_by_name(s.facts) for s in (before, after, known))
    for key in {*old, *new}:
        one = new.get(key) or old[key]
        if old.get(key) == new.get(key) or one.group in hidden:
            continue
        facts.pop(key, None)
        if key in new:
            facts[key] = new[key]
    return replace(after, facts=ordered(facts.values()), unseen=known.unseen)


def _by_name(facts: Iterable[Fact]) -> dict[tuple[str, str], Fact]:
    return {(fact.kind, fact.identity): fact for fact in facts}
