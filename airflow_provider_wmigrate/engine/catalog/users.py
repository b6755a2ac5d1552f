"""What the database itself knows of who uses something: what depends on it, functions whose bodies are text, and the
statements that pg_stat_statements has counted. The texts of these never leave this process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.sql.query_scope import Table

from .relations import Thing


class Dependent(NamedTuple):
    """:param kind: view, function, policy ... as pg_identify_object names it.
    :param name: as it identifies it.
    """

    kind: str
    name: str
    thing: Thing


class Function(NamedTuple):
    """:param name: with the types of its parameters.
    :param called: schema and name.
    :param tables: of a trigger's function, those that have such a trigger.
    :param path: the search path that it sets itself.
    """

    oid: int
    name: str
    called: Table
    kind: str
    language: str
    definition: str
    tables: frozenset[Table]
    path: tuple[str, ...] | None


class Counted(NamedTuple):
    """A statement of pg_stat_statements."""

    text: str
    role: str
    calls: int


class DatabaseUsers(NamedTuple):
    """:param dependents: of the things that were asked for, each with what depends on it.
    :param columns: tables that have a column of one of the names.
    :param unseen: what could not be looked at.
    """

    dependents: tuple[tuple[Thing, Dependent], ...]
    columns: frozenset[tuple[Table, str]]
    functions: tuple[Function, ...]
    told_triggers: tuple[tuple[Table, str, str], ...]
    """Table, name of a trigger, and the one of the names that its function is given as an argument."""
    statements: tuple[Counted, ...]
    since: str
    unseen: tuple[str, ...]


def users_in_database(
    conn: Connection[Any], things: Iterable[Thing], words: Iterable[str], *, statements: bool = True
) -> DatabaseUsers:
    """:param conn: in no transaction.
    :param things: relations, columns and functions.
    :param words: their names, without schemas.
    :param statements: also those that pg_stat_statements has counted.
    """
    asked, named = [*dict.fromkeys(things)], sorted(set(words))
    pattern = rf"(?:^|\W)(?:{'|'.join(map(re.escape, named))})(?:\W|$)"
    given = {
        "catalogs": [thing.catalog for thing in asked],
        "oids": [thing.oid for thing in asked],
        "columns": [thing.column for thing in asked],
        "words": named,
        "pattern": pattern,
    }
    with conn.transaction():
        conn.execute("SET LOCAL statement_timeout = '10s'; SET LOCAL jit = off")
        dependents = conn.execute(_DEPENDENTS, given).fetchall()
        columns = conn.execute(_COLUMNS, given).fetchall()
        functions = conn.execute(_FUNCTIONS, given).fetchall()
        triggers = conn.execute(_TOLD_TRIGGERS, given).fetchall()
    counted, since, unseen = _counted(conn, pattern) if statements else ((), "", ())
    return DatabaseUsers(
        tuple((Thing(*row[:3]), Dependent(row[3], row[4], Thing(*row[5:]))) for row in dependents),
        frozenset(((schema, table), column) for schema, table, column in columns),
        tuple(_function(row) for row in functions),
        tuple(((schema, table), name, argument) for schema, table, name, argument in triggers),
        counted,
        since,
        unseen,
    )


def _function(row: tuple[Any, ...]) -> Function:
    oid, name, *called, kind, language, definition, tables, settings = row
    paths = [each.partition("=")[2] for each in settings or () if each.startswith("search_path=")]
    path = tuple(part.strip().strip('"') for part in paths[0].split(",")) if paths else None
    return Function(oid, name, (called[0], called[1]), kind, language, definition, frozenset(map(tuple, tables)), path)


def _counted(conn: Connection[Any], pattern: str) -> tuple[tuple[Counted, ...], str, tuple[str, ...]]:
    """What pg_stat_statements has counted in this database, since when, and what of it is not to be seen."""
    found = conn.execute(_EXTENSION).fetchone()
    if found is None:
        return (), "", ("statements of programs: the extension pg_stat_statements is not installed",)
    view, info = sql.Identifier(found[0], "pg_stat_statements"), sql.Identifier(found[0], "pg_stat_statements_info")
    try:
        with conn.transaction():
            conn.execute("SET LOCAL statement_timeout = '10s'")
            rows = conn.execute(sql.SQL(_STATEMENTS).format(view), {"pattern": pattern}).fetchall()
            hidden = conn.execute(sql.SQL(_HIDDEN).format(view)).fetchone()
            there = conn.execute("SELECT pg_catalog.to_regclass(%s)", [info.as_string(conn)]).fetchone()
            asked = sql.SQL("SELECT stats_reset::pg_catalog.text FROM {}" if there != (None,) else "SELECT NULL")
            reset = conn.execute(asked.format(info)).fetchone()  # the extension has it since 1.9
    except psycopg.Error as error:
        return (), "", (f"statements of programs: pg_stat_statements does not answer ({error.sqlstate})",)
    more = hidden[0] if hidden else 0
    unseen = (
        (f"{more} statements of other roles: this role has no right to see them (pg_read_all_stats)",) if more else ()
    )
    return tuple(Counted(*row) for row in rows), (reset[0] if reset else "") or "", unseen


_DEPENDENTS = """
WITH RECURSIVE asked (classid, objid, objsubid) AS (
  SELECT c.oid, u.oid, u.number
  FROM unnest(%(catalogs)s::pg_catalog.text[], %(oids)s::pg_catalog.int8[], %(columns)s::pg_catalog.int4[])
    AS u (catalog, oid, number) JOIN pg_catalog.pg_class c ON c.relname = u.catalog
    AND c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
), users (classid, objid, objsubid, root_class, root, root_column) AS (
  SELECT d.classid, d.objid, d.objsubid, a.classid, a.objid, a.objsubid
  FROM asked a JOIN pg_catalog.pg_depend d ON d.refclassid = a.classid AND d.refobjid = a.objid
    AND (a.objsubid = 0 OR d.refobjsubid = a.objsubid) AND d.deptype = 'n'
  UNION
  SELECT n.*, u.root_class, u.root, u.root_column FROM users u, LATERAL (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, r.ev_class, 0 FROM pg_catalog.pg_rewrite r
    WHERE u.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = u.objid AND r.rulename = '_RETURN'
    UNION ALL
    SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c
      ON c.oid = u.objid AND c.relkind IN ('v', 'm')
    WHERE u.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = u.classid
      AND d.refobjid = u.objid AND d.deptype = 'n'
  ) n
)
SELECT DISTINCT c.relname, u.root::pg_catalog.int8, u.root_column, i.type, i.identity,
  u.classid::pg_catalog.regclass::pg_catalog.text, u.objid::pg_catalog.int8
FROM users u JOIN pg_catalog.pg_class c ON c.oid = u.root_class,
  LATERAL pg_catalog.pg_identify_object(u.classid, u.objid, u.objsubid) i
WHERE NOT (u.classid = u.root_class AND u.objid = u.root)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE u.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND r.oid = u.objid AND r.rulename = '_RETURN')
  AND i.type IS NOT NULL
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = u.classid AND d.objid = u.objid
    AND d.refclassid = u.root_class AND d.refobjid = u.root AND u.root_column IN (0, d.refobjsubid)
    AND d.deptype IN ('a', 'i'))
ORDER BY 4, 5
"""
_COLUMNS = """
SELECT n.nspname, c.relname, a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE a.attname = ANY (%(words)s::pg_catalog.text[]) AND a.attnum > 0 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_FUNCTIONS = """
SELECT p.oid::pg_catalog.int8, 
  (pg_catalog.pg_identify_object('pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0)).identity, n.nspname, p.proname,
  CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, l.lanname, pg_catalog.pg_get_functiondef(p.oid),
  (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname)), '[]')
   FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.tgfoid = p.oid AND NOT t.tgisinternal),
  p.proconfig
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('internal', 'c')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND pg_catalog.concat_ws(' ', p.prosrc, pg_catalog.pg_get_function_arguments(p.oid)) ~* %(pattern)s
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1
"""
_TOLD_TRIGGERS = """
SELECT n.nspname, c.relname, t.tgname, a.argument
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
  pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.encode(t.tgargs, 'escape'), '\\000')) AS a (argument)
WHERE NOT t.tgisinternal AND t.tgnargs > 0 AND a.argument = ANY (%(words)s::pg_catalog.text[])
ORDER BY 1, 2, 3
"""
_EXTENSION = """
SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
_STATEMENTS = """
SELECT s.query, coalesce(r.rolname, s.userid::pg_catalog.text), s.calls
FROM {} s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.userid
WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND s.query ~* %(pattern)s
"""
_HIDDEN = """
SELECT count(*) FROM {} s
WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND s.query = '<insufficient privilege>'
"""
