"""A folder becomes tasks and edges: what a parsed DAG says, and what parsing costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, TriggerRule
from airflow.serialization.serialized_objects import DagSerialization
from own_process import own_process

from airflow_provider_wmigrate import MigrationTaskGroup, RollbackTaskGroup
from airflow_provider_wmigrate.engine.extension import RequiredExtension
from airflow_provider_wmigrate.engine.folder import scripts
from airflow_provider_wmigrate.engine.model import NOT_READ, checksum
from airflow_provider_wmigrate.task_docs import MigrationDoc, ShownScript

ROOT = Path(__file__).resolve().parents[2]
MakeFolder = Callable[..., Path]

# 001 <- 002, 003 <- 004, and 005 by itself.
DIAMOND = {f"{n:03d}_{name}.sql": "SELECT 1;" for n, name in enumerate("abcde", 1)} | {
    "migration_config.yaml": dedent("""
        migrations:
          - {version: 2, dependencies: [1]}
          - {version: 3, dependencies: [1]}
          - {version: 4, dependencies: [2, 3]}
          - {version: 5, dependencies: []}
        settings: {execution: {timeout_seconds: 100, lock_wait_seconds: 10, retry_attempts: 1}}
        environments:
          production: {execution: {timeout_seconds: 500, retry_attempts: 4}}
          staging: {execution: {lock_wait_seconds: 40}}
    """)
}
STEPS = ["001_a", "002_b", "003_c", "004_d", "005_e"]


def migrations(folder: Path, **arguments: Any) -> DAG:
    with DAG("d", schedule=None) as dag:
        MigrationTaskGroup("migrate", folder=folder, conn_id="target", **arguments)
    return dag


def rollback(folder: Path, **arguments: Any) -> DAG:
    with DAG("d", schedule=None) as dag:
        RollbackTaskGroup("rollback", folder=folder, conn_id="target", to="{{ params.to }}", **arguments)
    return dag


def edges(dag: DAG) -> set[tuple[str, str]]:
    def short(task_id: str) -> str:
        return task_id.rpartition(".")[2]

    return {(short(task.task_id), short(below)) for task in dag.tasks for below in task.downstream_task_ids}


def between_migrations(dag: DAG) -> set[tuple[str, str]]:
    return {(above, below) for above, below in edges(dag) if {above, below} <= set(STEPS)}


# Tasks and edges


def test_the_tasks_are_called_after_the_files(make_folder: MakeFolder) -> None:
    ids = migrations(make_folder(DIAMOND)).task_ids
    assert sorted(ids) == [f"migrate.{name}" for name in (*STEPS, "plan", "report")]


def test_a_group_may_leave_its_name_out_of_the_ids(make_folder: MakeFolder) -> None:
    dag = migrations(make_folder(DIAMOND), prefix_group_id=False)
    assert sorted(dag.task_ids) == [*STEPS, "plan", "report"]
    assert dag.task_dict["001_a"].plan_task_id == "plan"
    assert dag.task_dict["plan"].tasks == dict(zip(["001", "002", "003", "004", "005"], STEPS, strict=True))


def test_the_edges_between_migrations_are_the_declared_dependencies(make_folder: MakeFolder) -> None:
    declared = {("001_a", "002_b"), ("001_a", "003_c"), ("002_b", "004_d"), ("003_c", "004_d")}
    assert between_migrations(migrations(make_folder(DIAMOND))) == declared


def test_rolling_back_reverses_the_edges(make_folder: MakeFolder) -> None:
    folder = make_folder(DIAMOND)
    forward = between_migrations(migrations(folder))
    assert between_migrations(rollback(folder)) == {(below, above) for above, below in forward}


def test_nothing_declared_means_one_after_the_other(make_folder: MakeFolder) -> None:
    dag = migrations(make_folder({"001_a.sql": "SELECT 1;", "003_c.sql": "SELECT 1;", "010_x.sql": "SELECT 1;"}))
    assert {edge for edge in edges(dag) if "report" not in edge} == {
        ("plan", "001_a"),
        ("001_a", "003_c"),
        ("003_c", "010_x"),
    }


def test_only_roots_hang_on_the_plan_and_the_report_waits_for_all(make_folder: MakeFolder) -> None:
    found = edges(migrations(make_folder(DIAMOND)))
    assert {below for above, below in found if above == "plan"} == {"001_a", "005_e"}
    assert {above for above, below in found if below == "report"} == set(STEPS)


def test_a_rollback_starts_with_the_leaves(make_folder: MakeFolder) -> None:
    found = edges(rollback(make_folder(DIAMOND)))
    assert {below for above, below in found if above == "plan"} == {"004_d", "005_e"}
    assert {above for above, below in found if below == "report"} == set(STEPS)


def test_the_rollback_of_a_run_stands_before_the_report(make_folder: MakeFolder) -> None:
    dag = migrations(make_folder(DIAMOND), on_run_failure="roll_back")
    found = edges(dag)
    assert {above for above, below in found if below == "roll_back_run"} == set(STEPS)
    assert {above for above, below in found if below == "report"} == {"roll_back_run"}
    assert dag.task_dict["migrate.roll_back_run"].trigger_rule == TriggerRule.ALL_DONE


def test_an_empty_folder_is_a_plan_and_a_report(make_folder: MakeFolder) -> None:
    assert edges(migrations(make_folder({}))) == {("plan", "report")}


def test_fail_fast_is_refused_by_airflow(make_folder: MakeFolder) -> None:
    """As docs/airflow.md says: not one of the tasks' rules may be another than the default."""
    from airflow.sdk.exceptions import FailFastDagInvalidTriggerRule

    with pytest.raises(FailFastDagInvalidTriggerRule), DAG("hasty", schedule=None, fail_fast=True):
        MigrationTaskGroup("migrate", folder=make_folder(DIAMOND), conn_id="target")


def test_backfills_can_be_forbidden(make_folder: MakeFolder) -> None:
    from airflow.utils.types import DagRunType

    allowed = [DagRunType.MANUAL, DagRunType.SCHEDULED]
    with DAG("daily", schedule="@daily", allowed_run_types=allowed) as dag:
        MigrationTaskGroup("migrate", folder=make_folder(DIAMOND), conn_id="target")
    assert {kind.value for kind in dag.allowed_run_types} == {"manual", "scheduled"}


def test_only_keep_and_roll_back_are_known(make_folder: MakeFolder) -> None:
    with pytest.raises(ValueError, match="on_run_failure must be keep or roll_back, not 'undo'"):
        migrations(make_folder({}), on_run_failure="undo")


def test_two_groups_in_one_dag(make_folder: MakeFolder) -> None:
    folder = make_folder(DIAMOND)
    with DAG("d", schedule=None) as dag:
        first = MigrationTaskGroup("first", folder=folder, conn_id="one")
        second = MigrationTaskGroup("second", folder=folder, conn_id="two")
        first >> second
    assert dag.task_dict["first.report"].downstream_task_ids == {"second.plan"}
    assert dag.task_dict["second.002_b"].plan_task_id == "second.plan"


# What the config gives to the tasks


def test_trigger_rules(make_folder: MakeFolder) -> None:
    for dag in (migrations(make_folder(DIAMOND)), rollback(make_folder(DIAMOND))):
        rules = {task.task_id.rpartition(".")[2]: task.trigger_rule for task in dag.tasks}
        assert {rules[step] for step in STEPS} == {TriggerRule.NONE_FAILED}
        assert (rules["plan"], rules["report"]) == (TriggerRule.ALL_SUCCESS, TriggerRule.ALL_DONE)


def test_retries_are_those_of_the_most_patient_environment(make_folder: MakeFolder) -> None:
    assert {task.retries for task in migrations(make_folder(DIAMOND)).tasks} == {4}


def test_the_timeout_is_the_longest_budget_and_the_longest_wait(make_folder: MakeFolder) -> None:
    own = DIAMOND["migration_config.yaml"].replace("version: 3,", "version: 3, timeout_seconds: 900,")
    dag = migrations(make_folder({**DIAMOND, "migration_config.yaml": own}))
    margin = timedelta(seconds=60)
    assert dag.task_dict["migrate.002_b"].execution_timeout == timedelta(seconds=500 + 40) + margin
    assert dag.task_dict["migrate.003_c"].execution_timeout == timedelta(seconds=900 + 40) + margin


def test_the_documentation_shows_both_scripts(make_folder: MakeFolder) -> None:
    files = {"001_a.sql": "CREATE TABLE a ();\n", "001_a.rollback.sql": "DROP TABLE a;\n"}
    text = migrations(make_folder(files)).task_dict["migrate.001_a"].doc_md
    assert "```sql\nCREATE TABLE a ();\n```" in text
    assert "```sql\nDROP TABLE a;\n```" in text


def test_a_script_with_backticks_stays_what_it_is(make_folder: MakeFolder) -> None:
    script = "SELECT $$```sql\nx\n````$$;\n"
    text = migrations(make_folder({"001_a.sql": script})).task_dict["migrate.001_a"].doc_md
    assert f"`````sql\n{script}`````" in text


def test_what_programs_need_is_no_prose(make_folder: MakeFolder) -> None:
    """However it is written: no template, no Markdown, and nothing is cut."""
    scripts = {"001_a.sql": "SELECT '{{ params.nowhere }}{% ```' -- ä\n", "002_b.sql": "-- " + "x" * 3990}
    config = {
        "migrations": [
            {"version": 1, "description": "a\n- rollback: yes\n`001_a.rollback.sql`\n\n```sql\nDROP\n```"},
            {"version": 2, "dependencies": [1], "requires_extensions": [{"name": "x", "when_missing": "skip"}, "y"]},
        ]
    }
    dag = migrations(make_folder({**scripts, "migration_config.yaml": json.dumps(config)}))
    first, second = _serialized(dag, "migrate.001_a"), _serialized(dag, "migrate.002_b")
    assert json.loads(first["doc_json"]) == {
        "description": config["migrations"][0]["description"],
        "dependencies": [],
        "extensions": [],
        "script": {
            "file": "001_a.sql",
            "checksum": checksum(scripts["001_a.sql"]),
            "text": scripts["001_a.sql"],
            "reason": None,
        },
        "rollback": None,
        "dependencies_implied": True,
    }
    doc = MigrationDoc.from_json(second["doc_json"])
    assert doc.dependencies == ("001",)
    assert doc.required("fail") == (RequiredExtension("x", when_missing="skip"), RequiredExtension("y"))
    assert doc.script == ShownScript("002_b.sql", checksum(scripts["002_b.sql"]), scripts["002_b.sql"])


def _serialized(dag: DAG, task_id: str) -> dict[str, Any]:
    tasks = (task["__var"] for task in DagSerialization.to_dict(dag)["dag"]["tasks"])
    return next(task for task in tasks if task["task_id"] == task_id)


def test_the_documentation_hides_sql_where_one_environment_hides_it(make_folder: MakeFolder) -> None:
    hidden = "environments: {production: {logging: {include_sql: false}}}"
    dag = migrations(make_folder({"001_a.sql": "SELECT 'secret';", "migration_config.yaml": hidden}))
    assert "secret" not in json.dumps(DagSerialization.to_dict(dag), default=str)


def test_a_long_script_is_not_put_into_the_dag(make_folder: MakeFolder) -> None:
    dag = migrations(make_folder({"001_a.sql": "SELECT 1;\n" * 10_000}))
    assert len(json.dumps(DagSerialization.to_dict(dag), default=str)) < 20_000


# Serialized


def test_the_serialized_dag_is_the_same_every_time(make_folder: MakeFolder) -> None:
    folder = make_folder(DIAMOND)
    first, second = (DagSerialization.to_dict(migrations(folder)) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_the_serialized_dag_can_be_read_again(make_folder: MakeFolder) -> None:
    dag = migrations(make_folder(DIAMOND), on_run_failure="roll_back")
    again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert sorted(again.task_dict) == sorted(dag.task_dict)
    for task_id, task in again.task_dict.items():
        assert task.downstream_task_ids == dag.task_dict[task_id].downstream_task_ids
        assert task.trigger_rule == dag.task_dict[task_id].trigger_rule
    assert again.task_dict["migrate.002_b"].retries == 4


def test_an_edited_file_makes_another_dag_version(make_folder: MakeFolder) -> None:
    hidden = {"migration_config.yaml": "settings: {logging: {include_sql: false}}"}
    before = DagSerialization.to_dict(migrations(make_folder({"001_a.sql": "SELECT 1;", **hidden})))
    after = DagSerialization.to_dict(migrations(make_folder({"001_a.sql": "SELECT 2;", **hidden})))
    assert json.dumps(before) != json.dumps(after)


def test_no_path_of_this_machine_is_serialized(make_folder: MakeFolder, tmp_path: Path) -> None:
    serialized = DagSerialization.to_dict(migrations(make_folder(DIAMOND)))
    serialized["dag"].pop("fileloc")
    assert str(tmp_path) not in json.dumps(serialized)


# DAG files


def dag_file(path: Path, folder: Any, more: str = "") -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(
        dedent(f"""
        from airflow.sdk import DAG
        from airflow_provider_wmigrate import MigrationTaskGroup
        {more}
        with DAG("from_a_file", schedule=None):
            MigrationTaskGroup(folder={str(folder)!r}, conn_id="target")
        """)
    )
    return path


def parse(file: Path) -> DagBag:
    return DagBag(dag_folder=file, bundle_path=file.parent)


def test_a_relative_folder_is_relative_to_the_dag_file(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(DIAMOND)
    bag = parse(dag_file(tmp_path / "dags" / "deeper" / "file.py", "../../migrations"))
    assert bag.import_errors == {}
    assert bag.dags["from_a_file"].task_dict["migrate.001_a"].folder == str(folder)


def test_an_absolute_folder(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(DIAMOND)
    bag = parse(dag_file(tmp_path / "dags" / "file.py", folder))
    assert bag.dags["from_a_file"].task_dict["migrate.001_a"].folder == str(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"001_a.down.sql": "SELECT 1;"},
            "001_a.down.sql: is named in the way of golang-migrate; name it 001_a.rollback",
        ),
        ({"001_a.sql": b"\xff"}, "001_a.sql:1: is not UTF-8; save it as UTF-8"),
        (
            {"001_a.sql": "SELECT 1;", "migration_config.yaml": "setings: {}"},
            "migration_config.yaml:1: setings: is not a known key; did you mean settings?",
        ),
        (
            {"001_a.sql": "SELECT 1;", "migration_config.yaml": "migrations: [{version: 1, dependencies: [9]}]"},
            "migration_config.yaml:1: ",
        ),
        (None, "/migrations: no such folder; give the folder that holds"),
    ],
    ids=["name", "bytes", "key", "dependency", "no folder"],
)
def test_a_broken_folder_is_an_import_error(
    make_folder: MakeFolder, tmp_path: Path, files: dict[str, str | bytes] | None, message: str
) -> None:
    if files is not None:
        make_folder(files)
    file = dag_file(tmp_path / "dags" / "file.py", "../migrations")
    bag = parse(file)
    (shown,) = bag.import_errors.values()
    assert message in shown.strip().splitlines()[-1]
    assert bag.dags == {}


def test_a_folder_of_another_layout_is_an_import_error(make_folder: MakeFolder, tmp_path: Path) -> None:
    (make_folder({}) / "1_a").mkdir()
    (tmp_path / "migrations" / "1_a" / "up.sql").write_text("SELECT 1;")
    bag = parse(dag_file(tmp_path / "dags" / "file.py", "../migrations"))
    (shown,) = bag.import_errors.values()
    assert "migrations: holds no migration, but 1 SQL file in another layout (1_a/up.sql), as diesel" in shown
    assert bag.dags == {}


def test_variables_of_the_config_are_those_of_the_process_that_parses(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = 'settings: {execution: {retry_attempts: "${SHOP_RETRIES}"}, database: {host: "${NEVER_SET}"}}'
    folder = make_folder({"001_a.sql": "SELECT 1;", "migration_config.yaml": config})
    bag = parse(dag_file(tmp_path / "dags" / "unset.py", "../migrations"))
    (shown,) = bag.import_errors.values()
    says = "migration_config.yaml:1: settings.execution.retry_attempts: needs the environment variable SHOP_RETRIES"
    assert says in shown.strip().splitlines()[-1]
    monkeypatch.setenv("SHOP_RETRIES", "7")
    assert {task.retries for task in migrations(folder).tasks} == {7}


def test_files_keep_their_names_as_ids(make_folder: MakeFolder) -> None:
    """However many digits a version has, the id is the file's stem and the version is canonical."""
    stems = ["0_before", "1_add-mail", "10_x", "20240131093000_y"]
    dag = migrations(make_folder({f"{stem}.sql": "SELECT 1;" for stem in stems}))
    tasks = {task_id: dag.get_task(f"migrate.{task_id}") for task_id in stems}
    assert [task.version for task in tasks.values()] == ["000", "001", "010", "20240131093000"]
    assert tasks["20240131093000_y"].upstream_task_ids == {"migrate.10_x"}


def scripts_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scripts that are read from now on, in order."""
    opened: list[str] = []
    real = scripts._bytes

    def counted(directory: str, file: str) -> bytes:
        opened.append(file)
        return real(directory, file)

    monkeypatch.setattr(scripts, "_bytes", counted)
    return opened


def test_each_file_is_read_once(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder({f"{n:03d}_m.sql": f"SELECT {n};" for n in range(1, 301)})
    opened = scripts_read(monkeypatch)
    dag = migrations(folder)
    assert len(dag.tasks) == 103
    assert len(opened) == len(set(opened)) == 300


@pytest.mark.parametrize(
    ("task", "read"),
    [("003_c", ["003_c.sql"]), *((task, []) for task in ("plan", "history", "report"))],
)
def test_in_the_process_of_a_task_only_its_script_is_read(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, task: str, read: list[str]
) -> None:
    folder = make_folder({**DIAMOND, "005_e.sql": b"\xff is no text, as whoever parses the DAG for all will say"})
    opened = scripts_read(monkeypatch)
    with own_process("d", f"migrate.{task}"):
        dag = migrations(folder, max_tasks=4)
    assert opened == read
    (folder / "005_e.sql").write_text("SELECT 1;")
    whole = migrations(folder, max_tasks=4)
    assert (dag.task_ids, edges(dag)) == (whole.task_ids, edges(whole))
    assert dag.task_dict["migrate.003_c"].checksum == (whole.task_dict["migrate.003_c"].checksum if read else NOT_READ)


def _named_by_its_file(folder: Path) -> DAG:
    """What stands in for the tasks of other migrations may be named, changed and hung on as they may."""
    from airflow.providers.standard.operators.empty import EmptyOperator

    dag = migrations(folder, retries=7)
    dag.task_dict["migrate.004_d"].queue = "another"
    with dag:
        dag.task_dict["migrate.004_d"] >> EmptyOperator(task_id="told")
        EmptyOperator(task_id="first") >> dag.task_group["migrate"]
    return dag


def _mapped(folder: Path) -> DAG:
    """Airflow itself makes an edge from what gives the targets to each task that has a template."""
    from airflow.sdk import task, task_group

    with DAG("d", schedule=None) as dag:

        @task
        def targets() -> list[str]:
            return ["one", "two"]

        @task_group
        def each(conn_id: str) -> None:
            MigrationTaskGroup("migrate", folder=folder, conn_id=conn_id)

        each.expand(conn_id=targets())
    return dag


@pytest.mark.parametrize("task", ["001_a", "003_c", "report"])
@pytest.mark.parametrize("make", [migrations, rollback, _named_by_its_file, _mapped])
def test_the_process_of_a_task_has_the_dag_of_all(
    make_folder: MakeFolder, make: Callable[[Path], DAG], task: str
) -> None:
    """All of it but what stands in scripts that it has not read."""
    folder = make_folder(DIAMOND)
    whole = make(folder)
    with own_process("d", next(task_id for task_id in whole.task_ids if task_id.endswith(task))):
        mine = make(folder)
    assert _but_scripts(mine) == _but_scripts(whole)
    assert [list(t.task_group.children) for t in mine.tasks] == [list(t.task_group.children) for t in whole.tasks]


def _but_scripts(dag: DAG) -> dict[str, Any]:
    serialized: dict[str, Any] = DagSerialization.to_dict(dag)
    for task in serialized["dag"]["tasks"]:
        for name in ("checksum", "doc_md", "doc_json"):
            task["__var"].pop(name, None)
    return serialized


def test_what_a_task_starts_reads_a_dag_file_for_all(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as `airflow dags reserialize`: it inherits the variables of the task's process."""
    folder = make_folder(DIAMOND)
    whole = DagSerialization.to_dict(migrations(folder))
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "d")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "migrate.003_c")
    from airflow.sdk.execution_time import task_runner

    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    assert json.dumps(DagSerialization.to_dict(migrations(folder))) == json.dumps(whole)


PARSE = """
import socket, sys

def refuse(*arguments):
    raise AssertionError(f"a connection to {arguments[1:]} while a DAG file was parsed")

socket.socket.connect = socket.socket.connect_ex = refuse
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import BaseHook, Connection, Variable
BaseHook.get_connection = Connection.get = Variable.get = refuse
bag = DagBag(dag_folder=sys.argv[1], bundle_path=sys.argv[2])
assert not bag.import_errors, bag.import_errors
print(sorted(bag.dags))
print(sorted({"psycopg", "fastapi", "postgast", "airflow.providers.postgres.hooks.postgres"} & set(sys.modules)))
"""


def test_parsing_opens_no_connection() -> None:
    file = ROOT / "dags" / "warehouse_migrations.py"
    answer = subprocess.run(
        [sys.executable, "-c", PARSE, str(file), str(file.parent)], capture_output=True, text=True, cwd=ROOT
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-2:] == ["['warehouse_migrations']", "[]"]
