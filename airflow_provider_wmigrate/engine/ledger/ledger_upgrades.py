"""From an older version of the ledger's own tables to the current one: numbered steps.

`ledger.sql` is version 1. Whatever a later version changes is a step here, and a new ledger is made by `ledger.sql` and
every step, so that a new ledger and an upgraded one cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct


class LedgerUpgrade(Struct, frozen=True):
    """What makes a ledger one version newer. It only adds, and never changes a row of the audit log.

    :param version: the version it makes.
    :param script: SQL in which `{schema}` stands for the ledger's schema, and other braces are doubled.
    :param columns: table -> the columns it adds, which stand behind those that are there.
    """

    version: int
    script: str
    columns: Mapping[str, tuple[str, ...]] = MappingProxyType({})


UPGRADES: tuple[LedgerUpgrade, ...] = (
    LedgerUpgrade(
        2,
        "ALTER TABLE {schema}.schema_migrations ADD COLUMN script_session jsonb;"
        "COMMENT ON COLUMN {schema}.schema_migrations.script_session IS 'Journal of a script run statement by"
        " statement: the settings of its session as the last statement left them, and what of it cannot be had again';",
        {"schema_migrations": ("script_session",)},
    ),
    LedgerUpgrade(
        3,
        """
COMMENT ON COLUMN {schema}.schema_migrations.script_session IS 'Journal of a script run statement by statement: the settings of its session as the last statement left them, and what of it is not available';
CREATE TABLE {schema}.schema_snapshots (
    number         bigint      PRIMARY KEY,
    at             timestamptz NOT NULL,
    version        text        NOT NULL,
    audit_position bigint      NOT NULL,
    fingerprint    text        NOT NULL,
    format         integer     NOT NULL,
    server_version integer     NOT NULL,
    unseen         jsonb       NOT NULL,
    not_compared   jsonb       NOT NULL
);
COMMENT ON TABLE  {schema}.schema_snapshots IS 'wmigrate: one row for each time that the schema was kept as known, to find drift';
COMMENT ON COLUMN {schema}.schema_snapshots.number IS 'Counts from 1';
COMMENT ON COLUMN {schema}.schema_snapshots.at IS 'When, by the clock of the database server';
COMMENT ON COLUMN {schema}.schema_snapshots.version IS 'Highest version that was applied then; empty: none';
COMMENT ON COLUMN {schema}.schema_snapshots.audit_position IS 'Last row of audit_log before the schema was read';
COMMENT ON COLUMN {schema}.schema_snapshots.fingerprint IS 'SHA-256 over all facts of it';
COMMENT ON COLUMN {schema}.schema_snapshots.format IS 'Format of the facts; only the same format can be compared';
COMMENT ON COLUMN {schema}.schema_snapshots.server_version IS 'Version of the server, as it counts: 150004';
COMMENT ON COLUMN {schema}.schema_snapshots.unseen IS 'By kind of fact, why the role could not see it';
COMMENT ON COLUMN {schema}.schema_snapshots.not_compared IS 'By kind of object, how many are there that no fact tells of';
CREATE TABLE {schema}.schema_facts (
    from_snapshot bigint NOT NULL,
    to_snapshot   bigint,
    kind          text   NOT NULL,
    identity      text   NOT NULL,
    schema_name   text   NOT NULL,
    part_of       text   NOT NULL,
    attributes    text   NOT NULL,
    shown         text   NOT NULL,
    hash          text   NOT NULL,
    PRIMARY KEY (hash, from_snapshot)
);
COMMENT ON TABLE  {schema}.schema_facts IS 'wmigrate: what the known schema has and had; a snapshot is the facts that begin with it or before it and end after it';
COMMENT ON COLUMN {schema}.schema_facts.from_snapshot IS 'First snapshot that has it';
COMMENT ON COLUMN {schema}.schema_facts.to_snapshot IS 'First snapshot that has it no more; NULL: the newest one has it';
COMMENT ON COLUMN {schema}.schema_facts.kind IS 'Kind of fact: table, column, index ...';
COMMENT ON COLUMN {schema}.schema_facts.identity IS 'Its name, unique within its kind';
COMMENT ON COLUMN {schema}.schema_facts.schema_name IS 'Schema that it is in; empty: none';
COMMENT ON COLUMN {schema}.schema_facts.part_of IS 'Table, view or type that it is a part of; empty: it stands for itself';
COMMENT ON COLUMN {schema}.schema_facts.attributes IS 'Its attributes, as canonical JSON';
COMMENT ON COLUMN {schema}.schema_facts.shown IS 'What is shown and is no difference, as canonical JSON; empty: nothing';
COMMENT ON COLUMN {schema}.schema_facts.hash IS 'SHA-256 of kind, identity and attributes';
-- Whoever may use the ledger may use these tables too: nobody has to grant anything after an upgrade.
DO $do$
DECLARE
    may record;
BEGIN
    FOR may IN
        SELECT t.name, p.privilege_type, CASE p.grantee WHEN 0 THEN 'PUBLIC' ELSE p.grantee::pg_catalog.regrole::text END AS who
          FROM pg_catalog.pg_class c, pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) p,
               (VALUES ('{schema}.schema_snapshots'), ('{schema}.schema_facts')) AS t (name)
         WHERE c.oid = '{schema}.schema_migrations'::pg_catalog.regclass
           AND p.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')
           AND p.grantee <> (SELECT o.relowner FROM pg_catalog.pg_class o WHERE o.oid = t.name::pg_catalog.regclass)
    LOOP
        EXECUTE pg_catalog.format('GRANT %s ON %s TO %s', may.privilege_type, may.name, may.who);
    END LOOP;
END
$do$;
""",  # noqa: E501
        {
            "schema_snapshots": (
                *("number", "at", "version", "audit_position", "fingerprint"),
                *("format", "server_version", "unseen", "not_compared"),
            ),
            "schema_facts": (
                *("from_snapshot", "to_snapshot", "kind", "identity", "schema_name"),
                *("part_of", "attributes", "shown", "hash"),
            ),
        },
    ),
)


def newest(upgrades: Sequence[LedgerUpgrade]) -> int:
    """The version that a ledger has after all steps.

    :raises ValueError: the steps are not numbered 2, 3, 4 and so on.
    """
    numbers = [step.version for step in upgrades]
    if numbers != list(range(2, len(numbers) + 2)):
        raise ValueError(f"the steps make the versions {numbers}; number them 2, 3, 4 and so on")
    return len(numbers) + 1


def after(version: int, upgrades: Sequence[LedgerUpgrade]) -> Iterator[LedgerUpgrade]:
    """The steps that a ledger of some version still needs."""
    return (step for step in upgrades if step.version > version)


def columns_at(
    version: int, first: Mapping[str, Sequence[str]], upgrades: Sequence[LedgerUpgrade]
) -> dict[str, list[str]]:
    """The columns of every table in some version of the ledger.

    :param first: those of version 1.
    """
    found = {table: list(columns) for table, columns in first.items()}
    for step in upgrades:
        if step.version <= version:
            for table, columns in step.columns.items():
                found.setdefault(table, []).extend(columns)
    return found
