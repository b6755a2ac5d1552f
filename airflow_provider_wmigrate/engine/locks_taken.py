"""The locks that a migration took, and what became of one where it was run on a scratch database."""

from __future__ import annotations

from typing import Any, Literal

from .plain import Plain


class LockTaken(Plain, frozen=True, gc=False):
    """A lock a migration held just before commit. In a dry run, also the locks of those that ran before it."""

    relation: str
    """As it was called when the migration began; what the migration made, as it was called in the end."""
    mode: str
    held_ms: int | None = None
    """How long it was seen to be held, of an AccessExclusive lock on a relation that existed before."""
    dropped: bool = False
    """The migration dropped it."""
    parts: int = 0
    """How many of its chunks or partitions were locked in this mode."""
    whole: bool = True
    """It was locked itself; else only these parts of it."""

    @property
    def what(self) -> str:
        """The relation, with its parts."""
        if not self.parts:
            return self.relation
        parts = f"{self.parts:,} {'chunk or partition' if self.parts == 1 else 'chunks or partitions'}"
        return f"{self.relation} and its {parts}" if self.whole else f"{parts} of {self.relation}"

    def as_dict(self) -> dict[str, Any]:
        known = Plain.as_dict(self)
        return known if self.parts else {name: known[name] for name in ("relation", "mode", "held_ms", "dropped")}

    def __str__(self) -> str:
        return f"{self.what} ({self.mode}{', dropped' if self.dropped else ''})"


class OnScratch(Plain, frozen=True):
    """What became of a script on a scratch database, which has the schema that the folder makes, and no rows but those
    that the migrations write."""

    outcome: Literal["ran", "failed", "not_tried"]
    duration_ms: int = 0
    rows: int = 0
    locks: tuple[LockTaken, ...] = ()
    """Of a script that is one transaction."""
    reason: str | None = None
    """Of `failed` and `not_tried`: why."""

    def as_dict(self) -> dict[str, Any]:
        return Plain.as_dict(self) | {"told": str(self)}

    def __str__(self) -> str:
        if self.outcome == "ran":
            return f"on a scratch database, which has no rows of the target, it ran in {self.duration_ms} ms"
        return f"{'it failed' if self.outcome == 'failed' else 'nor was it tried'} on a scratch database: {self.reason}"
