"""PostgreSQL's own list of what a database can hold, its system catalogs, and for each how a snapshot treats it."""

from __future__ import annotations

from typing import NamedTuple

from .scope import FIRST_OWN


class Catalog(NamedTuple):
    """:param told: the kinds of facts that tell what is in it; empty: none.
    :param why: it is not compared, and why not.
    """

    told: str = ""
    why: str = ""


_DATA = "data, or what the server has measured of it"
_CLUSTER = "of the whole server, not of this database"
_INTERNAL = "the server's own bookkeeping"

CATALOGS = {
    "pg_aggregate": Catalog("aggregation"),
    "pg_am": Catalog("access method"),
    "pg_amop": Catalog("operator family"),
    "pg_amproc": Catalog("operator family"),
    "pg_attrdef": Catalog("column"),
    "pg_attribute": Catalog("column, attribute"),
    "pg_auth_members": Catalog(why=_CLUSTER),
    "pg_authid": Catalog(why=_CLUSTER),
    "pg_cast": Catalog("cast"),
    "pg_class": Catalog("table, view, materialized view, foreign table, index, sequence, composite type"),
    "pg_collation": Catalog("collation"),
    "pg_constraint": Catalog("constraint, domain constraint; NOT NULL with column"),
    "pg_conversion": Catalog("conversion"),
    "pg_database": Catalog("grant on database", "name, owner, encoding and locale: a copy may have others"),
    "pg_db_role_setting": Catalog("settings", "those of a role in all databases are the server's"),
    "pg_default_acl": Catalog("default privileges"),
    "pg_depend": Catalog("owned by, extensions' own", _INTERNAL),
    "pg_description": Catalog("comment"),
    "pg_enum": Catalog("enum"),
    "pg_event_trigger": Catalog("event trigger"),
    "pg_extension": Catalog("extension"),
    "pg_foreign_data_wrapper": Catalog("foreign data wrapper"),
    "pg_foreign_server": Catalog("foreign server"),
    "pg_foreign_table": Catalog("foreign table"),
    "pg_index": Catalog("index"),
    "pg_inherits": Catalog("table, index"),
    "pg_init_privs": Catalog("grants"),
    "pg_language": Catalog("language"),
    "pg_largeobject": Catalog(why=_DATA),
    "pg_largeobject_metadata": Catalog(why=f"large objects: {_DATA}; their number is reported"),
    "pg_namespace": Catalog("schema"),
    "pg_opclass": Catalog("operator class"),
    "pg_operator": Catalog("operator"),
    "pg_opfamily": Catalog("operator family"),
    "pg_parameter_acl": Catalog(why=_CLUSTER),
    "pg_partitioned_table": Catalog("table"),
    "pg_policy": Catalog("policy"),
    "pg_proc": Catalog("function, procedure, aggregate"),
    "pg_publication": Catalog("publication"),
    "pg_publication_namespace": Catalog("publication"),
    "pg_publication_rel": Catalog("publication"),
    "pg_range": Catalog("range"),
    "pg_replication_origin": Catalog(why=_CLUSTER),
    "pg_rewrite": Catalog("view, materialized view, rule"),
    "pg_seclabel": Catalog("security label"),
    "pg_sequence": Catalog("sequence", "the value that it has reached is data"),
    "pg_shdepend": Catalog(why=_INTERNAL),
    "pg_shdescription": Catalog("comment", "those on roles and tablespaces are the server's"),
    "pg_shseclabel": Catalog(why=_CLUSTER),
    "pg_statistic": Catalog(why=_DATA),
    "pg_statistic_ext": Catalog("statistics"),
    "pg_statistic_ext_data": Catalog(why=_DATA),
    "pg_subscription": Catalog("subscription", "the connection, which has a password"),
    "pg_subscription_rel": Catalog(why="how far each table of a subscription is: the server's own bookkeeping"),
    "pg_tablespace": Catalog("tablespace of table and index", _CLUSTER),
    "pg_transform": Catalog("transform"),
    "pg_trigger": Catalog("trigger"),
    "pg_ts_config": Catalog("text search configuration"),
    "pg_ts_config_map": Catalog("text search configuration"),
    "pg_ts_dict": Catalog("text search dictionary"),
    "pg_ts_parser": Catalog("text search parser"),
    "pg_ts_template": Catalog("text search template"),
    "pg_type": Catalog("enum, domain, composite type, range, type"),
    "pg_user_mapping": Catalog("user mapping", "its options, which are secrets"),
}
"""Of PostgreSQL 13 to 18, by name."""

LETTERS = {
    ("pg_class", "relkind"): "rpvmfiIStc",
    ("pg_constraint", "contype"): "cfpuxnt",
    ("pg_type", "typtype"): "bcdermp",
    ("pg_proc", "prokind"): "fpaw",
}
"""The letters of a catalog's kinds that are known."""
NOT_COMPARED = "large objects"


def not_modelled() -> bytes:
    """The query for what is there and of which no fact tells, by kind and number: also of a newer server than known."""
    known = ", ".join(f"'{name}'" for name in CATALOGS)
    parts = [
        f"SELECT '{NOT_COMPARED}'::text AS kind, pg_catalog.count(*) AS number FROM pg_catalog.pg_largeobject_metadata",
        "SELECT 'objects in ' || c.relname, pg_catalog.count(*) FROM (SELECT DISTINCT d.classid, d.objid"
        f" FROM pg_catalog.pg_depend d WHERE d.objid >= {FIRST_OWN} AND d.deptype <> 'e') d"
        " JOIN pg_catalog.pg_class c ON c.oid = d.classid"
        f" WHERE c.relname <> ALL (ARRAY[{known}]) GROUP BY c.relname",
    ]
    for (catalog, column), letters in LETTERS.items():
        parts.append(
            f"SELECT 'objects in {catalog} of kind ' || {column}::text, pg_catalog.count(*) FROM pg_catalog.{catalog}"
            f" WHERE oid >= {FIRST_OWN} AND pg_catalog.strpos('{letters}', {column}::text) = 0 GROUP BY {column}"
        )
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) t WHERE number > 0 ORDER BY kind".encode()
