"""A small catalog, and what a statement takes of it in words.

`t` has a child `c`, a view `v`, an index; `p` is partitioned, with a default partition, `q` without one. `t` points at
`u`, `x` points at `t`, `w` at `u`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts, relation_facts
from airflow_provider_wmigrate.engine.model import Script

TABLES = {"t": 1, "c": 2, "p": 3, "p1": 4, "pd": 5, "q": 6, "q1": 7, "u": 8, "w": 9, "x": 10, "y": 11}
VIEWS = {"v": 20, "joined": 21, "outer": 22}
SEQUENCES = {"t_id": 30, "t_own": 31, "free": 32}
INDEXES = {"t_i": 40, "p_i": 41, "p1_i": 42}
OIDS = {**TABLES, **VIEWS, **SEQUENCES, **INDEXES}
INDEXED = {"t_i": "t", "p_i": "p", "p1_i": "p1"}
KINDS = {"p": "p", "q": "p", "p_i": "I", **dict.fromkeys(VIEWS, "v"), **dict.fromkeys(SEQUENCES, "S")}
KINDS |= dict.fromkeys(("t_i", "p1_i"), "i")


def _relation(oid: int, name: str) -> list[Any]:
    schema, quoted = ("other" if name.startswith("other.") else "app"), name.rpartition(".")[2]
    table = OIDS[INDEXED[name]] if name in INDEXED else None
    return [oid, schema, quoted, f"{schema}.{quoted}", KINDS.get(name, "r"), 8, 2, table, 0, oid + 100, False]


def of(*names: str) -> list[int]:
    return [OIDS[name] for name in names]


def key(oid: int, table: str, target: str, columns: list[int], on_delete: str = "a", on_update: str = "a") -> list[Any]:
    """A foreign key to the first column."""
    return [oid, OIDS[table], f"k{oid}", "f", OIDS[target], True, False, on_delete, on_update, columns, [1]]


def on(catalog: str, oid: int, *, to: tuple[str, int, int], how: str = "n", column: int = 0) -> list[Any]:
    """An edge of pg_depend."""
    return [catalog, oid, column, *to, how]


CATALOG: dict[str, Any] = {
    "version": 150000,
    "user": "me",
    "path": ["app"],
    "schemas": ["app", "other"],
    "relations": [*(_relation(oid, name) for name, oid in OIDS.items()), _relation(50, "other.t")],
    "inherits": [of("c", "t"), [OIDS["c"], 999], of("p1", "p"), of("pd", "p"), of("q1", "q"), of("p1_i", "p_i")],
    "defaults": [of("p", "pd")],
    "constraints": [
        key(201, "t", "u", [2], "c", "a"),
        key(202, "x", "t", [1], "c", "c"),
        key(203, "w", "u", [1], "a", "n"),
        key(204, "y", "x", [1], "n", "a"),
        key(205, "x", "x", [2], "c", "a"),
        [206, 1, "check", "c", 0, True, False, "a", "a", [1, 2, 3, 4], None],
    ],
    "bases": [of("v", "t"), of("joined", "t"), of("joined", "u"), of("outer", "v")],
    "sequences": [
        [OIDS["t"], 1, OIDS["t_id"], "identity"],
        [OIDS["t"], 4, OIDS["t_own"], "owned"],
        [OIDS["t"], 3, OIDS["free"], "default"],
    ],
    "columns": [
        [OIDS[table], number, name, "int4", False]
        for table in ("t", "v", "u", "x", "w")
        for number, name in enumerate(("id", "ref", "note", "own"), 1)
    ],
}


def a_catalog(**more: Any) -> RelationFacts:
    return relation_facts(dict.fromkeys(("triggers", "rules", "runs", "policies", "events")) | CATALOG | more)


def taken(text: str, **more: Any) -> str:
    """What the last statement of a script takes: `p p1: ACCESS EXCLUSIVE; t: ROW EXCLUSIVE rows; f() is called`."""
    from airflow_provider_wmigrate.engine.plan.lock_scope import Scope
    from airflow_provider_wmigrate.engine.plan.locks_needed import taken_in_order
    from airflow_provider_wmigrate.engine.sql.analysis import analyse

    facts = a_catalog(**more)
    *_, (_, _, found) = taken_in_order(analyse(Script.of("001_a.sql", text)), Scope(facts))
    return in_words(found, facts)


def in_words(found: Iterable[Any], facts: RelationFacts) -> str:
    """Locks by mode, the strongest first, each relation once; then the rest in its order."""
    from airflow_provider_wmigrate.engine.plan.lock_scope import Lasting, Lock

    locks: dict[tuple[int, str], dict[int, None]] = defaultdict(dict)
    rest: list[str] = []
    for each in found:
        if isinstance(each, Lock):
            locks[-each.mode, f"{each.mode.keyword} {each.work or ''}".rstrip()][each.relation] = None
        else:
            rest.append(f"lasting {each.work}" if isinstance(each, Lasting) else each.why)
    said = [f"{' '.join(_names(oids, facts))}: {mode}" for (_, mode), oids in sorted(locks.items())]
    return "; ".join([*said, *rest])


def _names(oids: Iterable[int], facts: RelationFacts) -> list[str]:
    return sorted(facts.relations[oid].quoted.removeprefix("app.") for oid in oids)
