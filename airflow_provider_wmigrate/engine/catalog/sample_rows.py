"""A few rows for tables that have none, as far as a simple generator can make them: to see whether they survive."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql
from psycopg.rows import tuple_row

from .row_sums import OWN, ask_each

ROWS = 3
"""As many per table, or less where a key or a CHECK leaves no room for more."""


class _Column(NamedTuple):
    """:param kind: the type's name. :param category: pg_type.typcategory. :param length: of text; 0: any.
    :param drawn: its default gives another number each time. :param literals: that its CHECKs or partitions name.
    :param parent: the table and column that a foreign key names.
    """

    name: str
    position: int
    kind: str
    category: str
    element: str | None
    element_category: str | None
    length: int
    required: bool
    has_default: bool
    drawn: bool
    labels: tuple[str, ...]
    definitions: str
    parent: tuple[str, str, str] | None


_TABLES = f"""
SELECT n.nspname, c.relname, c.oid {OWN} AND c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid)
 ORDER BY c.oid
"""
_COLUMNS = """
SELECT a.attrelid, a.attname, a.attnum::int, b.typname, b.typcategory, e.typname, e.typcategory,
       CASE WHEN b.typname IN ('varchar', 'bpchar') AND m.typmod > 4 THEN m.typmod - 4 ELSE 0 END,
       a.attnotnull OR t.typnotnull, a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
       a.attidentity <> '' OR coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%%', false),
       ARRAY(SELECT l.enumlabel::text FROM pg_catalog.pg_enum l WHERE l.enumtypid = b.oid ORDER BY l.enumsortorder),
       coalesce((SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid), ' ')
          FROM pg_catalog.pg_constraint k
         WHERE k.contype = 'c' AND (k.conrelid = a.attrelid AND k.conkey = ARRAY[a.attnum] OR k.contypid = t.oid)), '')
       || coalesce((SELECT pg_catalog.string_agg(pg_catalog.pg_get_expr(p.relpartbound, p.oid), ' ')
         FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class p ON p.oid = h.inhrelid
         JOIN pg_catalog.pg_partitioned_table g ON g.partrelid = h.inhparent
         WHERE h.inhparent = a.attrelid AND g.partattrs[0] = a.attnum AND g.partstrat <> 'h'), ''),
       (SELECT ARRAY[r.nspname, o.relname, f.attname]::text[] FROM pg_catalog.pg_constraint k
          CROSS JOIN pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u (mine, place)
          JOIN pg_catalog.pg_class o ON o.oid = k.confrelid JOIN pg_catalog.pg_namespace r ON r.oid = o.relnamespace
          JOIN pg_catalog.pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = k.confkey[u.place]
         WHERE k.conrelid = a.attrelid AND k.contype = 'f' AND u.mine = a.attnum ORDER BY k.oid LIMIT 1)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
  CROSS JOIN LATERAL (SELECT CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END) AS m (typmod)
  LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY a.attrelid, a.attnum
"""
_Name = tuple[str, str]
_Columns = tuple[_Column, ...]


class Filled(NamedTuple):
    """How a table was filled. :param why: columns of it stay empty, with the server's reason."""

    statements: tuple[sql.Composed, ...]
    why: str


Known = dict[tuple[_Name, _Columns], Filled]
"""What has filled tables of these columns before: the same will do for the next copy."""


def fill(conn: Connection[Any], ledger: str, known: Known) -> tuple[dict[str, str], list[str]]:
    """Give rows to the tables that have none. Each row is one that the table's constraints and triggers let in.

    :param conn: outside a transaction. :param ledger: schema of the ledger.
    :param known: is looked in, and learns.
    :return: tables that stay empty, or columns of which do, each with the server's reason; and those that have rows.
    """
    with conn.transaction():
        conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        waiting, there = _empty_and_others(conn, ledger)
        done = _as_before(conn, waiting, there, known)
        reasons: dict[_Name, str] = {}
        progress = True
        while waiting and progress:  # a table whose parent has no rows yet is tried again
            progress = False
            for name, columns in list(waiting.items()):
                filled = _fill(conn, name, columns)
                reasons[name] = filled.why
                if filled.statements:
                    progress = True
                    done[name] = filled
                    if not filled.why:  # what stood in the way may be gone the next time
                        known[name, columns] = filled
                    del waiting[name]
    unproven = {name: f"some columns stay empty: {filled.why}" for name, filled in done.items() if filled.why}
    unproven |= {name: f"stays empty: {reasons[name]}" for name in waiting}
    return {".".join(name): why for name, why in unproven.items()}, [".".join(name) for name in done]


def _empty_and_others(conn: Connection[Any], ledger: str) -> tuple[dict[_Name, _Columns], set[_Name]]:
    """Tables without rows with their columns, and tables that have some. What this role may not read is neither, which
    the sums tell."""
    empty: dict[int, _Name] = {}
    there: set[_Name] = set()
    for _, (schema, table, oid), (has_rows,) in ask_each(conn, _TABLES, ledger, _has_rows, {}):
        if has_rows:
            there.add((schema, table))
        else:
            empty[oid] = (schema, table)
    columns: dict[_Name, list[_Column]] = {name: [] for name in empty.values()}
    for oid, *column in conn.cursor(row_factory=tuple_row).execute(_COLUMNS, [list(empty)]).fetchall():
        columns[empty[oid]].append(_Column._make(tuple(v) if isinstance(v, list) else v for v in column))
    return {name: tuple(each) for name, each in columns.items()}, there


def _has_rows(row: tuple[Any, ...]) -> sql.Composed:
    return sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(row[0], row[1]))


def _as_before(
    conn: Connection[Any], waiting: dict[_Name, _Columns], there: set[_Name], known: Known
) -> dict[_Name, Filled]:
    """Fill what is known, parents first, in one message; what was filled is taken out of those that wait."""
    there, found = set(there), {}
    ready = True
    while ready:
        ready = False
        for name, columns in waiting.items():
            filled = known.get((name, columns)) if name not in found else None
            if filled and {c.parent[:2] for c in columns if c.parent} <= {*there, name}:
                found[name] = filled
                there.add(name)
                ready = True
    if not found:
        return {}
    statements = [statement for filled in found.values() for statement in filled.statements]
    try:
        with conn.transaction():
            conn.execute(sql.SQL(";").join(statements), prepare=False)
    except psycopg.Error:  # something has changed: each for itself
        return {}
    for name in found:
        del waiting[name]
    return found


def empty_again(conn: Connection[Any], tables: Sequence[str]) -> None:
    """Take the rows out of tables that were empty before `fill`.

    :param tables: what `fill` said, and nothing has changed since.
    """
    names = sql.SQL(", ").join(sql.Identifier(*table.split(".", 1)) for table in tables)
    with conn.transaction():
        with suppress(psycopg.Error), conn.transaction():
            # Triggers that refuse it do not run; a role that is no superuser tries it with them.
            conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(sql.SQL("TRUNCATE {} CASCADE").format(names))


def _fill(conn: Connection[Any], name: _Name, columns: _Columns) -> Filled:
    """Without statements: it stays empty."""
    first, why = _insert(conn, name, columns, 0)
    if not first:
        return Filled((), why)
    more = (_insert(conn, name, columns, number)[0] for number in range(1, ROWS))
    return Filled((first, *filter(None, more)), why)


def _insert(conn: Connection[Any], name: _Name, columns: _Columns, number: int) -> tuple[sql.Composed | None, str]:
    """One row, in the first way that is let in: values that are no defaults first, since a column that comes back
    with its default alone would look as if nothing were lost.

    :return: the statement that was let in; and why it was none, or only one with empty columns.
    """
    why = ""
    for way in _ways():
        given = {c.name: value for c in columns if (value := _value(c, number, way)) is not None}
        try:
            statement = _statement(name, given)
            with conn.transaction():
                conn.execute(statement)
            return statement, why if way.bare else ""
        except psycopg.Error as error:
            why = why or error.diag.message_primary or type(error).__name__
    return None, why


class _Way(NamedTuple):
    """:param growth: how values differ from column to column: 1, -1, or 0, not at all.
    :param defaults: columns that have one take it. :param bare: columns that may be NULL are.
    """

    growth: int
    defaults: bool
    bare: bool = False


def _ways() -> Iterator[_Way]:
    for defaults in (False, True):
        yield from (_Way(growth, defaults) for growth in (1, 0, -1))
    yield _Way(0, defaults=True, bare=True)


def _statement(name: _Name, given: Mapping[str, sql.Composable]) -> sql.Composed:
    if not given:
        return sql.SQL("INSERT INTO {} DEFAULT VALUES").format(sql.Identifier(*name))
    columns = sql.SQL(", ").join(map(sql.Identifier, given))
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(*name), columns, sql.SQL(", ").join(given.values())
    )


def _value(column: _Column, number: int, way: _Way) -> sql.Composable | None:
    """None: the column is not named, and so takes its default or NULL."""
    if column.drawn or (way.defaults and column.has_default) or (way.bare and not column.required):
        return None
    if column.parent:
        schema, table, parent = column.parent
        return sql.SQL("(SELECT {} FROM {} ORDER BY ctid OFFSET {} LIMIT 1)").format(
            sql.Identifier(parent), sql.Identifier(schema, table), sql.Literal(number)
        )
    named = _LITERAL.findall(column.definitions)
    if named and way.growth >= 0 and column.category not in "BA" and column.kind not in ("json", "jsonb"):
        return sql.Literal(named[number % len(named)].replace("''", "'"))
    text = _text(column.kind, column.category, column, number, column.position * way.growth)
    return None if text is None else sql.Literal(text)


_LITERAL = re.compile(r"(?<!~ )(?<!~~ )(?<!<> )(?<!TO \()'((?:[^']|'')*)'")
"""A string in a definition, but for a pattern's and the end of a range of partitions."""


def _text(kind: str, category: str, column: _Column, number: int, shift: int) -> str | None:
    if category == "A" and column.element and column.element_category:
        inner = _text(column.element, column.element_category, column, number, shift)
        return None if inner is None else '{"' + inner.replace("\\", "\\\\").replace('"', '\\"') + '"}'
    if column.labels:
        return column.labels[number % len(column.labels)]
    if kind in _FIXED:
        return _FIXED[kind].format(number + 1)
    if category == "N":
        return str(number + 1 + max(shift, 0) if shift >= 0 else 100 + number + shift)
    if category == "S":
        word = {0: f"w{number}@example.org", 1: f"w{number}_{shift}"}.get(max(min(shift, 1), -1), f"W{number}{-shift}")
        return word if not column.length or len(word) <= column.length else "abcdefgh"[number]
    if category == "D":
        return _time(kind, number, shift)
    return {"B": "tf"[number % 2], "R": "empty"}.get(category)


_FIXED = {
    "uuid": "00000000-0000-4000-8000-00000000000{}", "json": '{{"k": {}}}', "jsonb": '{{"k": {}}}',
    "bytea": "\\x0{}", "interval": "{} days", "inet": "10.0.0.{}", "cidr": "10.0.{}.0/24",
    "macaddr": "08:00:2b:01:02:0{}", "point": "({0},{0})", "xml": "<a>{}</a>", "tsvector": "w{}", "hstore": "k=>{}",
    "bit": "1", "varbit": "1", "citext": "w{}", "ltree": "w{}", "pg_lsn": "0/{}",
}  # fmt: skip


def _time(kind: str, number: int, shift: int) -> str:
    """Of the last two months or hours: a policy of retention would soon take older rows away."""
    if kind in ("time", "timetz"):
        return f"{(12 + shift) % 24:02}:0{number}:00"
    now = datetime.now(timezone.utc)
    if kind == "date":
        return (now + timedelta(days=number + shift - 60)).date().isoformat()
    return (now + timedelta(hours=number - 6, minutes=shift)).replace(second=0, microsecond=0).isoformat(sep=" ")
