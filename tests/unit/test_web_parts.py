"""What the page tells without asking anybody: where migrations stand, which scripts are shown, what can be chosen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wmigrate.engine.model import Identity, LastEvent, Script, Status, checksum
from airflow_provider_wmigrate.task_docs import HIDDEN, MigrationDoc, ShownScript
from airflow_provider_wmigrate.web import schemas, scripts
from airflow_provider_wmigrate.web.catalog import DagParam, GroupTasks, StepTask, is_template
from airflow_provider_wmigrate.web.choices import check_environment, choices, known_version, modes
from airflow_provider_wmigrate.web.migration_states import MigrationStates, from_nothing, from_results, stand_in
from airflow_provider_wmigrate.web.problems import ProblemError
from airflow_provider_wmigrate.web.scripts import NotDeployed, Reader, deployed
from airflow_provider_wmigrate.web.task_results import PlanResult, RunKey, TaskResult
from airflow_provider_wmigrate.web.urls import dag_url, run_url, task_url

AT = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
KEY = RunKey("d", "r", -1)


def step(version: str, *needs: str, **doc: Any) -> StepTask:
    script = ShownScript(f"{version}_m.sql", f"sum {version}", "SELECT 1;")
    given = {"dependencies": needs, "script": script, "rollback": ShownScript("r.sql", "r", "SELECT 2;"), **doc}
    return StepTask(version, f"g.{version}_m", f"sum {version}", MigrationDoc(**given))


def group(*steps: StepTask, **more: Any) -> GroupTasks:
    given = {"conn_id": "db", "environment": None, "mode": "apply", "to": None, **more}
    return GroupTasks("d", "g", "apply", "g.plan", steps or (step("001"), step("002", "001")), **given)


# Where migrations stand


def result(version: str, outcome: str, minutes: int = 5, **value: Any) -> TaskResult:
    at = AT + timedelta(minutes=minutes)
    told = {"version": version, "outcome": outcome, "name": "m", "checksum": f"sum {version}", **value}
    return TaskResult(KEY, f"g.{version}_m", at, told)


def states(statuses: Mapping[str, str], *records: TaskResult, **more: Any) -> MigrationStates:
    plan = PlanResult(group(), KEY, AT, {"statuses": statuses})
    return from_results(stand_in(group(), None), plan, records, more.get("failures", ()), more.get("left_out", {}))


@pytest.mark.parametrize(
    ("statuses", "records", "found"),
    [
        ({"001": "pending", "002": "pending"}, [], "pending pending"),
        ({"001": "applied", "002": "pending"}, [], "applied pending"),
        ({"001": "incomplete", "002": "pending"}, [], "incomplete pending"),
        ({"001": "changed", "002": "pending"}, [], "changed pending"),
        ({"001": "left_out", "002": "pending"}, [], "pending pending"),
        ({"001": "from a later wmigrate", "002": "pending"}, [], "pending pending"),
        ({"001": "pending", "002": "pending"}, [result("001", "applied")], "applied pending"),
        ({"001": "pending", "002": "pending"}, [result("001", "dry_run")], "pending pending"),
        ({"001": "applied", "002": "pending"}, [result("001", "rolled_back")], "pending pending"),
        ({"001": "pending", "002": "pending"}, [result("001", "applied", 0)], "pending pending"),
        ({"001": "applied", "002": "pending"}, [result("001", "rolled_back", 0)], "applied pending"),
        (
            {"001": "pending", "002": "pending"},
            [result("001", "applied"), result("001", "rolled_back", 6)],
            "pending pending",
        ),
        ({"001": "applied", "002": "pending"}, [result("001", "applied", 0, checksum="x")], "changed pending"),
        ({"001": "incomplete", "002": "pending"}, [result("001", "applied", 0)], "incomplete pending"),
        ({"001": "applied", "002": "applied", "003": "missing"}, [], "applied applied missing"),
        ({"001": "applied", "002": "applied", "003": "forgotten"}, [], "applied applied forgotten"),
    ],
)
def test_what_the_newest_plan_saw_carried_on(statuses: dict[str, str], records: list[TaskResult], found: str) -> None:
    assert " ".join(status.value for status in states(statuses, *records).statuses.values()) == found


def test_how_an_applied_one_came_to_be() -> None:
    made = states({"001": "pending", "002": "applied"}, result("001", "applied", statements=3, duration_ms=7))
    (entry,) = made.entries.values()
    assert (entry.version, entry.name, entry.checksum, entry.applied_at) == (
        "001",
        "m",
        "sum 001",
        AT + timedelta(minutes=5),
    )
    assert (entry.duration_ms, entry.statements_done, entry.statements_total, entry.status) == (7, 3, 3, "applied")
    assert entry.identity == Identity("", "d", "r", "g.001_m")
    assert made.schema_version == "002"
    assert states({"001": "pending"}).schema_version is None
    assert states({"001": "applied"}, result("001", "rolled_back")).entries == {}


def test_a_failure_and_what_a_plan_left_out() -> None:
    failed = LastEvent("001", "failed", AT, Identity("ann"), error="broke")
    assert states({"001": "pending"}, failures=[failed]).statuses["001"] is Status.FAILED
    made = states({"001": "applied", "002": "pending"}, left_out={"002": "no extension", "001": "x"})
    assert made.statuses == {"001": Status.APPLIED, "002": Status.LEFT_OUT}
    assert (made.overview.plan.steps, made.overview.plan.left_out) == ((), {"002": "no extension"})
    assert [(each.version, each.status, each.reason) for each in made.overview.standings] == [
        ("001", Status.APPLIED, ""),
        ("002", Status.LEFT_OUT, "no extension"),
    ]


def test_as_if_no_database_had_ever_been_seen() -> None:
    folder = stand_in(group(environments={"": {"late_migrations": "apply", "ledger_schema": "wm"}}), None)
    assert from_nothing(folder).statuses == {"001": Status.PENDING, "002": Status.PENDING}
    settings = folder.config.settings
    assert (settings.execution.late_migrations, settings.ledger.schema_name) == ("apply", "wm")
    first, second = folder.migrations
    assert (first.script, second.dependencies) == (Script("001_m.sql", "", "sum 001"), ("001",))
    assert (first.name, first.rollback) == ("m", Script("r.sql", "", "r"))
    bare = stand_in(group(StepTask("001", "g.001_a", "x", MigrationDoc())), None).migrations[0]
    assert (bare.script, bare.rollback, bare.name) == (Script("001_a.sql", "", "x"), None, "a")


# Which scripts are shown


def shown(made: GroupTasks, the_step: StepTask | None = None, *, may: bool = True) -> schemas.ScriptText:
    return Reader(made, may).sql(the_step or made.steps[0])


def unavailable(reason: str, **more: Any) -> schemas.ScriptText:
    known = {"file": "001_m.sql", "checksum": "sum 001", **more}
    return schemas.ScriptText(origin="unavailable", reason=reason, **known)


NO_CODE = "you may not read the code of this DAG, so its SQL is not shown to you; ask for that right"
SHOWN = {"file": "001_m.sql", "checksum": "sum 001", "lines": 1}
HIDING = group(environments={"": {"include_sql": False}})


def test_who_may_not_read_the_code_sees_no_script() -> None:
    assert shown(group()) == schemas.ScriptText(origin="dag", text="SELECT 1;", **SHOWN)
    assert shown(group(), may=False) == unavailable(NO_CODE)
    assert shown(HIDING) == unavailable(HIDDEN)
    assert shown(HIDING, may=False) == unavailable(NO_CODE)
    recorded = Script.of("l.sql", "SELECT 3;")
    reader = Reader(group(), False)
    assert reader.rollback(None, recorded, live=True) == unavailable(NO_CODE, file="l.sql", checksum=recorded.checksum)


def test_a_rollback_is_the_one_that_the_ledger_has() -> None:
    recorded, reader = Script.of("l.sql", "SELECT 3;\nSELECT 4;"), Reader(group(), True)
    assert reader.rollback(step("001"), recorded, live=True) == schemas.ScriptText(
        origin="ledger", text=recorded.text, file="l.sql", checksum=recorded.checksum, lines=2
    )
    assert reader.rollback(step("001"), None, live=True) == schemas.ScriptText(
        origin="dag", text="SELECT 2;", file="r.sql", checksum="r", lines=1
    )
    none = {"origin": "unavailable", "reason": "it has none"}
    assert reader.rollback(step("001", rollback=None), None, live=False) == schemas.ScriptText(**none)
    assert reader.rollback(None, None, live=True) == schemas.ScriptText(**none)
    not_read = "only the ledger could have it, and that was not read"
    assert reader.rollback(None, None, live=False) == schemas.ScriptText(origin="unavailable", reason=not_read)
    gone = "its file is gone from the folder"
    assert reader.sql(None) == schemas.ScriptText(origin="unavailable", reason=gone)


def test_a_script_that_is_too_long_for_the_dag_is_read_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    text = "SELECT 1;\n\nSELECT 2;\n"
    (tmp_path / "m" / "001_m.sql").write_text(text)
    made = group(environments={"": {"folder": "m"}}, fileloc=str(tmp_path / "dag.py"))

    def told(script: ShownScript) -> schemas.ScriptText:
        return shown(made, step("001", script=script))

    mine = ShownScript("001_m.sql", checksum(text), reason="is long")
    assert told(mine) == schemas.ScriptText(
        origin="folder", text=text, file="001_m.sql", checksum=mine.checksum, lines=3
    )
    assert told(replace(mine, reason=HIDDEN)) == unavailable(HIDDEN, checksum=mine.checksum)
    edited = (
        f"{tmp_path}/m/001_m.sql is not the file that the DAG was made of: it was edited since, or another version is"
    )
    assert str(told(replace(mine, checksum="x")).reason).startswith(edited)
    assert shown(group(), step("001", script=mine)) == unavailable("is long", checksum=mine.checksum)
    undocumented = "no task group made this task, so the DAG does not hold its script"
    assert shown(group(), step("001", script=None)) == unavailable(undocumented)


def test_what_is_no_file_of_the_folder_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("SELECT 1;")
    wanted = checksum("SELECT 1;")
    assert deployed(tmp_path, "a.sql", wanted) == "SELECT 1;"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff")
    for file, said in [
        ("../a.sql", "../a.sql is no file of the folder"),
        ("", " is no file of the folder"),
        ("pipe", f"{tmp_path}/pipe is not the file that the DAG was made of"),
        ("bytes", f"{tmp_path}/bytes is not the file that the DAG was made of"),
        ("b.sql", "too long to be part of the DAG, and Airflow's API server cannot read"),
    ]:
        with pytest.raises(NotDeployed) as raised:
            deployed(tmp_path, file, wanted)
        assert str(raised.value).startswith(said)


def test_a_long_script_is_told_in_parts_of_whole_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "SHOWN_AT_ONCE", 30)
    lines = [f"SELECT {number}, 'a string';\n" for number in range(10, 15)]
    made = step("001", script=ShownScript("001_m.sql", "x", "".join(lines)))
    told, line = [], 1
    while True:
        part = Reader(group(), True, line).sql(made)
        told.append(part.text)
        assert part.lines == 5
        if part.next_line is None:
            break
        assert part.next_line == line + str(part.text).count("\n")
        line = part.next_line
    assert told == lines


# What a run can be given

CHOOSING = group(
    environment="{{ params.env }}",
    mode="{{ dag_run.conf['mode'] }}",
    to="{{ params['to'] }}",
    rollback_script="{{ dag_run.conf.get('which') }}",
    params={"env": DagParam("a", {"enum": ["a", "b"]}), "mode": DagParam(None, {"enum": ["apply"]})},
)
FIXED = group(environment="a", mode="dry_run")


def test_what_a_run_can_choose() -> None:
    assert choices(CHOOSING, "b") == schemas.Choices(
        to=True, modes=["apply"], environments=["a", "b"], rollback_script=True, environment="b"
    )
    assert choices(FIXED, "b") == schemas.Choices(
        to=False, modes=["dry_run"], environments=None, rollback_script=False, environment="a"
    )
    assert choices(group(), "b").environment is None
    free = group(mode="{{ params.mode }}", environment="{{ params.env }}")
    assert (modes(free), choices(free, None).environments) == (["apply", "dry_run"], [])


@pytest.mark.parametrize(
    ("made", "environment", "said"),
    [
        (CHOOSING, "a", None),
        (CHOOSING, "c", "environment must be one of a, b"),
        (FIXED, "a", None),
        (FIXED, "b", "runs of d cannot choose an environment; leave it out"),
        (group(environment="{{ params.env }}"), "anything", None),
    ],
)
def test_an_environment_that_was_typed(made: GroupTasks, environment: str, said: str | None) -> None:
    if said is None:
        check_environment(made, environment)
        return
    with pytest.raises(ProblemError) as raised:
        check_environment(made, environment)
    assert vars(raised.value) == vars(ProblemError(422, "invalid_params", said))


def test_a_version_that_was_typed() -> None:
    assert known_version(group(), "2") == "002"
    with pytest.raises(ProblemError) as raised:
        known_version(group(), "9")
    assert (raised.value.status, raised.value.code) == (422, "unknown_target_version")
    assert "this group" in str(raised.value.detail)


@pytest.mark.parametrize(
    ("template", "key", "value"),
    [
        ("{{ params.env }}", "env", "a"),
        ("{{params['env']}}", "env", "a"),
        ("{{ dag_run.conf.get('env') }}", "env", "a"),
        ("{{ dag_run.conf['env'] }}", "env", "a"),
        ("{{ (dag_run.conf or {}).get('env', '') }}", "env", "a"),
        ("x-{{ params.env }}", None, "x-a"),
        ("{{ params.mode }}", "mode", "given"),
        ("{{ params.unknown }}", "unknown", None),
        ("{{ ds }}", None, None),
        ("{% if x %}", None, None),
        ("MappedArgument(x)", None, None),
        ("plain", None, "plain"),
        ("", None, ""),
        (None, None, None),
    ],
)
def test_fields_that_are_templates(template: str | None, key: str | None, value: str | None) -> None:
    assert CHOOSING.chosen_by(template) == key
    assert CHOOSING.with_conf(template, {"mode": "given"}) == value


def test_what_a_group_says_of_itself() -> None:
    assert CHOOSING.keys_in("{{ params.a }} {{ dag_run.conf['b'] }}") == {"a", "b"}
    assert (CHOOSING.prefix, CHOOSING.report_task_id) == ("g.", "g.report")
    assert [group().is_mapped, group(conn_id="MappedArgument(x)").is_mapped] == [False, True]
    assert group(environment="MappedArgument(x)").is_mapped
    assert group().folder is None
    assert group(environments={"": {"folder": "m"}}).folder is None
    both = group(environments={"": {"a": 1}, "b": {"a": 2}})
    assert [both.settings(name) for name in (None, "b", "c")] == [{"a": 1}, {"a": 2}, {"a": 1}]
    assert [is_template(field) for field in (None, "x", "{{ x }}", "{% x %}")] == [False, False, True, True]
    assert (step("001").stem, step("001").name, step("001").is_folded) == ("001_m", "m", False)


def test_addresses_of_airflows_own_pages() -> None:
    assert dag_url("a/b") == "dags/a%2Fb"
    assert run_url("d", "manual__2026-01-31T12:00:00+00:00/x") == "dags/d/runs/manual__2026-01-31T12:00:00+00:00%2Fx"
    assert task_url("d", "r", "g.t/x", -1) == "dags/d/runs/r/tasks/g.t%2Fx"
    assert task_url("d", "r", "t", 0) == "dags/d/runs/r/tasks/t/mapped/0"
