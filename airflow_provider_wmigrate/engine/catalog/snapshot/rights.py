"""Queries about grants, default privileges, comments and security labels."""

from __future__ import annotations

from typing import NamedTuple

from .scope import FIRST_OWN, Scope, fact_rows

_DEFAULT = 'pg_catalog.acldefault({}::"char", {})'
_NO_NAME = "'{}'::pg_catalog.text[]"
_GRANTEE = "CASE t.grantee WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(t.grantee) END"


class _Holder(NamedTuple):
    """A catalog whose rows `o` have a list of rights.

    :param letter: as acldefault has it, an expression.
    :param name: an array.
    :param schema: the alias of the pg_namespace that it is in; empty: none.
    """

    kind: str
    letter: str
    catalog: str
    prefix: str
    name: str
    schema: str = "n"
    suffix: str = "''"
    of: str = "NULL"
    owner: str = ""
    source: str = ""
    number: str = "o.oid"
    part: str = "0"


_HOLDERS = (
    _Holder(
        "CASE o.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END",
        "CASE o.relkind WHEN 'S' THEN 's' ELSE 'r' END",
        "pg_class",
        "rel",
        "ARRAY[n.nspname, o.relname]",
        of="ARRAY[n.nspname, o.relname]",
    ),
    _Holder(
        "'column'",
        "'c'",
        "pg_class",
        "att",
        "ARRAY[n.nspname, c.relname, o.attname]",
        of="ARRAY[n.nspname, c.relname]",
        owner="c.relowner",
        source="pg_catalog.pg_attribute o JOIN pg_catalog.pg_class c ON c.oid = o.attrelid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        number="o.attrelid",
        part="o.attnum",
    ),
    _Holder(
        "'function'",
        "'f'",
        "pg_proc",
        "pro",
        "ARRAY[n.nspname, o.proname]",
        suffix="'(' || pg_catalog.oidvectortypes(o.proargtypes) || ')'",
    ),
    _Holder("'type'", "'T'", "pg_type", "typ", "ARRAY[n.nspname, o.typname]"),
    _Holder("'schema'", "'n'", "pg_namespace", "nsp", "ARRAY[o.nspname]", schema="o"),
    _Holder("'language'", "'l'", "pg_language", "lan", "ARRAY[o.lanname]", schema=""),
    _Holder("'foreign data wrapper'", "'F'", "pg_foreign_data_wrapper", "fdw", "ARRAY[o.fdwname]", schema=""),
    _Holder("'foreign server'", "'S'", "pg_foreign_server", "srv", "ARRAY[o.srvname]", schema=""),
    _Holder(
        "'database'",
        "'d'",
        "pg_database",
        "dat",
        "'{}'",
        schema="",
        owner="o.datdba",
        source="(SELECT * FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) o",
    ),
)


def _access_list(scope: Scope, holder: _Holder) -> str:
    """What initdb or an extension has made is there too: a grant on it counts as soon as it is not what they gave."""
    catalog, prefix, schema = holder.catalog, holder.prefix, holder.schema
    source = holder.source or f"pg_catalog.{catalog} o"
    if not holder.source and schema == "n":
        source += f" JOIN pg_catalog.pg_namespace n ON n.oid = o.{prefix}namespace"
    # Of the information schema the server grants everybody all there is to read, and notes it nowhere.
    seen = f"AND {scope.schema(schema)} AND {schema}.nspname <> 'information_schema'" if schema else ""
    # Everybody may create in `public` up to 14. After a restore, a newer server has the same list, and another one that
    # it began with.
    initial = "NULLIF(o.oid, 2200)" if catalog == "pg_namespace" else holder.number
    return f"""
    SELECT {holder.kind} AS kind, {f"{schema}.nspname" if schema else "NULL"} AS schema,
           {holder.name}::pg_catalog.text[] AS name, {holder.suffix} AS suffix, {holder.of}::pg_catalog.text[] AS of,
           {holder.letter}::"char" AS letter, {holder.owner or f"o.{prefix}owner"} AS owner, o.{prefix}acl AS acl,
           i.initprivs AS initial
      FROM {source}
      LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = {initial} AND i.objsubid = {holder.part}
       AND i.classoid = 'pg_catalog.{catalog}'::pg_catalog.regclass
     WHERE o.{prefix}acl IS NOT NULL AND o.{prefix}acl IS DISTINCT FROM i.initprivs {seen}"""


# A list says nothing that is as it is without one. So only what was granted or revoked is told, whoever did it.
_TOLD = """
SELECT a.*, g.* FROM access a, LATERAL (
    SELECT coalesce(h.grantee, d.grantee) AS grantee,
           pg_catalog.jsonb_agg(h.word ORDER BY h.word COLLATE "C")
               FILTER (WHERE d.privilege IS NULL OR (h.star AND d.grantee <> a.owner)) AS granted,
           pg_catalog.jsonb_agg(d.privilege ORDER BY d.privilege COLLATE "C")
               FILTER (WHERE h.privilege IS NULL) AS revoked
      FROM (SELECT e.grantee, e.privilege_type AS privilege, pg_catalog.bool_or(e.is_grantable) AS star,
                   e.privilege_type
                   || CASE WHEN pg_catalog.bool_or(e.is_grantable) THEN ' with grant option' ELSE '' END AS word
              FROM pg_catalog.aclexplode(a.acl) e GROUP BY e.grantee, e.privilege_type) h
      FULL JOIN (SELECT e.grantee, e.privilege_type AS privilege
                   FROM pg_catalog.aclexplode(coalesce(a.initial, {default})) e) d
        ON d.grantee = h.grantee AND d.privilege = h.privilege
     GROUP BY 1) g
 WHERE g.granted IS NOT NULL OR g.revoked IS NOT NULL
"""
# All that an object of its kind can have are one word. A table of a server since 17 has one more, MAINTAIN, which a
# restore of an older server's `ALL` does not give: beside all others it is not told.
_EVERY = """CASE t.letter WHEN 'c' THEN 4 WHEN 'r' THEN 7 ELSE (SELECT pg_catalog.count(*)
    FROM pg_catalog.aclexplode(pg_catalog.acldefault(t.letter, 10)) e WHERE e.grantee = 10) END"""
_WORD = """'{word}', CASE WHEN (SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_array_elements_text(t.{word}) w
                      WHERE w !~ '^MAINTAIN') <> {every} THEN t.{word}
    WHEN t.{word}::pg_catalog.text !~ 'grant option' THEN '["ALL"]'
    WHEN pg_catalog.replace(t.{word}::pg_catalog.text, ' with grant option', '*') ~ '[^*]"[],]' THEN t.{word}
    ELSE '["ALL with grant option"]' END"""
_WORDS = "pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object({}))".format(
    ", ".join(_WORD.format(word=word, every=_EVERY) for word in ("granted", "revoked"))
)


def grants(scope: Scope) -> str:
    access = " UNION ALL ".join(_access_list(scope, holder) for holder in _HOLDERS)
    rows = fact_rows(
        "'grant on ' || t.kind",
        "told t",
        _WORDS,
        schema="coalesce(t.schema, '')",
        name="t.name",
        suffix=f"t.suffix || ' to ' || {_GRANTEE}",
        of="t.of",
    )
    default = _DEFAULT.format("a.letter", "a.owner")
    return f"WITH access AS ({access}), told AS ({_TOLD.format(default=default)}) {rows}"


def default_privileges(scope: Scope) -> str:
    """ALTER DEFAULT PRIVILEGES. Without a schema, a list begins with what everybody has; in a schema, it adds."""
    default = f"CASE WHEN a.schema IS NULL THEN {_DEFAULT.format('a.letter', 'a.owner')} END"
    access = f"""
    SELECT n.nspname AS schema, CASE o.defaclobjtype WHEN 'S' THEN 's' ELSE o.defaclobjtype END::"char" AS letter,
           o.defaclrole AS owner, o.defaclacl AS acl, NULL::pg_catalog.aclitem[] AS initial
      FROM pg_catalog.pg_default_acl o LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.defaclnamespace
     WHERE n.oid IS NULL OR {scope.schema("n")}"""
    suffix = f"""'on ' || CASE t.letter WHEN 'r' THEN 'tables' WHEN 's' THEN 'sequences' WHEN 'f' THEN 'functions'
        WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' WHEN 'L' THEN 'large objects' ELSE t.letter::pg_catalog.text END
        || coalesce(' in ' || t.schema, '') || ' of ' || pg_catalog.pg_get_userbyid(t.owner) || ' to ' || {_GRANTEE}"""
    rows = fact_rows(
        "'default privileges'", "told t", _WORDS, schema="coalesce(t.schema, '')", name=_NO_NAME, suffix=suffix
    )
    return f"WITH access AS ({access}), told AS ({_TOLD.format(default=default)}) {rows}"


# An identity is in no language. Of triggers, policies and the like it names no schema; the first part of their address
# is one.
_NAMED = """(
SELECT d.*, i.type, i.identity, n.nspname AS schema,
       CASE WHEN c.oid IS NOT NULL THEN ARRAY[cn.nspname, c.relname]::pg_catalog.text[] END AS of
  FROM pg_catalog.{catalog} d
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) i
  LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = coalesce(i.schema,
            CASE WHEN d.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN i.name
                 WHEN i.type IN ('trigger', 'policy', 'rule', 'table constraint')
                 THEN (pg_catalog.pg_identify_object_as_address(d.classoid, d.objoid, d.objsubid)).object_names[1] END)
  LEFT JOIN pg_catalog.pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
  LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
 WHERE (d.objoid >= {first} OR d.objoid = 2200 AND d.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass)
   AND d.classoid <> 'pg_catalog.pg_extension'::pg_catalog.regclass AND i.type IS NOT NULL
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e')
   AND (n.oid IS NULL OR {schema})) t"""


def comments(scope: Scope) -> str:
    """Not those of extensions, which each of their versions brings."""
    named = _NAMED.format(catalog="pg_description", first=FIRST_OWN, schema=scope.schema("n"))
    values = "pg_catalog.jsonb_build_object('text', t.description)"
    rows = fact_rows(
        "'comment'",
        f"{named} WHERE t.objoid <> 2200 OR t.description <> 'standard public schema'",
        values,
        schema="coalesce(t.schema, '')",
        name=_NO_NAME,
        suffix="'on ' || t.type || ' ' || t.identity",
        of="t.of",
    )
    database = fact_rows(
        "'comment'",
        "pg_catalog.pg_shdescription t JOIN pg_catalog.pg_database b ON b.oid = t.objoid"
        " WHERE t.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass"
        " AND b.datname = pg_catalog.current_database()",
        values,
        schema="''",
        name=_NO_NAME,
        suffix="'on database'",
    )
    return f"{rows} UNION ALL {database}"


def security_labels(scope: Scope) -> str:
    return fact_rows(
        "'security label'",
        _NAMED.format(catalog="pg_seclabel", first=FIRST_OWN, schema=scope.schema("n")),
        "pg_catalog.jsonb_build_object('label', t.label)",
        schema="coalesce(t.schema, '')",
        name=_NO_NAME,
        suffix="'of ' || t.provider || ' on ' || t.type || ' ' || t.identity",
        of="t.of",
    )
