"""A person between plan and migrations: what is asked, who may answer, and what is behind a no."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_runner import Run, Runner, applied, audit, relations

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

CONFIG = """
settings: {execution: {retry_attempts: 0}}
environments: {production: {}}
"""
A = {"001_a.sql": "CREATE TABLE a (id int PRIMARY KEY); -- {{ 1 }}", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int REFERENCES a);", "002_b.rollback.sql": "DROP TABLE b;"}
DROP = {"002_drop.sql": "DROP TABLE a;"}
FOLDER = {**A, **B, "migration_config.yaml": CONFIG}
APPROVE = "migrate.approve"


def error(run: Run, task: str) -> str:
    from airflow.sdk.exceptions import AirflowFailException

    raised = run.errors[task]
    assert isinstance(raised, AirflowFailException), raised
    return str(raised)


def asking(runner: Runner, folder: Path, *, dag_id: str | None = None, **more: Any) -> Any:
    from airflow_provider_wmigrate import Approval

    who = {name: more.pop(name) for name in ("assigned_users", "four_eyes", "timeout") if name in more}
    return runner.migrations(folder, dag_id=dag_id, approval=Approval(**who), **more)


def test_it_is_applied_when_another_person_approves(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(FOLDER)
    run = runner.run(asking(runner, folder, environment="production"))
    assert run.states == {"plan": "success", "approve": "awaiting_input", "001_a": None, "002_b": None, "report": None}
    asked = run.request(APPROVE)
    assert (asked.options, asked.subject) == (["apply", "reject"], "Apply 2 migrations to target?")
    for shown in ("1. apply `001_a`", "2. apply `002_b`", "```sql\n" + A["001_a.sql"] + "\n```", B["002_b.sql"],
                  "| environment | `production` |", "| started by | `alice` |", "| target | `target` |"):  # fmt: skip
        assert shown in asked.body
    run.answer(APPROVE, "apply")
    assert (run.state, applied(conn)) == ("success", ["001", "002"])
    answer = run.returned("approve")
    assert {**answer, "at": "", "digest": ""} == {
        "answer": "apply", "user": {"id": "bob", "name": "bob"}, "at": "", "digest": ""}  # fmt: skip
    assert f"| digest | `{answer['digest']}` |" in asked.body
    ((_, row),) = audit(conn, "approved")
    assert {**answer, "environment": "production"}.items() <= row.items()
    assert list(row["steps"]) == ["001", "002"]
    actor = conn.execute("SELECT actor, task_id FROM wmigrate.audit_log WHERE event = 'approved'").fetchone()
    assert actor == ("bob", APPROVE)
    assert run.returned("report")["approval"] == answer
    assert len(run.events) == 1

    # Cleared again: nothing is to do, and nobody is asked
    run.clear("migrate.001_a")
    assert run.returned("001_a")["outcome"] == "already_applied"
    again = runner.run(asking(runner, folder, environment="production"))
    assert again.states["approve"] == "skipped"
    assert (again.order, again.state) == (["plan", "report"], "success")
    (folder / "003_c.sql").write_text("CREATE TABLE c (id int);")
    later = asking(runner, folder, dag_id=again.dag.dag_id, environment="production")
    again.clear("migrate.approve", "migrate.001_a", "migrate.report", dag=later)
    assert (again.states["approve"], again.returned("001_a")["outcome"]) == ("skipped", "already_applied")
    assert "c" not in relations(conn)


def test_a_no_skips_everything_and_the_report_says_so(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(asking(runner, make_folder(FOLDER), on_run_failure="roll_back"))
    run.answer(APPROVE, "reject", user="carol")
    assert run.states == {
        "plan": "success",
        "approve": "success",
        "001_a": "skipped",
        "002_b": "skipped",
        "roll_back_run": "skipped",
        "report": "failed",
    }
    at = run.returned("approve")["at"][:16].replace("T", " ")
    assert error(run, "report") == (
        f"rejected by carol at {at} UTC, so nothing was applied; trigger a new run, or clear migrate.approve with its"
        " downstream to ask again"
    )
    report = run.returned("report")
    assert (report["approval"]["answer"], report["applied"], run.state) == ("reject", [], "failed")
    assert (relations(conn), run.events, len(audit(conn, "rejected"))) == (set(), [], 1)

    run.clear("migrate.001_a", "migrate.report")  # a rejection is not forgotten
    assert error(run, "001_a").startswith("this plan was rejected by carol")
    run.clear(APPROVE, "migrate.001_a", "migrate.002_b", "migrate.roll_back_run", "migrate.report")
    assert run.states["approve"] == "awaiting_input"
    run.answer(APPROVE, "apply")
    assert (run.state, applied(conn)) == ("success", ["001", "002"])


def test_no_answer_in_time_is_a_no(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    import datetime

    run = runner.run(asking(runner, make_folder(FOLDER), timeout=datetime.timedelta(hours=1)))
    run.time_out(APPROVE)
    assert [run.states[task] for task in ("approve", "001_a", "002_b", "report")] == [
        "success", "skipped", "skipped", "failed"]  # fmt: skip
    assert error(run, "report").startswith("the plan was not approved: nobody has answered in time, so nothing was")
    ((_, row),) = audit(conn, "rejected")
    assert (row["answer"], row["user"], relations(conn)) == ("no answer in time", None, set())


def test_whoever_started_the_run_cannot_approve_it(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(FOLDER)
    run = runner.run(asking(runner, folder), user="alice")
    run.answer(APPROVE, "apply", user="alice")
    assert error(run, "approve") == (
        "alice has started this run, so somebody else has to approve it; clear migrate.approve with its downstream to"
        " ask again"
    )
    assert (run.states["001_a"], run.states["report"], relations(conn)) == ("upstream_failed", "failed", set())
    unknown = runner.run(asking(runner, folder), user=None)
    assert error(unknown, "approve") == (
        "nobody knows who has started this run (manual), so nobody can say whether another person approves it; trigger"
        " it in the UI or by the REST API, or give Approval(four_eyes=False)"
    )
    alone = runner.run(asking(runner, folder, four_eyes=False), user="alice")
    alone.answer(APPROVE, "apply", user="alice")
    assert applied(conn) == ["001", "002"]


def test_what_was_changed_since_the_approval_is_refused(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(FOLDER)
    dag = asking(runner, folder)
    run = runner.run(dag)
    (folder / "002_b.sql").write_text("CREATE TABLE z (id int);")
    run.answer(APPROVE, "apply")
    assert error(run, "001_a") == (
        "002_b.sql was edited after the plan that was approved; trigger a new run, so that a new plan is approved"
    )
    assert (run.states["002_b"], run.state, relations(conn)) == ("upstream_failed", "failed", set())
    dag = asking(runner, folder, dag_id=dag.dag_id)
    run.clear(*dag.task_ids, dag=dag)
    assert "CREATE TABLE z" not in run.request(APPROVE).body
    assert error(run, "approve") == (
        "the plan was made anew, but Airflow goes on showing what migrate.approve had asked before in this run; trigger"
        " a new run"
    )
    again = runner.run(dag)
    assert "CREATE TABLE z" in again.request(APPROVE).body
    again.answer(APPROVE, "apply")
    assert (again.state, relations(conn)) == ("success", {"a", "z"})


def test_a_backup_that_was_part_of_the_plan_cannot_be_switched_off_behind_it(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    """The task that makes it is taken out of the run then."""
    runner.run(runner.migrations(make_folder(A)))
    backup = "settings: {execution: {retry_attempts: 0}, backup: {enabled: true, backup_location: kept}}\n"
    folder = make_folder({**A, **DROP, "migration_config.yaml": backup})
    run = runner.run(asking(runner, folder))
    assert "needs a backup: it takes away table public.a" in run.request(APPROVE).body
    (folder / "migration_config.yaml").write_text("settings: {execution: {retry_attempts: 0}}\n")
    run.reset(dag=asking(runner, folder, dag_id=run.dag.dag_id))
    run.answer(APPROVE, "apply")
    assert (run.states["backup"], relations(conn)) == ("removed", {"a"})
    assert error(run, "002_drop") == (
        "settings.execution or settings.backup in migration_config.yaml were changed after the plan that was approved;"
        " trigger a new run, so that a new plan is approved"
    )


def test_a_mark_in_airflow_approves_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(asking(runner, make_folder(FOLDER)))
    run.mark("success", APPROVE)
    run.drive()
    assert error(run, "001_a").startswith("nobody has approved this plan in this run; trigger a new run")
    run.mark("skipped", APPROVE)
    run.clear("migrate.001_a", "migrate.002_b", "migrate.report")
    assert (run.state, relations(conn)) == ("failed", set())
    run.lose_xcoms("proposal")
    run.clear("migrate.001_a")
    assert error(run, "001_a") == (
        "what migrate.plan left to be approved is gone, so nothing is done; trigger a new run"
    )


def test_an_answer_to_a_plan_that_was_made_anew_is_none(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(FOLDER)
    dag = asking(runner, folder)
    run = runner.run(dag)
    (folder / "001_a.sql").write_text("CREATE TABLE z (id int);")
    run.reset("migrate.plan", dag=asking(runner, folder, dag_id=dag.dag_id))
    run.drive()
    run.answer(APPROVE, "apply")
    assert error(run, "approve") == (
        "migrate.plan has made another plan since the request was shown; trigger a new run"
    )
    assert (relations(conn), audit(conn, "approved")) == (set(), [])


def test_a_dry_run_asks_nobody_and_the_request_tells_what_goes(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    runner.run(runner.migrations(make_folder(A)))
    conn.execute("INSERT INTO a SELECT generate_series(1, 3)")
    folder = make_folder({**A, **DROP, "003_large.sql": "-- " + "x" * 30_000 + "\nSELECT 1;"})
    dry = runner.run(asking(runner, folder, mode="dry_run", max_tasks=0))
    assert (dry.states["approve"], dry.state, dry.returned("report")["dry_run"]) == (
        "skipped",
        "success",
        ["002", "003"],
    )
    run = runner.run(asking(runner, folder))
    assert run.order == ["plan", "approve"], "what the plan has skipped lets none of those behind it begin"
    body = run.request(APPROVE).body
    assert "public.a" in body
    assert "3 rows" in body
    assert len(body) < 20_000
    assert "`003_large.sql`: 30013 bytes, [on the page](" in body
    run.answer(APPROVE, "apply")
    assert (run.state, relations(conn)) == ("success", set())


def test_no_script_is_shown_where_none_may_be(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    config = "settings: {logging: {include_sql: false}}\n"
    run = runner.run(asking(runner, make_folder({**A, "migration_config.yaml": config})))
    body = run.request(APPROVE).body
    assert "CREATE TABLE" not in body
    assert "include_sql is false" in body


WINDOW = "settings: {{execution: {{retry_attempts: 0}}, window: {{open: [{{from: '{}', to: '{}'}}]}}}}\n"


def test_the_answer_says_whether_the_window_is_waited_for(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    import datetime

    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)
    until = soon + datetime.timedelta(hours=1)
    folder = make_folder({**A, "migration_config.yaml": WINDOW.format(f"{soon:%H:%M}", f"{until:%H:%M}")})
    run = runner.run(asking(runner, folder))
    asked = run.request(APPROVE)
    assert asked.options == ["apply", "apply in the window", "reject"]
    assert "whoever approves the plan says whether it is waited for" in asked.body
    with pytest.raises(AssertionError, match="the run hangs"):
        run.answer(APPROVE, "apply in the window", patience=0.2)
    assert (run.states["001_a"], relations(conn)) == ("up_for_reschedule", set())
    now = runner.run(asking(runner, folder))
    now.answer(APPROVE, "apply")
    assert (now.state, relations(conn)) == ("success", {"a"})
    ((_, row),) = audit(conn, "outside_window")
    assert row["because"].startswith("approved by bob at ")
    assert row["because"].endswith(", to be applied at once")


def test_who_approves_decides_on_the_window_not_who_started_the_run(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    import datetime

    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)
    until = soon + datetime.timedelta(hours=1)
    folder = make_folder({**A, "migration_config.yaml": WINDOW.format(f"{soon:%H:%M}", f"{until:%H:%M}")})
    run = runner.run(asking(runner, folder), outside_window=True)
    with pytest.raises(AssertionError, match="the run hangs"):
        run.answer(APPROVE, "apply in the window", patience=0.2)
    assert (run.states["001_a"], relations(conn)) == ("up_for_reschedule", set())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"assigned_users": "bob"}, """assigned_users must be a list of ids such as ["bob"], not 'bob'"""),
        ({"assigned_users": [7]}, 'assigned_users must be a list of ids such as ["bob"], not [7]'),
        ({"timeout": 30}, "timeout must be a timedelta such as timedelta(hours=8), not 30"),
    ],
)
def test_an_approval_that_nobody_could_give_is_refused_at_once(given: dict[str, Any], why: str) -> None:
    from airflow_provider_wmigrate import Approval

    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        Approval(**given)


@pytest.mark.parametrize("approval", [True, {}])
def test_what_is_no_approval_is_not_taken_for_none(runner: Runner, make_folder: MakeFolder, approval: Any) -> None:
    why = f"approval must be an Approval such as Approval(), not {approval!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        runner.migrations(make_folder(A), approval=approval)
