"""Whom a dropped column concerns: thirty DAGs and each column of the shipped schema, against what really fails without
it in a copy."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.blast import users_elsewhere, words_around
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.usage import GRADES, BlastRadius, Grade

PIPELINES = Path(__file__).parents[1] / "pipelines"
CONTEXT = {"ds": "2026-01-31", "ds_nodash": "20260131", "run_id": "run"}
SENT = {
    "with_hooks.literal": "SELECT maintenance_every FROM warehouse.equipment",
    "with_hooks.in_an_f_string": "SELECT notes FROM warehouse.orders",
    "with_hooks.concatenated": "SELECT assigned_to, metadata FROM warehouse.operations",
    "with_hooks.with_parameters": "SELECT unit FROM warehouse.item_units WHERE barcode = '1'",
    "with_hooks.formatted": "SELECT received_at FROM warehouse.lots",
    "with_hooks.rows": "INSERT INTO warehouse.application_metadata (key, value) VALUES ('k', 'v')",
    "made_bins.made": "SELECT capacity FROM warehouse.warehouse_locations",
    "made_docks.made": "SELECT coordinates FROM warehouse.warehouse_locations",
    "column_checks.table": "SELECT min(CASE WHEN manufactured_on <= expires_on THEN 1 ELSE 0 END) FROM warehouse.lots",
    "new_partners.rows": "INSERT INTO warehouse.partners (code, name, partner_type) VALUES ('y', 'n', 'customer')",
}
"""What tasks send that is no field of theirs."""
COLUMNS = """
SELECT pg_catalog.format('%s.%s', n.nspname, c.relname), a.attname
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname IN ('warehouse', 'audit') AND c.relname <> 'kept_lots'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p
    WHERE p.partrelid = c.oid AND a.attnum = ANY (p.partattrs))
ORDER BY 1, a.attnum
"""
"""All but the one by which a table is partitioned: it cannot be dropped."""
FAILING = """
CREATE FUNCTION public.failing(change text, texts text[]) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
  found int[] := '{}';
BEGIN
  BEGIN
    EXECUTE change;
    FOR i IN 1 .. cardinality(texts) LOOP
      BEGIN
        EXECUTE texts[i];
        RAISE EXCEPTION 'taken back' USING ERRCODE = 'WM001';
      EXCEPTION WHEN SQLSTATE 'WM001' THEN NULL;
        WHEN OTHERS THEN found := found || i;
      END;
    END LOOP;
    RAISE EXCEPTION 'taken back' USING ERRCODE = 'WM001';
  EXCEPTION WHEN SQLSTATE 'WM001' THEN NULL;
  END;
  RETURN found;
END $$
"""
Told = Mapping[tuple[str, str], Grade]


@pytest.fixture(scope="module")
def sent(app: Any) -> dict[str, str]:
    """By task, what it sends to the database; the DAGs are stored as Airflow does."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow_runner import store

    bag = DagBag(PIPELINES, bundle_path=PIPELINES)
    assert not bag.import_errors
    assert len(bag.dags) == 30
    found: dict[str, list[str]] = collections.defaultdict(list)
    for dag in bag.dags.values():
        store(dag)
        for task in dag.tasks:
            found[f"{dag.dag_id}.{task.task_id}"] += _texts(f"{dag.dag_id}.{task.task_id}", task)
    return {name: ";".join(texts) for name, texts in found.items()}


def _texts(name: str, task: Any) -> Iterator[str]:
    import jinja2
    from airflow.sdk.execution_time import macros

    if name in SENT:
        yield SENT[name]
        return
    fields = [task.expand_input.value["sql"]] if task.is_mapped else [getattr(task, f, []) for f in ("sql", "sql1")]
    for text in (each for field in fields for each in ([field] if isinstance(field, str) else field)):
        yield jinja2.Template(text).render(params=getattr(task, "params", {}), macros=macros, **CONTEXT)


def test_what_fails_without_a_column_was_foretold(
    sent: dict[str, str], cluster: Any, warehouse_template: str, tmp_path: Path
) -> None:
    dsn = cluster.create_database("blast", template=warehouse_template)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE warehouse.kept_lots AS SELECT * FROM warehouse.lots")
        conn.execute(FAILING)
        columns: Sequence[tuple[str, str]] = conn.execute(COLUMNS).fetchall()
        assert len(columns) > 180
        assert failing(conn, "SELECT", sent) == []
        fails = {
            (f"{table}.{column}", name)
            for table, column in columns
            for name in failing(conn, drop(table, column), sent)
        }
    for number, (table, column) in enumerate(columns, 101):
        (tmp_path / f"{number}_drop.sql").write_text(drop(table, column))
    migrator = Migrator(lambda: psycopg.connect(dsn), read_folder(tmp_path), identity=Identity("tester"))

    from airflow.utils.session import create_session

    from airflow_provider_wmigrate.dag_sql.files import in_files
    from airflow_provider_wmigrate.dag_sql.serialized import in_metadata

    def sure(conn_id: str | None) -> Grade:
        return "certain" if conn_id == "warehouse_db" else "likely"

    look = in_files(PIPELINES, migrations=None, sure=sure)
    foreseen, _ = migrator.forecast(migrator.plan(), migrator.analyses.of, look)
    by_files = [each.blast for each in foreseen]
    in_database = [replace(b, users=tuple(u for u in b.users if u.kind not in OUTSIDE)) for b in by_files]
    with create_session() as session:
        found = in_metadata(session, sure=sure)(frozenset(word for each in in_database for word in words_around(each)))
    by_serialized = [users_elsewhere(each, found) for each in in_database]
    for radii in (by_files, by_serialized):
        told = told_of(columns, radii)
        assert fails - told.keys() == set()
        assert {key for key, grade in told.items() if grade == "certain"} - fails == set()
        print({grade: precision(told, fails, grade) for grade in GRADES})


OUTSIDE = ("task", "Python function", "SQL file", "file")


def drop(table: str, column: str) -> str:
    return f'ALTER TABLE {table} DROP COLUMN "{column}" CASCADE'


def failing(conn: psycopg.Connection[Any], change: str, sent: Mapping[str, str]) -> list[str]:
    """The tasks that fail after a change, which is taken back."""
    row = conn.execute("SELECT public.failing(%s, %s)", [change, [*sent.values()]]).fetchone()
    names = [*sent]
    return [names[number - 1] for number in row[0]] if row else []


def told_of(columns: Sequence[tuple[str, str]], radii: Sequence[BlastRadius]) -> Told:
    """What was said of each task; a file does not tell the names of DAGs that a loop makes."""
    told: dict[tuple[str, str], Grade] = {}
    for (table, column), radius in zip(columns, radii, strict=True):
        made = "made_bins.made" if column == "capacity" else "made_docks.made"
        unnamed = {"export": f"export_{table.partition('.')[2]}.export", "made": made}
        for user in (user for user in radius.users if user.kind in OUTSIDE):
            name = user.name.partition(" ")[0]
            key = f"{table}.{column}", unnamed.get(name, name)
            told[key] = min(told.get(key, "perhaps"), user.grade, key=GRADES.index)
    return told


def precision(told: Told, fails: set[tuple[str, str]], grade: Grade) -> str:
    mine = [key for key, each in told.items() if each == grade and "." in key[1] and "(" not in key[1]]
    return f"{sum(key in fails for key in mine)} of {len(mine)}"


def test_the_page_says_which_tasks_use_what_goes(admin: Any, make_place: Any) -> None:
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
    from airflow.sdk import DAG
    from airflow_runner import store

    config = "environments: {development: {}}"
    made = "CREATE TABLE wide (id int, note text);"
    place = make_place("radius", {"001_made.sql": made, "migration_config.yaml": config})
    assert place.migrate().state == "success"
    with DAG("reads_wide", schedule=None) as dag:
        dag.fileloc = str(place.folder.with_suffix(".py"))
        SQLExecuteQueryOperator(task_id="reads", conn_id="radius", sql="SELECT note FROM wide")
        SQLExecuteQueryOperator(task_id="reads_id", conn_id="radius", sql="SELECT id FROM wide")
        SQLExecuteQueryOperator(task_id="templated", conn_id="radius", sql="SELECT note FROM wide WHERE id = {{ ds }}")
    store(dag)
    (place.folder / "002_drop.sql").write_text("ALTER TABLE wide DROP COLUMN note;")
    place.reparse()
    assert place.migrate(mode="dry_run").state == "success"
    answer = admin.get(f"{place.group}/plan").json()
    assert [line for line in answer["blast"]["002"] if not line.startswith("not looked at")] == [
        "drops column public.wide.note (line 1)",
        "used by, certain: task reads_wide.reads (it names it)",
        "used by, likely: task reads_wide.templated (it names it; variables are filled in)",
    ]
    (forecast,) = answer["forecast"]
    assert [user["name"] for user in forecast["blast"]["users"]] == ["reads_wide.reads", "reads_wide.templated"]
