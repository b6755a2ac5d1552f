"""What differs between two snapshots, as sentences for a review. Pure."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .facts import Fact, Snapshot

Change = Literal["added", "removed", "changed", "unseen"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same.

    :param change: `unseen`: of this kind, one of the two could not be seen, so nobody knows whether they are the same.
    :param attribute: of a fact that is on both sides, the one that differs.
    :param before: its value, None where there was none; of what was removed, all attributes; of `unseen`, why.
    :param after: likewise of the second snapshot.
    :param parts: of a table or the like that was added or removed: how many facts of each kind went with it.
    """

    kind: str
    identity: str
    change: Change
    attribute: str = ""
    before: Any = None
    after: Any = None
    parts: tuple[tuple[str, int], ...] = field(default=(), compare=False)

    @property
    def sentence(self) -> str:
        """`column warehouse.equipment.model: varchar(100) -> text`."""
        if self.change == "unseen":
            return f"facts of the kind {self.kind} cannot be compared: {self.before or self.after}"
        subject = f"{self.kind} {self.identity}"
        if self.change != "changed":
            verb = "is new" if self.change == "added" else "is gone"
            return f"{subject} {verb}{self._with_parts}"
        if self._is_long:
            return f"{subject}: {self._attribute or 'text'} differs"
        said = f"{self._attribute} " if self._attribute else ""
        return f"{subject}: {said}{_words(self.before)} -> {_words(self.after)}"

    @property
    def lines(self) -> tuple[str, ...]:
        """Of a long text that differs: which of its lines, as `diff -u` writes them; else none."""
        if self.change != "changed" or not self._is_long:
            return ()
        was, now = ([] if text is None else str(text).splitlines() for text in (self.before, self.after))
        return tuple(difflib.unified_diff(was, now, lineterm="", n=1))[2:]

    @property
    def _attribute(self) -> str:
        """A column's type goes without saying."""
        return "" if self.attribute in ("type", "text") else self.attribute.replace("_", " ")

    @property
    def _is_long(self) -> bool:
        return any(isinstance(v, str) and ("\n" in v or len(v) > 120) for v in (self.before, self.after))

    @property
    def _with_parts(self) -> str:
        if not self.parts:
            return ""
        return ", with " + ", ".join(f"{number} x {kind}" for kind, number in self.parts)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "identity": self.identity,
            "change": self.change,
            "attribute": self.attribute,
            "before": self.before,
            "after": self.after,
            "parts": dict(self.parts),
            "sentence": self.sentence,
        }


_SHORT = {
    "character varying": "varchar",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        for long, short in _SHORT.items():
            value = value.replace(long, short)
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value, ensure_ascii=False)


def diff(before: Snapshot, after: Snapshot) -> tuple[Difference, ...]:
    """What differs, by kind and identity. What is a part of a table, view or type that came or went is counted there.

    Of kinds that one of the two could not see there is one difference that says so, and no other.

    :raises ValueError: they are of different formats.
    """
    if before.format != after.format:
        raise ValueError(f"snapshots of formats {before.format} and {after.format}")
    hidden = {*before.unseen, *after.unseen}
    unseen = [
        Difference(k, "", "unseen", before=before.unseen.get(k), after=after.unseen.get(k)) for k in sorted(hidden)
    ]
    old, new = (_by_name(f for f in s.facts if f.group not in hidden) for s in (before, after))
    found = [d for key in sorted({*old, *new}) for d in _differences(old.get(key), new.get(key))]
    return (*unseen, *_folded(found, old, new))


def _by_name(facts: Iterable[Fact]) -> dict[tuple[str, str], Fact]:
    return {(fact.kind, fact.identity): fact for fact in facts}


def _differences(old: Fact | None, new: Fact | None) -> Iterator[Difference]:
    if old is None or new is None:
        one = old or new
        assert one is not None
        attributes = one.attributes
        yield Difference(
            one.kind,
            one.identity,
            "removed" if old else "added",
            before=attributes if old else None,
            after=None if old else attributes,
        )
    elif old.hash != new.hash:
        was, now = old.attributes, new.attributes
        for name in sorted({*was, *now}):
            if was.get(name) != now.get(name):
                yield Difference(old.kind, old.identity, "changed", name, was.get(name), now.get(name))


def _folded(
    found: list[Difference], old: dict[tuple[str, str], Fact], new: dict[tuple[str, str], Fact]
) -> Iterator[Difference]:
    """Without the parts of what came or went as a whole."""
    wholes = {(d.identity, d.change) for d in found if d.change != "changed" and not _of(d, old, new)}
    parts: dict[tuple[str, str], Counter[str]] = {whole: Counter() for whole in wholes}
    kept = []
    for difference in found:
        whole = (_of(difference, old, new), difference.change)
        if whole in wholes:
            parts[whole][difference.kind] += 1
        else:
            kept.append(difference)
    for difference in kept:
        counted = parts.get((difference.identity, difference.change))
        is_whole = counted and not _of(difference, old, new)
        yield replace(difference, parts=tuple(sorted(counted.items()))) if counted and is_whole else difference


def _of(difference: Difference, old: dict[tuple[str, str], Fact], new: dict[tuple[str, str], Fact]) -> str:
    key = (difference.kind, difference.identity)
    return (new.get(key) or old[key]).of


def remarks(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """What is shown and is no difference: tables whose columns stand in another order, other versions of extensions."""
    return (*_reordered(before, after), *_versions(before, after))


def _reordered(before: Snapshot, after: Snapshot) -> Iterator[str]:
    old, new = _columns(before), _columns(after)
    for table in sorted(old.keys() & new.keys()):
        were, are = old[table], new[table]
        common = set(were) & set(are)
        if [c for c in were if c in common] != [c for c in are if c in common]:
            yield f"columns of {table}: {', '.join(were)} -> {', '.join(are)}"


def _columns(snapshot: Snapshot) -> dict[str, list[str]]:
    """By table, the names of its columns in their order."""
    found: dict[str, list[tuple[int, str]]] = {}
    for fact in snapshot.facts:
        if fact.kind in ("column", "attribute"):
            found.setdefault(fact.of, []).append((fact.remarks["position"], fact.identity.removeprefix(f"{fact.of}.")))
    return {table: [name for _, name in sorted(columns)] for table, columns in found.items()}


def _versions(before: Snapshot, after: Snapshot) -> Iterator[str]:
    old, new = ({f.identity: f.remarks["version"] for f in s.facts if f.kind == "extension"} for s in (before, after))
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            yield f"extension {name}: version {old[name]} -> {new[name]}"
