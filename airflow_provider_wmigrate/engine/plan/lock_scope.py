"""What a name means at one place of a script, as far as the catalogs knew it before: the search path as the script has
left it, and what it has made, renamed, moved and dropped so far. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import Relation, RelationFacts
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork
from airflow_provider_wmigrate.engine.sql.arguments import constant
from airflow_provider_wmigrate.engine.sql.named import names_in


class Lock(Struct, frozen=True):
    """A statement locks a relation that was there before."""

    relation: int
    mode: LockMode
    work: LongWork | None = None


class Lasting(Struct, frozen=True):
    """A statement takes longer than a moment, on something that the script has made itself."""

    work: LongWork


class Hidden(Struct, frozen=True):
    """A statement locks what only its run can tell."""

    why: str


Taken = Lock | Lasting | Hidden

TEMPORARY = "pg_temp"
SYSTEM = ("pg_catalog", "information_schema")
"""Schemas whose relations nobody's script locks in earnest."""
_SYSTEM = SYSTEM[0]
_CHUNKS = "_timescaledb_internal"
_GONE = -1
"""What a name means that the script has taken away. Below it are the numbers of what the script has made."""
_TIED = (
    *("constraints", "incoming", "uniques", "dependents", "parts", "children", "parents", "bases", "columns"),
    *("sequences", "triggers", "runs", "objects"),
)


class Scope:
    """:ivar facts: what was so before the script, and what it has tied together since (`lock_ties`).
    :ivar other_rights: the script may have become another role, or made row security hold for its own.
    :ivar prepared: statements of PREPARE, by name.
    :param ties: what CREATE TABLE and CREATE INDEX tie is kept too; False: only names are wanted, and most scripts make
        tables and indexes alone.
    """

    def __init__(self, facts: RelationFacts, *, ties: bool = True) -> None:
        self.facts, self.ties = facts, ties
        self.other_rights = False
        self.prepared: dict[str, Any] = {}
        self._path = facts.path
        self._now: dict[tuple[str, str], int] = {}
        self._at: dict[int, tuple[str, str]] = {}
        self._last = _GONE
        self._empty: set[int] = set()
        """Tables that the script has made and into which nothing has put rows, as far as that can be seen."""
        self._behind: dict[int, list[int]] = {}
        """What was there before the script, behind what it has made: children of a table, tables of a view."""
        self.hung: set[tuple[int, str]] = set()
        """Triggers, rules and policies that the script has made: their table, their name."""
        self._new_indexes: dict[tuple[str, str], int | None] = {}
        self._tied = False
        self._kept: dict[str, dict[str, Any]] = {}
        """By savepoint."""
        self._schemas: dict[str, str] = {}
        """Schemas that were renamed: new name -> name in the facts."""

    def savepoint(self, name: str) -> None:
        self._kept[name] = {key: copy(value) for key, value in vars(self).items() if key != "_kept"}
        self._tied = False

    def roll_back_to(self, name: str) -> None:
        """What was made, renamed, set and tied together since is as it was."""
        vars(self).update({key: copy(value) for key, value in self._kept.get(name, {}).items()})
        self._tied = False

    def begin_script(self) -> None:
        """What a script before this one has made, renamed and dropped stays so; what it has set does not."""
        self._path = self.facts.path
        self.prepared.clear()
        self._kept.clear()

    def relation(self, oid: int) -> Relation | None:
        return self.facts.relations.get(oid)

    def put(self, fact: str, key: Any, value: Any) -> None:
        """From here on a fact is another one. The facts of before are left as they were."""
        if not self._tied:
            own: dict[str, Any] = {name: dict(getattr(self.facts, name)) for name in _TIED}
            self.facts = replace(self.facts, **own)
            self._tied = True
        getattr(self.facts, fact)[key] = value

    def find(self, schema: str, name: str) -> int | None:
        """The oid of a relation that was there before the script; None: it is new, or unknown."""
        found = self._look(schema, name)
        return found if found is not None and found >= 0 else None

    def made(self, schema: str, name: str) -> bool:
        """Whether the script has made it."""
        found = self._look(schema, name)
        return found is not None and found < _GONE

    def number(self, node: Any) -> int | None:
        """As `of`, and below zero if the script has made it."""
        return self._look(self._schema_of(node), node.relname)

    def number_of_names(self, names: list[str]) -> int | None:
        """As `of_names`, and below zero if the script has made it."""
        return self._look(names[-2] if len(names) > 1 else "", names[-1]) if names else None

    def made_in(self, schema: str) -> Iterator[int]:
        """What the script has made in a schema."""
        yield from (number for (place, _), number in self._now.items() if place == schema and number < _GONE)

    def empty(self, node: Any) -> bool:
        """Whether a RangeVar names a table that the script has made and that has no rows yet, or a few of VALUES:
        whatever is done with it is over in a moment."""
        return self._look(self._schema_of(node), node.relname) in self._empty

    def behind(self, node: Any) -> Iterator[int]:
        """What was there before the script, of a RangeVar's children or tables that the script has made."""
        for oid in self._behind.get(self._look(self._schema_of(node), node.relname) or 0, ()):
            yield from self.family(oid)

    def put_behind(self, node: Any, oids: Iterable[int]) -> None:
        """Something is a child, or a table of a view, that a RangeVar names."""
        made = self._look(self._schema_of(node), node.relname)
        if made is not None and made < _GONE:
            self._behind.setdefault(made, []).extend(oids)

    def hang(self, node: Any, name: str) -> None:
        """A trigger, rule or policy is made on a RangeVar's table."""
        table = self.of(node)
        if table is not None:
            self.hung.add((table, name))

    def _schema_of(self, node: Any) -> str:
        return TEMPORARY if node.relpersistence == "t" else str(node.schemaname)

    def rows_came(self) -> None:
        """A statement may have put many rows into any table: partitions get those of a parent, triggers add more."""
        self._empty.clear()

    def of(self, node: Any) -> int | None:
        """As `find`, of the grammar's RangeVar."""
        return self.find(self._schema_of(node), node.relname)

    def of_names(self, names: list[str]) -> int | None:
        """As `find`, of a name in parts; a database before the schema does not count."""
        return self.find(names[-2] if len(names) > 1 else "", names[-1]) if names else None

    def family(self, oid: int, *, whole: bool = True) -> Iterator[int]:
        """A table, with its children and partitions unless the script says ONLY."""
        yield oid
        if whole:
            yield from self.facts.descendants(oid)

    def with_partitions(self, table: int, *, whole: bool = True) -> Iterator[int]:
        """A table and its parts, which have its indexes and triggers too; not what merely inherits from it."""
        return self.family(table, whole=whole and self.parted(table))

    def parted(self, table: int | None) -> bool:
        """Whether its children are partitions or chunks."""
        relation = self.relation(table) if table is not None else None
        return relation is not None and (relation.kind == "p" or self.hypertable(relation.oid))

    def hypertable(self, table: int | None) -> bool:
        """Whether TimescaleDB keeps its chunks there where it puts them unless a script says otherwise."""
        children = map(self.relation, self.facts.children.get(table, ()) if table is not None else ())
        return any(child is not None and child.schema == _CHUNKS for child in children)

    def chunks(self, oid: int | None) -> Iterator[int]:
        """Of a hypertable, or of the one that an index belongs to; nothing of any other relation."""
        relation = self.relation(oid) if oid is not None else None
        table = relation and (relation.table or relation.oid)
        if table is not None and self.hypertable(table):
            yield from self.facts.descendants(table)

    def table_of_new_index(self, names: list[str]) -> int | None:
        """The table of an index that the script has made, if it was there before."""
        for schema in self._searched(names[-2] if len(names) > 1 else ""):
            if (schema, names[-1]) in self._new_indexes:
                return self._new_indexes[schema, names[-1]]
        return None

    def _look(self, schema: str, name: str) -> int | None:
        for place in self._searched(schema):
            found = self._now.get((place, name))
            if found is None:
                known = self.facts.by_name.get((self._schemas.get(place, place), name))
                found = known.oid if known else _GONE
            if found != _GONE:
                return found
        return None

    def _searched(self, schema: str) -> tuple[str, ...]:
        if schema:
            return (schema,)
        system = () if _SYSTEM in self._path else (_SYSTEM,)
        return (TEMPORARY, *system, *self._path)

    def schemas(self, schema: str) -> tuple[str, ...]:
        """Where an object of any kind is looked for, as the facts call it."""
        return tuple(self._schemas.get(place, place) for place in self._searched(schema))

    def make(self, node: Any, *, replaces: bool = True, empty: bool = False) -> None:
        """The script has made what a RangeVar names.

        :param replaces: False: IF NOT EXISTS; what was there stays.
        :param empty: it is a table; `rows_came` tells if it is made with rows.
        """
        schema = TEMPORARY if node.relpersistence == "t" else node.schemaname or self._creation()
        if replaces or self._look(schema, node.relname) is None:
            self._now[schema, node.relname] = self.new_number()
            if empty:
                self._empty.add(self._last)

    def new_number(self) -> int:
        """For something that the script makes."""
        self._last -= 1
        return self._last

    def make_index(self, node: Any) -> None:
        """An index belongs to the schema of its table."""
        table = self.of(node.relation)
        schema = self._place(table)[0] if table is not None else node.relation.schemaname or self._creation()
        if node.idxname and self.find(schema, node.idxname) is None:
            self._now[schema, node.idxname] = self.new_number()
            self._new_indexes[schema, node.idxname] = table

    def drop(self, names: list[str]) -> None:
        self._move(names[-2] if len(names) > 1 else "", names[-1], None)

    def rename(self, node: Any, name: str) -> None:
        """:param node: RangeVar of the old name."""
        self._move(node.schemaname, node.relname, ("", name))

    def move(self, node: Any, schema: str) -> None:
        """To another schema."""
        self._move(node.schemaname, node.relname, (schema, ""))

    def rename_schema(self, old: str, new: str) -> None:
        self._schemas[new] = self._schemas.pop(old, old)

    def _move(self, schema: str, name: str, to: tuple[str, str] | None) -> None:
        for place in self._searched(schema):
            oid = self._look(place, name)
            if oid is None:
                continue
            self._now[place, name] = _GONE
            if to is not None:
                new = to[0] or place, to[1] or name
                self._now[new] = oid
                self._at[oid] = new
                if (place, name) in self._new_indexes:
                    self._new_indexes[new] = self._new_indexes.pop((place, name))
            return

    def _place(self, oid: int) -> tuple[str, str]:
        relation = self.facts.relations[oid]
        return self._at.get(oid, (relation.schema, relation.name))

    def _creation(self) -> str:
        """The schema in which a name without one is made."""
        own = [schema for schema in self._path if schema != _SYSTEM and not schema.startswith(TEMPORARY)]
        return own[0] if own else ""

    def set(self, node: Any) -> None:
        """SET and RESET, of search_path and the role."""
        self.other_rights |= node.name in _RIGHTS
        if node.kind in (_RESET_ALL, _RESET, _DEFAULT):
            if node.kind == _RESET_ALL or node.name == "search_path":
                self._path = self.facts.path
        elif node.name == "search_path":
            self._set_path([name for argument in node.args for name in [constant(argument)] if name is not None])

    def configure(self, call: Any) -> None:
        """A call of set_config."""
        self.other_rights |= bool(call.args) and constant(call.args[0]) in _RIGHTS
        if len(call.args) == 3 and constant(call.args[0]) == "search_path":
            self._set_path(names_in(constant(call.args[1]) or ""))

    def _set_path(self, names: list[str]) -> None:
        self._path = tuple(self.facts.user if name in ("$user", "user") else name for name in names if name)

    def enter(self, schema: str) -> None:
        """The statements inside CREATE SCHEMA make their relations in it."""
        self._path = (schema, *self._path)

    def leave(self) -> None:
        self._path = self._path[1:]


_RIGHTS = ("role", "session_authorization", "row_security")
_DEFAULT, _RESET, _RESET_ALL = 2, 5, 6
"""VariableSetKind."""


def owner_sequences(scope: Scope, oid: int) -> Iterator[int]:
    """The sequences that belong to a table's columns."""
    for sequence in scope.facts.sequences.get(oid, ()):
        if sequence.how != "default":
            yield sequence.oid
