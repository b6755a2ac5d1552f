"""Who uses what a pending migration drops, renames or gives another type: what the plan says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.dag_sql.files import in_files
from airflow_provider_wmigrate.engine.catalog.users import users_in_database
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.usage import BlastRadius

MakeMigrator = Callable[..., Any]
StartCluster = Callable[..., Any]
Conn = psycopg.Connection[Any]

MADE = """
CREATE SCHEMA s;
CREATE TABLE s.items (id int PRIMARY KEY, note text, n int);
CREATE TABLE public.other (id int, note text);
CREATE INDEX ON s.items (note);
CREATE VIEW v1 AS SELECT id, note FROM s.items;
CREATE VIEW v2 AS SELECT id FROM v1;
CREATE MATERIALIZED VIEW m AS SELECT n FROM s.items;
CREATE FUNCTION text_sql() RETURNS bigint LANGUAGE sql AS 'SELECT count(note) FROM s.items';
CREATE FUNCTION calls() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN text_sql() + 1; END $$;
CREATE VIEW v3 AS SELECT calls();
CREATE FUNCTION dynamic() RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN EXECUTE format('SELECT %I FROM s.items', 'note'); EXECUTE 'SELECT note FROM s.items'; END $$;
CREATE FUNCTION of_other() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM note FROM public.other; END $$;
CREATE FUNCTION lower_note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.note := lower(NEW.note); RETURN NEW; END $$;
CREATE TRIGGER lower_note BEFORE INSERT OR UPDATE ON s.items FOR EACH ROW EXECUTE FUNCTION lower_note();
CREATE POLICY noted ON s.items USING (note <> '');
CREATE TABLE part (item int REFERENCES s.items);
"""
ON = "it depends on it: the server refuses the drop, or CASCADE takes it along"
FOLLOWS = "it depends on it and follows the new name"
NO_STATEMENTS = "statements of programs: the extension pg_stat_statements is not installed"
DYNAMIC = "names that functions and programs put together only when they run"
VARIABLE = "used by, perhaps: function public.dynamic() (a column in it is a variable)"


def radius(migrator: MakeMigrator, script: str, **more: Any) -> BlastRadius:
    made: Migrator = migrator({"001_change.sql": script})
    ((foreseen,), _) = made.forecast(made.plan(), made.analyses.of, **more)
    return foreseen.blast or BlastRadius()


def lines(found: BlastRadius) -> list[str]:
    """What is said besides where nobody has looked."""
    return [line for line in found.lines() if not line.startswith("not looked at")]


IN_TEXTS = [
    "used by, likely: function public.dynamic() (it names it)",
    "used by, likely: function public.lower_note() (it names it)",
    "used by, likely: function public.text_sql() (it names it)",
    "used by, likely: function public.calls() (through function public.text_sql: it names it)",
    "used by, likely: trigger lower_note on s.items (through function public.lower_note(): it depends on it)",
    "used by, likely: view public.v3 (through function public.calls(): it depends on it)",
]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("ALTER TABLE s.items DROP COLUMN note", [
            "drops column s.items.note (line 1)", f"used by, certain: policy noted on s.items ({ON})",
            f"used by, certain: view public.v1 ({ON})", f"used by, certain: view public.v2 ({ON})", *IN_TEXTS]),
        ("SET search_path = s;\nALTER TABLE items RENAME COLUMN note TO remark", [
            "renames column s.items.note to remark (line 2)",
            f"used by, certain: policy noted on s.items ({FOLLOWS})", f"used by, certain: view public.v1 ({FOLLOWS})",
            f"used by, certain: view public.v2 ({FOLLOWS})", *IN_TEXTS]),
        ("ALTER TABLE s.items ALTER n TYPE bigint", [
            "changes the type of column s.items.n to int8 (line 1)",
            "used by, certain: materialized view public.m"
            " (it depends on it, and the server refuses a new type below a view or a rule)", VARIABLE]),
        ("ALTER TABLE s.items DROP COLUMN id CASCADE", [
            "drops column s.items.id (line 1)",
            f"used by, certain: table constraint part_item_fkey on public.part ({ON})", VARIABLE,
            "drops view public.v1 (line 1), through CASCADE", "no user of view public.v1 was found where it was looked",
            "drops view public.v2 (line 1), through CASCADE", "no user of view public.v2 was found where it was looked",
        ]),
        ("ALTER TABLE public.other RENAME TO another", [
            "renames table public.other to another (line 1)",
            "used by, likely: function public.of_other() (it names it)"]),
        ("ALTER TABLE other SET SCHEMA s", [
            "renames table public.other to s.other (line 1)",
            "used by, likely: function public.of_other() (it names it)"]),
        ("DROP FUNCTION text_sql()", [
            "drops function public.text_sql (line 1)",
            "used by, likely: function public.calls() (it names it)",
            "used by, likely: view public.v3 (through function public.calls(): it depends on it)"]),
        ("DROP VIEW v3; CREATE VIEW v3 AS SELECT 1", [
            "drops view public.v3 (line 1), and makes it again",
            "no user of view public.v3 was found where it was looked"]),
        ("CREATE TABLE new (n int); ALTER TABLE new DROP COLUMN n; ALTER TABLE s.items ADD COLUMN x int", []),
    ],
)  # fmt: skip
def test_who_uses_what_a_migration_takes_away(migrator: MakeMigrator, conn: Conn, script: str, told: list[str]) -> None:
    conn.execute(MADE)
    assert sorted(lines(radius(migrator, script))) == sorted(told)


def test_it_says_where_nobody_has_looked(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(MADE)
    found = radius(migrator, "ALTER TABLE public.other DROP COLUMN id;\nDO $$ BEGIN DROP TABLE s.items; END $$")
    assert found.unseen == (
        "what line 2 of 001_change.sql takes away", NO_STATEMENTS, "the DAGs of Airflow", DYNAMIC
    )  # fmt: skip
    assert [*found.lines()][1] == "no user of column public.other.id was found where it was looked"


DAG = """
from airflow.sdk import DAG, task
READ = "SELECT note FROM s.items"
with DAG("daily"):
    Operator(task_id="field", conn_id="here", sql="SELECT id, note FROM s.items")
    Operator(task_id="constant", conn_id="here", sql=READ)
    Operator(task_id="file", conn_id="here", sql="sql/load.sql")
    Operator(task_id="templated", conn_id="here", sql="SELECT note FROM s.items WHERE id = {{ ds }}")
    Operator(task_id="anywhere", sql="SELECT note FROM s.items")
    Operator(task_id="other_database", conn_id="there", sql="SELECT note FROM s.items")
    Operator(task_id="other_table", conn_id="here", sql="SELECT note FROM public.other")
    Operator(task_id="other_column", conn_id="here", sql="SELECT id FROM s.items")
    Operator(task_id="other_schema", conn_id="here", sql="SELECT note FROM items")
    Operator.partial(task_id="mapped", conn_id="here").expand(sql=["SELECT note FROM s.items"])

    @task
    def with_a_hook(table="s.items"):
        \"\"\"Whoever writes about s.items and note in a docstring uses nothing.\"\"\"
        hook.run(f"UPDATE {table} SET note = 1")

    @task
    def rows():
        hook.insert_rows("s.items", rows, target_fields=["id", "note"])
"""


def test_tasks_are_found_in_their_files(migrator: MakeMigrator, conn: Conn, tmp_path: Path) -> None:
    conn.execute(MADE)
    dags = tmp_path / "dags"
    for name, text in {
        "daily.py": DAG,
        "sql/load.sql": "INSERT INTO x SELECT i.note FROM s.items i",
        "sql/alone.sql": "INSERT INTO s.items VALUES (1)",
        "factory.yaml": "table: s.items\ncolumns: [note]",
        "broken.py": "note = (",
        "migrations/001_old.sql": "SELECT note FROM s.items",
    }.items():
        (dags / name).parent.mkdir(parents=True, exist_ok=True)
        (dags / name).write_text(text)
    grades = {"here": "certain", "there": None, None: "likely"}
    look = in_files(dags, migrations=dags / "migrations", sure=grades.__getitem__)
    found = radius(migrator, "ALTER TABLE s.items DROP COLUMN note", elsewhere=look)
    assert [str(user) for user in found.users if user.kind in ("task", "SQL file", "file")] == [
        "certain: task daily.field (daily.py:5) (it names it)",
        "certain: task daily.constant (daily.py:6) (it names it)",
        "certain: task daily.file (daily.py:7) (it names it)",
        "certain: task daily.mapped (daily.py:14) (it names it)",
        "likely: task daily.templated (daily.py:8) (it names it; variables are filled in)",
        "likely: task daily.anywhere (daily.py:9) (it names it)",
        "likely: SQL file sql/alone.sql (it relies on how many columns there are)",
        "perhaps: task daily.other_schema (daily.py:13) (it names it; only with s in its search path)",
        "perhaps: task daily.with_a_hook (daily.py:17) (it names it; a name in it is a variable)",
        "perhaps: task daily.rows (daily.py:22) (the words stand in a text that is no SQL)",
        "perhaps: file factory.yaml (the words stand in a text that is no SQL)",
    ]
    assert "broken.py: it is no Python of this version" in found.unseen
    assert "the DAGs of Airflow" not in found.unseen


def test_what_statements_are_seen_depends_on_the_right_and_not_on_the_extension_being_new(
    start_cluster: StartCluster, conn: Conn
) -> None:
    """`pg_upgrade` leaves the extension as it was."""
    known = "SELECT FROM pg_available_extension_versions WHERE name = 'pg_stat_statements' AND version = '1.8'"
    if conn.execute(known).fetchone() is None:
        pytest.skip("this server has no pg_stat_statements 1.8")
    more = {"shared_preload_libraries": "pg_stat_statements"}
    with start_cluster(more) as server, psycopg.connect(server.create_database("c"), autocommit=True) as there:
        there.execute("CREATE EXTENSION pg_stat_statements VERSION '1.8'; CREATE ROLE reader")
        there.execute("SELECT 1 AS apple")
        found = users_in_database(there, [], ["apple"])
        assert ([each.text for each in found.statements], found.unseen) == (["SELECT $1 AS apple"], ())
        there.execute("SET ROLE reader")
        found = users_in_database(there, [], ["apple"])
    (unseen,) = found.unseen
    assert found.statements == ()
    assert unseen.endswith(" statements of other roles: this role has no right to see them (pg_read_all_stats)")
