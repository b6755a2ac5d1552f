"""A database's schema as a set of facts, each with a hash, rolled up to one fingerprint. Pure.

Hashes and fingerprints are over texts alone, so that they are the same on another server, after a dump and restore, and
read back from a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import WMigrateError

FORMAT = 1
"""Counts up when the same schema gives other facts: fingerprints of different formats are not compared."""


class Fact(NamedTuple):
    """One thing that a schema has."""

    kind: str
    """Such as `table`, `column`, `grant on table`; see docs/snapshots.md."""
    identity: str
    """Unique within its kind: `warehouse.equipment.model`, `warehouse.restock(integer)`, `stamp on warehouse.items`."""
    schema: str
    """The schema that it is in; empty: none."""
    of: str
    """The table, view or type that it is a part of, as that one's identity; empty: it stands for itself."""
    text: str
    """Its attributes as canonical JSON; see `canonical`."""
    shown: str
    """Canonical JSON of what is shown and is no difference, such as the place of a column; empty: nothing."""
    hash: str
    """SHA-256 of kind, identity and text, in hexadecimal digits."""

    @property
    def group(self) -> str:
        """Its kind; of a grant, on whatever it is, `grant`."""
        return self.kind.partition(" on ")[0]

    @property
    def attributes(self) -> dict[str, Any]:
        return json.loads(self.text)  # type: ignore[no-any-return]

    @property
    def remarks(self) -> dict[str, Any]:
        """What is shown and is no difference."""
        return json.loads(self.shown) if self.shown else {}


def fact(kind: str, identity: str, schema: str, of: str, text: str, shown: str = "") -> Fact:
    """:param text: canonical, as `shown` is."""
    digest = hashlib.sha256(f"{kind}\n{identity}\n{text}".encode()).hexdigest()
    return Fact(kind, identity, schema, of, text, shown, digest)


def canonical(values: Mapping[str, Any]) -> str:
    """JSON as PostgreSQL writes a jsonb: shorter keys first, then by bytes. What the server has made is hashed as it
    came, and this makes the same text again."""
    return json.dumps(_ordered(values), ensure_ascii=False)


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(each) for each in value] if isinstance(value, list | tuple) else value


class Snapshot(Struct, frozen=True, dict=True):
    """A schema at one moment.

    :param facts: in the order of kind and identity.
    :param unseen: by kind, why this role could not see its facts. They are never taken for none.
    :param not_compared: by kind of object, how many are there that no fact tells of.
    :param server_version: as the server counts, 150004.
    """

    facts: tuple[Fact, ...]
    unseen: Mapping[str, str]
    not_compared: Mapping[str, int]
    server_version: int
    format: int = FORMAT

    @cached_property
    def schemas(self) -> dict[str, str]:
        """Fingerprint by schema; under the empty name that of what is in none."""
        parts: dict[str, Any] = {}
        for each in self.facts:
            if each.schema not in parts:
                parts[each.schema] = hashlib.sha256()
            parts[each.schema].update(each.hash.encode())
        return {name: parts[name].hexdigest() for name in sorted(parts)}

    @cached_property
    def fingerprint(self) -> str:
        """Of the database. What could not be seen is part of it, so that it never equals that of who saw all."""
        lines = [f"{self.format}", *(f"{name}\n{value}" for name, value in self.schemas.items()), *sorted(self.unseen)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """For a file, from which `from_dict` makes the same snapshot."""
        return {
            "format": self.format,
            "fingerprint": self.fingerprint,
            "server_version": self.server_version,
            "schemas": self.schemas,
            "unseen": dict(self.unseen),
            "not_compared": dict(self.not_compared),
            "facts": [_document(each) for each in self.facts],
        }

    @classmethod
    def from_dict(cls, document: Any) -> Snapshot:
        """:raises WMigrateError: it is none, or was changed since it was written."""
        try:
            facts = ordered(
                fact(f["kind"], f["identity"], f["schema"], f["of"], canonical(f["attributes"]), _shown(f["shown"]))
                for f in document["facts"]
            )
            read = cls(
                facts, document["unseen"], document["not_compared"], document["server_version"], document["format"]
            )
            claimed = document["fingerprint"]
        except (KeyError, TypeError, AttributeError) as error:
            raise WMigrateError("this is no snapshot", hint="write one with `wmigrate snapshot --output`") from error
        if read.fingerprint != claimed:
            raise WMigrateError(
                "the facts of this snapshot are not those of its fingerprint", hint="it was changed; write it again"
            )
        return read


def _document(each: Fact) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "identity": each.identity,
        "schema": each.schema,
        "of": each.of,
        "attributes": each.attributes,
        "shown": each.remarks,
        "hash": each.hash,
    }


def _shown(remarks: Mapping[str, Any]) -> str:
    return canonical(remarks) if remarks else ""


def ordered(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """In the one order in which they are hashed."""
    return tuple(sorted(facts))
