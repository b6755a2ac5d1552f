"""What rollback scripts would take away through CASCADE that other migrations, or others, have made. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts, Thing
from airflow_provider_wmigrate.engine.model import Finding, Migration
from airflow_provider_wmigrate.engine.sql.pieces import has_word

from .forecast import Ahead
from .lock_falling import CASCADE, roots_of
from .lock_scope import Scope
from .lock_subcommands import name_of
from .locks_needed import taken_in_order


class Named(Struct, frozen=True):
    """:param words: as the server describes it. :param names: its own, and of the relation that it is a part of."""

    words: str
    names: tuple[str, ...]


class Falling(Struct, frozen=True):
    """What only CASCADE takes along."""

    version: str
    file: str
    line: int
    thing: Thing


def falling(scripts: Iterable[Ahead], facts: RelationFacts) -> tuple[Falling, ...]:
    """:param scripts: that run one after the other. What one statement has dropped does not fall by a later one.
    :param facts: of a moment before the first one.
    """
    scope, gone, found = Scope(facts), set[Thing](), list[Falling]()
    for script in scripts:
        scope.begin_script()
        if script.analysis.unparsed is not None:
            continue
        for _, statement, _ in taken_in_order(script.analysis, scope):
            for roots, cascade in _dropped(statement.kind, statement.node, scope):
                by_itself = facts.falls(roots, cascade=False)
                if cascade:
                    along = facts.falls(roots, cascade=True) - by_itself - gone
                    place = script.version, script.analysis.script.file, statement.line
                    found += (Falling(*place, thing) for thing in sorted(along) if _counts(thing, along | gone, facts))
                    gone |= along
                gone |= by_itself
    return tuple(found)


def _dropped(kind: str, node: object, scope: Scope) -> Iterator[tuple[list[Thing], bool]]:
    from postgast.pg_query_pb2 import AlterTableStmt, DropStmt, ObjectType

    if isinstance(node, DropStmt):
        of = ObjectType.Name(node.remove_type).removeprefix("OBJECT_")
        yield [thing for item in node.objects for thing in roots_of(item, of, scope)], node.behavior == CASCADE
    elif isinstance(node, AlterTableStmt) and (table := scope.of(node.relation)) is not None:
        for command in (item.alter_table_cmd for item in node.cmds):
            if name_of(command) == "DropColumn":
                columns = scope.facts.columns.get(table, ())
                roots = [Thing("pg_class", table, each.number) for each in columns if each.name == command.name]
                yield roots, command.behavior == CASCADE


def _counts(thing: Thing, along: set[Thing], facts: RelationFacts) -> bool:
    """Whether it is something of its own, and no part of what falls too."""
    if thing.catalog == "pg_class":
        relation = facts.relations.get(thing.oid)
        inside = {Thing("pg_class", parent) for parent in facts.parents.get(thing.oid, ())}
        inside |= {Thing("pg_class", thing.oid)} if thing.column else set()
        return relation is not None and relation.kind in "rpfvm" and not inside & along
    table = facts.parts.get((thing.catalog, thing.oid))
    if thing.catalog in ("pg_constraint", "pg_policy", "pg_trigger"):
        return table is not None and Thing("pg_class", table) not in along
    return thing.catalog == "pg_proc"


def drops_of_others(
    found: Sequence[Falling], named: Mapping[Thing, Named], going: Mapping[str, Migration]
) -> Iterator[Finding]:
    """What falls that none of the migrations names that are rolled back.

    :param going: these migrations by version, as the folder has them.
    """
    texts = [migration.script.text for migration in going.values()]
    for each in found:
        known = named.get(each.thing)
        if known is None or any(has_word(text, name) for name in known.names for text in texts):
            continue
        yield Finding(
            "drops_of_others",
            f"CASCADE would take {known.words} along, which no migration that is rolled back has made",
            "roll back first what made it; or if it is to go, drop it by name in the rollback script",
            # Of a script that is not there nobody can say what it made.
            severity="error" if each.version in going else "warning",
            version=each.version,
            file=each.file,
            line=each.line,
        )
