"""What the catalogs say of the relations that a script names, and of what hangs on them: the facts from which
`plan/locks_needed` foresees its locks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field

from airflow_provider_wmigrate.engine.sql.script import Analysis

from . import relations_sql
from .relations_wanted import wanted

BLOCK = 8192
"""Bytes of a page; a server that was built with others has sizes that are told too small or too large."""


class Relation(NamedTuple):
    """A row of pg_class."""

    oid: int
    schema: str
    name: str
    quoted: str
    """`%I.%I`"""
    kind: str
    """pg_class.relkind."""
    right: int
    """The strongest mode that this role may take with LOCK TABLE, as a number of LockMode; 0: none."""
    pages: int
    """Of the table, its TOAST and its indexes, as the last VACUUM or ANALYZE saw them, or about those for its rows."""
    table: int | None
    """Of an index: its table."""
    of_type: int
    """Of a typed table: the type."""
    row_type: int
    unlogged: bool

    @property
    def size_bytes(self) -> int:
        return self.pages * BLOCK


class Constraint(NamedTuple):
    """A row of pg_constraint."""

    oid: int
    relation: int
    name: str
    kind: str
    """pg_constraint.contype."""
    references: int
    """Of a foreign key: the table that it points at."""
    valid: bool
    no_inherit: bool
    on_delete: str
    on_update: str
    columns: tuple[int, ...]
    their_columns: tuple[int, ...]


class Column(NamedTuple):
    number: int
    name: str
    type: str
    not_null: bool


class Sequence(NamedTuple):
    """A sequence that a column uses."""

    column: int
    oid: int
    how: str
    """identity, owned, or default: the column's default calls it."""


class Trigger(NamedTuple):
    """One that a user made."""

    name: str
    kind: int
    """pg_trigger.tgtype."""
    enabled: str

    @property
    def fires(self) -> bool:
        """Outside of replication."""
        return self.enabled in ("O", "A")

    @property
    def for_each_row(self) -> bool:
        return bool(self.kind & 1)


class Thing(NamedTuple):
    """An object as pg_depend writes it: its catalog, its oid, the column or 0."""

    catalog: str
    oid: int
    column: int = 0


class Function(NamedTuple):
    schema: str
    name: str
    harmless: bool
    """It locks no relation of its own: a builtin, one in C, an immutable one."""
    volatile: bool


Grouped = Mapping[int, tuple[Any, ...]]


class RelationFacts(Struct, frozen=True):
    """What is so before the script runs. Of what is not here nothing is known: it does not exist, or is not named."""

    version: int = 0
    """The server's, as server_version_num."""
    user: str = ""
    path: tuple[str, ...] = ()
    """The schemas in which a name is looked for, in this order, when the script begins."""
    schemas: frozenset[str] = frozenset()
    relations: Mapping[int, Relation] = field(default_factory=dict)
    by_name: Mapping[tuple[str, str], Relation] = field(default_factory=dict)
    children: Grouped = field(default_factory=dict)
    parents: Grouped = field(default_factory=dict)
    defaults: Mapping[int, int] = field(default_factory=dict)
    """Partitioned table -> its default partition."""
    constraints: Grouped = field(default_factory=dict)
    """By the table that has them."""
    incoming: Grouped = field(default_factory=dict)
    """Foreign keys by the table that they point at."""
    uniques: Grouped = field(default_factory=dict)
    """Table -> its unique indexes to which a foreign key may point: number, numbers of the columns."""
    bases: Grouped = field(default_factory=dict)
    """View -> what its query reads."""
    sequences: Grouped = field(default_factory=dict)
    columns: Grouped = field(default_factory=dict)
    triggers: Grouped = field(default_factory=dict)
    rules: Grouped = field(default_factory=dict)
    published: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    runs: Grouped = field(default_factory=dict)
    """Relation -> where it calls a function that is not harmless: view, default, constraint, policy; its name."""
    secured: frozenset[int] = frozenset()
    """Tables whose row security holds for this role."""
    event_triggers: tuple[tuple[str, str, list[str]], ...] = ()
    """Name, event, command tags (none: all) of those that run a function into which nobody can see."""
    policies: Grouped = field(default_factory=dict)
    """Names of row security policies."""
    functions: Mapping[str, tuple[Function, ...]] = field(default_factory=dict)
    domains: frozenset[str] = frozenset()
    """Names of the domains that the script names."""
    objects: Mapping[tuple[str, str], tuple[tuple[int, str | None], ...]] = field(default_factory=dict)
    """Catalog and name -> oid and schema of what is no relation."""
    parts: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """Catalog and oid of a constraint, default, trigger, rule, policy, statistics -> its relation."""
    dependents: Mapping[tuple[str, int], tuple[tuple[int, Thing, str], ...]] = field(default_factory=dict)
    """Object -> column of it, what depends on that, pg_depend.deptype."""
    belongs: Mapping[Thing, tuple[Thing, ...]] = field(default_factory=dict)
    """Object -> what it is an internal part of."""

    def descendants(self, oid: int) -> Iterator[int]:
        """A table's children and partitions, and theirs."""
        seen, todo = {oid}, [oid]
        while todo:
            for child in self.children.get(todo.pop(), ()):
                if child not in seen:
                    seen.add(child)
                    todo.append(child)
                    yield child

    def falls(self, roots: Iterable[Thing], *, cascade: bool) -> set[Thing]:
        """These objects, and what is dropped together with them.

        :param cascade: also what only CASCADE takes along.
        """
        found: set[Thing] = set()
        todo = list(roots)
        while todo:
            thing = todo.pop()
            if thing in found:
                continue
            found.add(thing)
            for column, dependent, how in self.dependents.get((thing.catalog, thing.oid), ()):
                if (how != "n" or cascade) and thing.column in (0, column):
                    todo.append(dependent)
            todo.extend(self.belongs.get(thing, ()))
        return found


def relations_query(analysis: Analysis, server_version: int = 0, also: Iterable[str] = ()) -> str:
    """One SELECT of one text, for a message of several statements too: the facts of what a script names.

    It looks at the schemas that the session's search path has when it runs.

    :param server_version: of the target, as libpq tells it.
    :param also: further names, without their schemas.
    """
    asked = wanted(analysis)
    return relations_sql.text(asked._replace(names=asked.names.union(also)), server_version)


def relations_message(query: str) -> bytes:
    """A query for facts as a message; the answer is the second of three.

    The server thinks that it costs much, and would compile it for seconds where it runs for milliseconds.
    """
    return b"SELECT pg_catalog.set_config('jit', 'off', true); %s; SET LOCAL jit TO DEFAULT" % query.encode()


def relation_facts(answer: str | Mapping[str, Any] | None) -> RelationFacts:
    """What the answer to `relations_query` says."""
    found = json.loads(answer) if isinstance(answer, str) else answer
    if not found:
        return RelationFacts()
    rows: dict[str, list[Any]] = defaultdict(list, {key: value or [] for key, value in found.items()})
    relations = {row[0]: Relation(*row) for row in rows["relations"]}
    constraints = [_constraint(row) for row in rows["constraints"]]
    edges = [(Thing(*row[:3]), Thing(*row[3:6]), row[6]) for row in rows["depends"]]
    return RelationFacts(
        version=found["version"],
        user=found["user"],
        path=tuple(found["path"]),
        schemas=frozenset(rows["schemas"]),
        relations=relations,
        by_name={(relation.schema, relation.name): relation for relation in relations.values()},
        children=_grouped((parent, child) for child, parent in rows["inherits"]),
        parents=_grouped(rows["inherits"]),
        defaults={parent: child for parent, child in rows["defaults"]},
        constraints=_grouped((k.relation, k) for k in constraints),
        incoming=_grouped((k.references, k) for k in constraints if k.references),
        uniques=_grouped((table, (index, tuple(columns))) for table, index, columns in rows["uniques"]),
        bases=_grouped(rows["bases"]),
        sequences=_grouped((row[0], Sequence(*row[1:])) for row in rows["sequences"]),
        columns=_grouped((row[0], Column(*row[1:])) for row in rows["columns"]),
        triggers=_grouped((row[0], Trigger(*row[1:])) for row in rows["triggers"]),
        rules=_grouped((row[0], tuple(row[1:])) for row in rows["rules"]),
        runs=_grouped((row[0], (row[1], row[2])) for row in rows["runs"]),
        secured=frozenset(rows["secured"]),
        policies=_grouped(rows["policies"]),
        event_triggers=tuple((name, event, tags or []) for name, event, tags in rows["events"]),
        published=_grouped(rows["published"]),
        functions=_grouped((row[1], Function(*row)) for row in rows["functions"]),
        domains=frozenset(rows["domains"]),
        objects=_grouped(((row[0], row[2]), (row[1], row[3])) for row in rows["objects"]),
        parts={(row[0], row[1]): row[2] for row in rows["parts"]},
        dependents=_grouped(((on.catalog, on.oid), (on.column, thing, how)) for thing, on, how in edges),
        belongs=_grouped((thing, on) for thing, on, how in edges if how == "i"),
    )


def _constraint(row: list[Any]) -> Constraint:
    *plain, columns, theirs = row
    return Constraint._make([*plain, tuple(columns or ()), tuple(theirs or ())])


def _grouped(pairs: Iterable[Any]) -> dict[Any, tuple[Any, ...]]:
    found = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: tuple(values) for key, values in found.items()}
