"""What is foreseen of a migration: who would wait, what is lost, who uses what goes. Values alone."""

from __future__ import annotations

from .lock_modes import KnownBy, LongWork
from .plain import Plain
from .usage import BlastRadius


class LockForecast(Plain, frozen=True):
    """A relation of which a migration will lock something, and what that means for others."""

    relation: str
    """As the server quotes it, with its chunks and partitions: `public.orders and its 12 chunks or partitions`."""
    mode: str
    """As pg_locks shows it."""
    who_waits: str
    """In plain words, and for how long."""
    work: LongWork | None = None
    size_bytes: int = 0
    """Of the table with its indexes, as the last VACUUM or ANALYZE saw them; 0: not known, or empty."""
    known_by: KnownBy = "script"


class Loss(Plain, frozen=True):
    """Something that a rollback takes away."""

    what: str | None
    """The table, view or column; None: nobody can see what goes."""
    rows: int | None
    """Of a column, its values. None: not known, or it has none of its own."""
    counted: bool
    """Else the rows are an estimate, from the server's statistics."""
    told: str
    """In plain words."""


class Forecast(Plain, frozen=True):
    """What a migration will lock of what exists before it, foreseen from its script and the catalogs."""

    version: str
    locks: tuple[LockForecast, ...] = ()
    """Strongest first. What is only read is left out: it stands in nobody's way."""
    unforeseen: tuple[str, ...] = ()
    """Statements whose locks only their run can tell, and why, unless they were learnt from a dry run or declared."""
    late: tuple[str, ...] = ()
    """Locks that are not taken before the first statement, but just before their own, and why."""
    differences: tuple[str, ...] = ()
    """Of a dry run: what was not as foreseen."""
    losses: tuple[Loss, ...] = ()
    """Of a rollback."""
    gives_back: tuple[str, ...] = ()
    """Of a rollback: what was kept; of an apply: that it will be."""
    blast: BlastRadius | None = None
    """Who uses what it drops, renames or gives another type; None: it does nothing of the kind."""

    def lines(self) -> list[str]:
        """As a person reads it; empty: it takes away and locks nothing that is there before it."""
        return [
            *(loss.told for loss in self.losses),
            *self.gives_back,
            *(self.blast.lines() if self.blast else ()),
            *(lock.who_waits for lock in self.locks),
            *self.unforeseen,
            *self.late,
        ]
