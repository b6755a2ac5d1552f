"""What a continuous aggregate is, with everything that depends on it: for a migration that changes it."""

from __future__ import annotations

from typing import Any

import psycopg
from msgspec import Struct
from psycopg.rows import namedtuple_row

from airflow_provider_wmigrate.engine.errors import WMigrateError

_AGGREGATE = """
SELECT cagg.*, view_oid.oid::bigint AS oid, pg_catalog.obj_description(view_oid.oid, 'pg_class') AS comment,
       cagg.view_owner::text <> CURRENT_USER AS foreign_owner,
       entry.mat_hypertable_id, parent.user_view_schema AS read_schema, parent.user_view_name AS read_name,
       time.column_name::text AS bucket, time.column_type::text AS time_type
  FROM timescaledb_information.continuous_aggregates cagg
  JOIN _timescaledb_catalog.continuous_agg entry
    ON entry.user_view_schema = cagg.view_schema AND entry.user_view_name = cagg.view_name
  LEFT JOIN _timescaledb_catalog.continuous_agg parent ON parent.mat_hypertable_id = entry.parent_mat_hypertable_id
  JOIN timescaledb_information.dimensions time
    ON time.hypertable_schema = cagg.materialization_hypertable_schema
   AND time.hypertable_name = cagg.materialization_hypertable_name AND time.dimension_number = 1
  CROSS JOIN LATERAL (SELECT pg_catalog.format('%%I.%%I', view_schema, view_name)::regclass::oid) AS view_oid (oid)
 WHERE view_oid.oid = pg_catalog.to_regclass(%s)
"""
_BUCKET = """
SELECT bucket_width::text AS width, bucket_fixed_width AS fixed,
       pg_catalog.num_nonnulls(bucket_origin, bucket_offset, bucket_timezone) AS more
  FROM _timescaledb_catalog.continuous_aggs_bucket_function WHERE mat_hypertable_id = %s
"""
_POLICIES = """
SELECT proc_name::text, schedule_interval::text, config FROM timescaledb_information.jobs
 WHERE coalesce(config ->> 'mat_hypertable_id', config ->> 'hypertable_id')::int = %s
   AND proc_name IN ('policy_refresh_continuous_aggregate', 'policy_retention', 'policy_compression')
"""
_SOURCE_RETENTION = """
SELECT job.config ->> 'drop_after' FROM timescaledb_information.jobs job
  JOIN _timescaledb_catalog.hypertable source ON source.id = (job.config ->> 'hypertable_id')::int
 WHERE job.proc_name = 'policy_retention' AND source.schema_name = %s AND source.table_name = %s
"""
_GRANTS = """
SELECT pg_catalog.coalesce(role.rolname, 'PUBLIC')::text, acl.privilege_type, acl.is_grantable
  FROM pg_catalog.pg_class c, LATERAL pg_catalog.aclexplode(c.relacl) acl
  LEFT JOIN pg_catalog.pg_roles role ON role.oid = acl.grantee
 WHERE c.oid = %s AND acl.grantee <> c.relowner ORDER BY 1, 2
""".replace("pg_catalog.coalesce", "coalesce")
_COLUMN_COMMENTS = """
SELECT attname::text, pg_catalog.col_description(attrelid, attnum) FROM pg_catalog.pg_attribute
 WHERE attrelid = %s AND attnum > 0 AND pg_catalog.col_description(attrelid, attnum) IS NOT NULL ORDER BY attnum
"""
# Those that TimescaleDB makes by itself begin with the hypertable's name, and it makes them for the new one too.
_INDEXES = """
SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = pg_catalog.format('%%I.%%I', %s::text, %s::text)::regclass
   AND NOT pg_catalog.starts_with(c.relname, %s) ORDER BY c.relname
"""
_READERS = """
SELECT DISTINCT pg_catalog.format('%%I.%%I', n.nspname, v.relname) AS name, v.relkind::text AS kind,
       pg_catalog.pg_get_viewdef(v.oid) AS definition, v.reloptions AS options
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
 WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
   AND d.refobjid = %(oid)s AND v.oid <> %(oid)s AND n.nspname <> '_timescaledb_internal'
   AND NOT EXISTS (SELECT FROM timescaledb_information.continuous_aggregates
                    WHERE view_schema = n.nspname AND view_name = v.relname) ORDER BY 1
"""
_ON_TOP = """
SELECT pg_catalog.format('%%I.%%I', user_view_schema, user_view_name) FROM _timescaledb_catalog.continuous_agg
 WHERE parent_mat_hypertable_id = %s ORDER BY 1
"""
_SETTINGS = """
SELECT segmentby, orderby FROM timescaledb_information.hypertable_compression_settings
 WHERE hypertable = pg_catalog.format('%%I.%%I', %s::text, %s::text)::regclass
"""


class Policies(Struct, frozen=True):
    """Those of the aggregate itself; intervals as the server writes them, ``None``: no such policy or no bound."""

    refreshed: bool = False
    start_offset: str | None = None
    end_offset: str | None = None
    schedule_interval: str | None = None
    drop_after: str | None = None
    columnstore_after: str | None = None


class View(Struct, frozen=True):
    """A plain view that reads the aggregate."""

    name: str
    definition: str
    options: tuple[str, ...]


class Aggregate(Struct, frozen=True):
    """:param definition: its SELECT, names qualified. :param width: of a bucket, an interval's text.
    :param source_drop_after: retention of what it reads, as an interval's text.
    :param on_top: aggregates that read it. :param others: materialized views that do."""

    schema: str
    name: str
    definition: str
    bucket: str
    width: str
    time_type: str
    real_time: bool
    owner: str | None
    """When it is not the one who looks."""
    policies: Policies
    reads: tuple[str, str] | None
    """Schema and name of the aggregate that it is on top of."""
    source_drop_after: str | None
    columnstore: tuple[str | None, str | None] | None
    """segmentby and orderby, where it is on."""
    grants: tuple[tuple[str, str, bool], ...]
    comment: str | None
    column_comments: tuple[tuple[str, str], ...]
    indexes: tuple[str, ...]
    views: tuple[View, ...]
    on_top: tuple[str, ...]
    others: tuple[str, ...]


def read_aggregate(conn: psycopg.Connection[Any], name: str) -> Aggregate:
    """:param name: as in SQL; without a schema it is looked for on the search path.

    :raises WMigrateError: there is no such aggregate, or it is of a kind for which the way was never tried.
    """
    with conn.transaction(), conn.cursor(row_factory=namedtuple_row) as cursor:
        if not cursor.execute("SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'").fetchone():
            raise WMigrateError("this database has no TimescaleDB", hint="name the database with --dsn")
        found = cursor.execute(_AGGREGATE, [name]).fetchone()
        if found is None:
            raise WMigrateError(f"there is no continuous aggregate {name}", hint="write schema.name")
        # From here on names are written with their schema, so that a migration means the same everywhere.
        cursor.execute("SET LOCAL search_path = ''")
        return _Reading(cursor, found).aggregate()


class _Reading:
    def __init__(self, cursor: Any, found: Any) -> None:
        self._cursor, self._found = cursor, found
        self._stored = (found.materialization_hypertable_schema, found.materialization_hypertable_name)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        rows: list[Any] = self._cursor.execute(query, values).fetchall()
        return rows

    def aggregate(self) -> Aggregate:
        found = self._found
        readers = self._cursor.execute(_READERS, {"oid": found.oid}).fetchall()
        (drop_after,) = self._rows(_SOURCE_RETENTION, found.hypertable_schema, found.hypertable_name) or [(None,)]
        # The server's text of it, read again: with the search path empty, every name has its schema.
        definition = self._rows(
            "SELECT view_definition FROM timescaledb_information.continuous_aggregates"
            " WHERE view_schema = %s AND view_name = %s",
            found.view_schema,
            found.view_name,
        )
        return Aggregate(
            schema=found.view_schema,
            name=found.view_name,
            definition=definition[0][0].strip().rstrip(";"),
            bucket=found.bucket,
            width=self._width(),
            time_type=found.time_type,
            real_time=not found.materialized_only,
            owner=found.view_owner if found.foreign_owner else None,
            policies=self._policies(),
            reads=(found.read_schema, found.read_name) if found.read_name else None,
            source_drop_after=drop_after[0],
            columnstore=self._columnstore(),
            grants=tuple(map(tuple, self._rows(_GRANTS, found.oid))),
            comment=found.comment,
            column_comments=tuple(map(tuple, self._rows(_COLUMN_COMMENTS, found.oid))),
            indexes=tuple(text for (text,) in self._rows(_INDEXES, *self._stored, self._stored[1])),
            views=tuple(View(v.name, v.definition.strip(), tuple(v.options or ())) for v in readers if v.kind == "v"),
            on_top=tuple(text for (text,) in self._rows(_ON_TOP, found.mat_hypertable_id)),
            others=tuple(v.name for v in readers if v.kind != "v"),
        )

    def _width(self) -> str:
        rows = self._rows(_BUCKET, self._found.mat_hypertable_id)
        if not rows or not rows[0].fixed or rows[0].more or "int" in self._found.time_type:
            raise WMigrateError(
                f"{self._found.view_name} has buckets of months, in a time zone, with an origin, or of whole numbers:"
                " the way was not tried for these",
                hint="write the migrations by hand; docs/how-to/change-an-aggregate.md tells the steps",
            )
        width: str = rows[0].width
        return width

    def _policies(self) -> Policies:
        given: dict[str, Any] = {}
        for job in self._rows(_POLICIES, self._found.mat_hypertable_id):
            if job.proc_name == "policy_retention":
                given["drop_after"] = job.config["drop_after"]
            elif job.proc_name == "policy_compression":
                given["columnstore_after"] = job.config["compress_after"]
            else:
                given |= {"refreshed": True, "schedule_interval": job.schedule_interval}
                given |= {bound: job.config.get(bound) for bound in ("start_offset", "end_offset")}
        return Policies(**given)

    def _columnstore(self) -> tuple[str | None, str | None] | None:
        if not self._found.compression_enabled:
            return None
        ((segmentby, orderby),) = self._rows(_SETTINGS, *self._stored)
        return segmentby, orderby
