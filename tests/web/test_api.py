"""What the answers say: live, from what runs left, and when the target is not there."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from conftest import API, CONFIG, FILES, Place, make_dags, told

from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Status
from airflow_provider_wmigrate.engine.record import Bystanders
from tests.waiting import wait_until

MakePlace = Callable[..., Place]


def get(client: Any, place: Place, route: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"{place.group}/{route}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def counts(**some: int) -> dict[str, int]:
    return {status.value: some.get(status.value, 0) for status in Status}


def statuses(answer: dict[str, Any]) -> dict[str, str]:
    return {item["version"]: item["status"] for item in answer["migrations"]}


def listed(client: Any, place: Place) -> dict[str, Any]:
    groups = client.get(f"{API}/groups").json()["groups"]
    return next(each for each in groups if each["group"]["dag_id"] == place.dag.dag_id)


# Status


def test_status(admin: Any, warehouse: Place) -> None:
    answer = get(admin, warehouse, "status")
    assert statuses(answer) == {"001": "applied", "002": "applied", "003": "pending"}
    assert answer["counts"] == counts(pending=1, applied=2)
    assert (answer["schema_version"], answer["ledger_version"]) == ("002", Ledger("wmigrate").newest_version)
    stock, views = answer["migrations"][1:]
    assert (stock["name"], stock["description"], stock["dependencies"]) == ("stock", "Stock", ["001"])
    assert (stock["actor"], stock["has_rollback"], views["has_rollback"]) == ("alice", True, False)
    assert stock["checksum"] == stock["applied_checksum"]
    run = f"dags/warehouse/runs/{stock['run_id']}"
    assert (stock["run_url"], stock["log_url"]) == (run, f"{run}/tasks/migrate.002_stock")
    assert (stock["last_task"]["state"], stock["last_task"]["try_number"]) == ("success", 1)
    assert views["last_task"] is None


def test_a_viewer_gets_the_same_from_what_the_run_left(admin: Any, viewer: Any, warehouse: Place) -> None:
    live, left = get(admin, warehouse, "status"), get(viewer, warehouse, "status")
    assert (statuses(left), left["counts"]) == (statuses(live), live["counts"])
    assert left["source"]["age_seconds"] > 0
    # Only the moment differs: Airflow's clock when the task ended, not the server's when it was applied.
    for mine, theirs in zip(left["migrations"], live["migrations"], strict=True):
        assert {**mine, "applied_at": None} == {**theirs, "applied_at": None}


def test_search_and_filter(admin: Any, warehouse: Place) -> None:
    assert list(statuses(get(admin, warehouse, "status", search="STOCK"))) == ["002"]
    assert list(statuses(get(admin, warehouse, "status", status=["pending"]))) == ["003"]


def test_the_list(viewer: Any, warehouse: Place) -> None:
    each = listed(viewer, warehouse)
    assert (each["state"], each["migrations"], each["schema_version"]) == ("pending", 3, "002")
    assert (each["group"]["conn_id"], each["group"]["environment"]) == ("warehouse", "development")
    assert each["group"]["rollback_dag"] == {
        "dag_id": "warehouse_back",
        "group_id": "rollback",
        "is_paused": False,
    }
    assert each["group"]["migrate"] == {
        "to": True,
        "modes": ["apply", "dry_run"],
        "environments": ["development", "staging"],
        "environment": "development",
        "rollback_script": False,
    }


def test_before_any_run(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    place = make_place("untouched")
    assert listed(viewer, place)["state"] == "unknown"
    answer = get(viewer, place, "status")
    assert (answer["source"]["kind"], answer["source"]["as_of"]) == ("none", None)
    live = get(admin, place, "status")
    assert (live["source"]["kind"], live["ledger_version"]) == ("live", None)
    assert set(statuses(answer).values()) == set(statuses(live).values()) == {"pending"}
    assert get(admin, place, "audit", verify=True)["chain"]["state"] == "not_checked", "there is no log yet"
    assert get(admin, place, "health")["status"] == "degraded"


def test_an_edited_and_a_lost_file(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    place = make_place("edited")
    assert place.migrate().state == "success"
    (place.folder / "001_products.sql").write_text("CREATE TABLE products (id bigint PRIMARY KEY);")
    (place.folder / "003_views.sql").unlink()
    (place.folder / "migration_config.yaml").write_text(CONFIG.replace("  - {version: '003'", "#"))
    place.reparse()
    for client in (admin, viewer):
        answer = get(client, place, "status")
        assert statuses(answer) == {"001": "changed", "002": "applied", "003": "missing"}
        assert [f["code"] for f in get(client, place, "plan")["findings"]] == ["changed", "missing"]
    lost = get(admin, place, "migrations/003")
    assert (lost["migration"]["name"], lost["sql"]["origin"]) == ("views", "unavailable")
    assert listed(viewer, place)["state"] == "attention"
    assert get(admin, place, "health")["status"] == "unhealthy"


def test_a_failure(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    place = make_place("failing", {**FILES, "003_views.sql": "CREATE VIEW low_stock AS SELECT * FROM nowhere;"})
    run = place.migrate()
    assert run.state == "failed"
    for client in (admin, viewer):
        answer = get(client, place, "status")
        assert answer["counts"] == counts(applied=2, failed=1)
        views = answer["migrations"][2]
        assert (views["status"], views["last_task"]["state"]) == ("failed", "failed")
        failure = views["failure"]
        assert (failure["direction"], failure["actor"], failure["run_id"]) == ("apply", "alice", run.run_id)
        assert failure["url"].endswith("tasks/migrate.003_views")
        assert [step["version"] for step in get(client, place, "plan")["steps"]] == ["003"], "it is tried again"
        newest = get(client, place, "history", version="003")["events"][0]
        assert newest["event"] == "failed"
        assert newest["url"].endswith("tasks/migrate.003_views")
        assert get(client, place, "metrics")["totals"]["failed"] == 1
    each = listed(viewer, place)
    assert (each["state"], each["last_run"]["state"]) == ("attention", "failed")
    assert each["counts"] == counts(applied=2, failed=1)
    assert get(admin, place, "health")["status"] == "unhealthy"
    assert each["last_run"]["failed"] == ["migrate.003_views", "migrate.report"]


def test_who_may_not_read_the_database_is_told_the_same_error(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    """In the words of the audit log, which mask what can be a secret; a task that is killed leaves none."""
    script = "CREATE ROLE low_role PASSWORD 'hunter2' VALID UNTIL 'hunter2';\n"
    place = make_place("failing_in_words", {**FILES, "003_views.sql": script})
    run = place.migrate()
    for client in (admin, viewer):
        failure = get(client, place, "status")["migrations"][2]["failure"]
        assert (failure["direction"], failure["sqlstate"]) == ("apply", "22007")
        assert failure["error"].startswith("003_views.sql:1: invalid input syntax for type timestamp")
        assert "hunter2" not in failure["error"]
        events = [e for route in ("history", "migrations/003") for e in get(client, place, route)["events"]]
        assert {e["error"] for e in events if e["event"] == "failed"} == {failure["error"]}
    run.lose_xcoms(key="failure")
    failure = get(viewer, place, "status")["migrations"][2]["failure"]
    assert failure["error"] == "the log of the task says what and what next"


def test_after_a_rollback_by_the_other_dag(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    place = make_place("undone")
    place.migrate(to="002")
    assert place.roll_back(to="001").state == "success"
    for client in (admin, viewer):
        assert statuses(get(client, place, "status")) == {"001": "applied", "002": "pending", "003": "pending"}
        history = get(client, place, "history")
        assert [run["direction"] for run in history["runs"]] == ["rollback", "apply"]
        assert history["runs"][0]["rolled_back"] == ["002"]
        assert history["events"][0]["event"] == "rolled_back"
        assert get(client, place, "metrics")["totals"]["rolled_back"] == 1


def test_a_dry_run(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    """What it found out is told: time, locks, and what it did not try, with the reason."""
    files = {
        "001_products.sql": FILES["001_products.sql"],
        "002_index.sql": "CREATE INDEX CONCURRENTLY products_idx ON products (id);\n",
        "migration_config.yaml": "environments: {development: {}}",
    }
    place = make_place("tried", files)
    assert place.migrate(mode="dry_run").state == "success"
    for client in (admin, viewer):
        answer = get(client, place, "history")
        found = {event["version"]: event for event in answer["events"]}
        assert {v: e["event"] for v, e in found.items()} == {"001": "dry_run", "002": "not_tried"}
        assert [lock["relation"] for lock in found["001"]["locks"]] != []
        assert found["001"]["duration_ms"] is not None
        felt = found["001"]["bystanders"]
        assert found["001"]["felt"] == str(Bystanders.from_dict(felt))
        assert (felt["relations"], found["002"]["bystanders"], found["002"]["felt"]) == ([], None, None)
        assert found["002"]["reason"].startswith("002_index.sql")
        assert {e["dry_run"] for e in found.values()} == {True}
        assert (answer["runs"][0]["dry_run"], list(answer["runs"][0]["not_tried"])) == (["001"], ["002"])
        listing = get(client, place, "status")
        assert listing["counts"] == counts(pending=2)
        assert [event["event"] for event in get(client, place, "migrations/002")["events"]] == ["not_tried"]


# Plan


def test_plan(admin: Any, warehouse: Place) -> None:
    answer = get(admin, warehouse, "plan")
    assert [(s["action"], s["version"]) for s in answer["steps"]] == [("apply", "003")]
    assert answer["left_out"] == {}
    assert answer["planned_run_id"]
    told(admin.get(f"{warehouse.group}/plan?to=999"), 422, "unknown_target_version")


def test_findings_in_scripts_are_those_of_the_last_plan(admin: Any, make_place: MakePlace) -> None:
    drops = {"002_stock.sql": "CREATE TABLE stock (id int);\nDROP TABLE stock;"}
    config = CONFIG + "validation: {sql: {allow_drop: false}}\n"
    place = make_place("dropping", {**FILES, **drops, "migration_config.yaml": config})
    assert place.migrate().state == "failed"

    def found() -> list[tuple[str, str, str, int]]:
        findings = get(admin, place, "plan")["findings"]
        return [(f["code"], f["version"], f["file"], f["line"]) for f in findings if f["code"] == "allow_drop_violated"]

    assert found() == [("allow_drop_violated", "002", "002_stock.sql", 2)]
    (place.folder / "002_stock.sql").write_text("CREATE TABLE stock (id int);")
    place.reparse()
    assert found() == [], "the file is another one now"


def test_the_forecast_is_that_of_the_last_plan(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    place = make_place("foreseen", {**FILES, "004_wide.sql": "CREATE TABLE wide (id int);"})
    assert place.migrate().state == "success"
    (place.folder / "005_more.sql").write_text("ALTER TABLE wide ADD COLUMN n int;")
    place.reparse()
    assert get(admin, place, "plan")["forecast"] == [], "no run has planned it"
    assert place.migrate(mode="dry_run").state == "success"
    blocks = "blocks reads and writes of public.wide for a moment"
    lock = {
        "relation": "public.wide",
        "mode": "AccessExclusiveLock",
        "who_waits": blocks,
        "work": None,
        "size_bytes": 0,
        "known_by": "script",
    }
    for client in (admin, viewer):
        assert get(client, place, "plan")["forecast"] == [
            {
                "version": "005",
                "locks": [lock],
                "unforeseen": [],
                "late": [],
                "differences": [],
                "gives_back": [],
                "losses": [],
                "blast": None,
            }
        ]
    (place.folder / "005_more.sql").write_text("ALTER TABLE wide ADD COLUMN m int;")
    place.reparse()
    assert get(admin, place, "plan")["forecast"] == [], "the file is another one now"


def test_what_the_server_cannot_have_is_no_reason_to_run_again(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    needs = "{name: nowhere_to_be_had, when_missing: skip}"
    config = CONFIG.replace("description: Stock,", f"description: Stock, requires_extensions: [{needs}],")
    place = make_place("lacking", {**FILES, "migration_config.yaml": config})
    assert place.migrate().state == "success"
    answer = get(admin, place, "plan")
    why = "extension nowhere_to_be_had is not available on this server"
    assert (answer["steps"], answer["left_out"]) == ([], {"002": why, "003": "needs 002, which is left out"})
    for client in (admin, viewer):
        assert (get(client, place, "plan")["steps"], get(client, place, "plan")["left_out"]) == ([], answer["left_out"])
        listing = get(client, place, "status")
        assert listing["counts"] == listed(client, place)["counts"] == counts(applied=1, left_out=2)
        assert [m["reason"] for m in listing["migrations"]] == [None, *answer["left_out"].values()]
        assert [m["version"] for m in get(client, place, "status", status="left_out")["migrations"]] == ["002", "003"]
    assert listed(viewer, place)["state"] == "current"
    found = get(admin, place, "health")
    assert (found["status"], found["reasons"]) == ("healthy", [])
    (check,) = [check for check in found["checks"] if check["name"] == "pending"]
    assert check["reason"].startswith(f"nothing is pending; left out: 002: {why}")
    elsewhere = get(admin, place, "plan", environment="staging")
    assert ([s["version"] for s in elsewhere["steps"]], elsewhere["left_out"]) == (["001"], answer["left_out"])


# One migration


def test_migration(admin: Any, viewer: Any, warehouse: Place) -> None:
    answer = get(admin, warehouse, "migrations/2")
    assert (answer["sql"]["text"], answer["sql"]["origin"]) == (FILES["002_stock.sql"], "dag")
    assert (answer["rollback"]["text"], answer["rollback"]["origin"]) == (FILES["002_stock.rollback.sql"], "ledger")
    assert (answer["statements_done"], answer["statements_total"]) == (1, 1)
    assert answer["dependents"] == ["003"]
    assert [event["event"] for event in answer["events"]] == ["applied"]
    left = get(viewer, warehouse, "migrations/002")
    assert (left["rollback"]["text"], left["rollback"]["origin"]) == (FILES["002_stock.rollback.sql"], "dag")
    views = get(admin, warehouse, "migrations/003")
    assert (views["rollback"]["origin"], views["rollback"]["reason"]) == ("unavailable", "it has none")
    told(admin.get(f"{warehouse.group}/migrations/999"), 404, "unknown_version")


def test_prose_is_not_read_back(admin: Any, make_place: MakePlace) -> None:
    """Neither a description nor a script can make the page show what is not there, or hide what is."""
    script = 'SELECT 1 AS "```sql {{ x }} {% y ```";\n\nSELECT 2 AS "`001_x.rollback.sql`";\n'
    text = "a\n- rollback: yes\n`001_x.rollback.sql`\n\n```sql\nDROP SCHEMA x;\n```"
    migrations = [{"version": 1, "description": text}]
    config = json.dumps({"migrations": migrations, "environments": {"development": {}}})
    place = make_place("prose", {"001_x.sql": script, "migration_config.yaml": config})
    found = get(admin, place, "migrations/001")
    assert (found["migration"]["description"], found["migration"]["has_rollback"]) == (text, False)
    assert found["sql"] == {
        "text": script,
        "origin": "dag",
        "file": "001_x.sql",
        "checksum": found["migration"]["checksum"],
        "reason": None,
        "lines": 3,
        "next_line": None,
    }
    assert found["rollback"] == {
        "text": None,
        "origin": "unavailable",
        "file": None,
        "checksum": None,
        "reason": "it has none",
        "lines": None,
        "next_line": None,
    }
    assert place.migrate().state == "success", "nothing of it is taken for a template"


def test_no_secret_in_a_script_that_is_shown(admin: Any, make_place: MakePlace) -> None:
    """Alike in page, API and documentation; the ledger keeps what a rollback needs to run."""
    files = {
        "001_roles.sql": "CREATE ROLE shown_role LOGIN PASSWORD 'hunter2-up';\n",
        "001_roles.rollback.sql": "ALTER ROLE shown_role PASSWORD 'hunter2-down';\nDROP ROLE shown_role;\n",
        "migration_config.yaml": "environments: {development: {}}",
    }
    place = make_place("secrets", files)
    for _ in ("before", "after"):
        found = get(admin, place, "migrations/001")
        assert found["sql"]["text"] == "CREATE ROLE shown_role LOGIN PASSWORD '***';\n"
        assert found["rollback"]["text"] == "ALTER ROLE shown_role PASSWORD '***';\nDROP ROLE shown_role;\n"
        assert place.migrate().state == "success"
    assert found["rollback"]["origin"] == "ledger"
    task = admin.get("/api/v2/dags/secrets/tasks/migrate.001_roles").json()
    assert "```sql\nCREATE ROLE shown_role LOGIN PASSWORD '***';\n```" in task["doc_md"]
    stored = admin.get("/api/v2/dags/secrets/tasks").text + _serialized("secrets")
    assert "hunter2" not in stored
    place.roll_back(to="0")


def _serialized(dag_id: str) -> str:
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        return json.dumps(SerializedDagModel.get(dag_id, session=session).data)


def test_scripts_are_for_who_may_read_the_code(
    viewer: Any, admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    manager = get_auth_manager()
    of_airflow = manager.is_authorized_dag

    def no_code(*, user: Any, access_entity: Any = None, **more: Any) -> bool:
        may = user.username == "admin" or access_entity is not DagAccessEntity.CODE
        return may and of_airflow(user=user, access_entity=access_entity, **more)

    monkeypatch.setattr(manager, "is_authorized_dag", no_code)
    found = get(viewer, warehouse, "migrations/002")
    why = "you may not read the code of this DAG, so its SQL is not shown to you; ask for that right"
    for script in (found["sql"], found["rollback"]):
        assert (script["text"], script["origin"], script["reason"]) == (None, "unavailable", why)
    assert "REFERENCES" not in json.dumps(found)
    assert get(admin, warehouse, "migrations/002")["sql"]["text"] == FILES["002_stock.sql"]


# Audit, history, numbers


def test_audit_pages_and_filters(admin: Any, warehouse: Place) -> None:
    first = get(admin, warehouse, "audit", limit=2)
    assert len(first["rows"]) == 2
    assert first["next_before"] == first["rows"][-1]["position"]
    everything, before = [], None
    while True:
        page = get(admin, warehouse, "audit", limit=2, **({"before": before} if before else {}))
        everything += page["rows"]
        before = page["next_before"]
        if before is None:
            break
    assert [row["position"] for row in everything] == list(range(len(everything), 0, -1))
    assert len(everything) == first["total_entries"]
    rows = get(admin, warehouse, "audit", version="2", event=["applied", "failed"], actor="alice")["rows"]
    assert [(row["event"], row["version"]) for row in rows] == [("applied", "002")]
    login = rows[0]["authenticated"]
    assert (login["user"], login["address"], login["pid"] > 0) == ("postgres", "127.0.0.1", True)
    assert get(admin, warehouse, "audit", until="2001-01-01T00:00:00Z")["total_entries"] == 0
    assert get(admin, warehouse, "audit", since="2001-01-01T00:00:00")["total_entries"] == first["total_entries"]


def test_the_chain(admin: Any, make_place: MakePlace) -> None:
    place = make_place("forged")
    place.migrate(to="002")
    assert get(admin, place, "audit")["chain"]["state"] == "not_checked"
    chain = get(admin, place, "audit", verify=True)["chain"]
    assert (chain["state"], chain["findings"]) == ("intact", [])
    rows, known = (int(chain[name].partition(":")[0]) for name in ("head", "expected_head"))
    assert 0 < known <= rows, "a run's report is the last row"
    place.sql("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER")
    place.sql("UPDATE wmigrate.audit_log SET actor = 'mallory' WHERE position = 3")
    chain = get(admin, place, "audit", verify=True)["chain"]
    assert (chain["state"], chain["findings"][0]["code"]) == ("broken", "audit_chain_broken")


def test_a_tail_that_was_cut_off_is_found(admin: Any, make_place: MakePlace) -> None:
    place = make_place("cut")
    place.migrate(to="002")
    place.sql("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER")
    place.sql("DELETE FROM wmigrate.audit_log WHERE position > 3")
    place.sql(
        "UPDATE wmigrate.application_metadata SET value = '3:' || hash FROM wmigrate.audit_log"
        " WHERE key = 'audit_head' AND position = 3"
    )
    assert get(admin, place, "audit", verify=True)["chain"]["state"] == "broken"


def test_metrics(admin: Any, warehouse: Place) -> None:
    answer = get(admin, warehouse, "metrics", days=7)
    assert [item["version"] for item in answer["durations"]] == ["001", "002"]
    assert len(answer["days"]) == 7
    assert answer["days"] == sorted(answer["days"], key=lambda day: day["day"])
    assert answer["totals"]["applied"] == sum(day["applied"] for day in answer["days"]) == 2


# A target that is not there


def body_and_source(client: Any, place: Place, route: str) -> tuple[str, dict[str, Any]]:
    answer = client.get(f"{place.group}/{route}")
    assert answer.status_code == 200, answer.text
    return answer.text, answer.json()["source"]


@pytest.mark.parametrize(
    "route", ["status", "history", "plan", "health", "audit?verify=true", "metrics", "migrations/1"]
)
def test_a_database_that_is_down(admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://someone:not-to-be-told@127.0.0.1:1/nowhere")
    text, source = body_and_source(admin, warehouse, route)
    assert "not-to-be-told" not in text
    assert source["age_seconds"] is not None
    if route == "health":  # that nobody answers is the answer
        assert get(admin, warehouse, "health")["checks"][0]["status"] == "unhealthy"
    else:
        assert (source["kind"], source["reason"]["code"]) == ("report", "unreachable")


def test_a_server_that_never_answers(admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgres://someone@127.0.0.1:{silent.getsockname()[1]}/x")
        _, source = body_and_source(admin, warehouse, "status")
        assert (source["kind"], source["reason"]["code"]) == ("report", "timeout")
        silent.accept()[0].close()
        body_and_source(admin, warehouse, "plan")
        silent.settimeout(0)
        with pytest.raises(BlockingIOError):
            silent.accept()  # it is not asked again at once


def test_a_statement_that_takes_too_long(admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    from airflow_provider_wmigrate.web import target_reads

    monkeypatch.setattr(target_reads, "STATEMENT_SECONDS", 1)
    with psycopg.connect(warehouse.dsn) as conn:
        conn.execute("LOCK TABLE wmigrate.schema_migrations")
        _, source = body_and_source(admin, warehouse, "status")
    assert (source["kind"], source["reason"]["code"]) == ("report", "timeout")


def test_who_takes_too_long_is_hung_up_on_and_does_not_shut_out_others(
    admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    from airflow_provider_wmigrate.web import target_reads

    def sleeping() -> bool:
        with psycopg.connect(warehouse.dsn) as conn:
            query = "SELECT FROM pg_stat_activity WHERE application_name = 'wmigrate web'"
            return conn.execute(query).fetchone() is not None

    monkeypatch.setattr(target_reads, "TOTAL_SECONDS", 0.5)
    with pytest.raises(target_reads.Unreadable, match="did not answer"):
        target_reads.read("warehouse", lambda conn: conn.execute("SELECT pg_sleep(3)"))
    assert sleeping()
    monkeypatch.setattr(target_reads, "TOTAL_SECONDS", 8.0)
    assert body_and_source(admin, warehouse, "status")[1]["kind"] == "live"
    wait_until(lambda: not sleeping())


def test_what_a_server_refuses_is_not_told_as_no_answer() -> None:
    """A library that it lacks is of the same class for the driver as a lost connection."""
    import psycopg

    from airflow_provider_wmigrate.web import target_reads

    def call(error: Exception) -> Any:
        raise error

    for error, code in (
        (psycopg.errors.UndefinedFile('could not access file "gone"'), "ledger_unreadable"),
        (psycopg.OperationalError("server closed the connection"), "unreachable"),
    ):
        with pytest.raises(target_reads.Unreadable) as failed:
            target_reads.guarded(lambda error=error: call(error))
        assert failed.value.reason.code == code


def test_too_many_at_once(admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from airflow_provider_wmigrate.web import target_reads

    monkeypatch.setattr(target_reads, "_free", threading.BoundedSemaphore(1))
    target_reads._free.acquire()
    assert body_and_source(admin, warehouse, "status")[1]["reason"]["code"] == "busy"


def test_a_connection_that_airflow_does_not_have(admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE")
    assert body_and_source(admin, warehouse, "status")[1]["reason"]["code"] == "no_connection"


def test_a_connection_of_another_type(admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "mysql://someone@127.0.0.1/x")
    reason = body_and_source(admin, warehouse, "status")[1]["reason"]
    assert reason["code"] == "unreachable"
    assert "is of type mysql; wmigrate needs one of type wmigrate or postgres" in reason["message"]


def test_a_wrong_option_of_the_connection_tells_no_secret(
    admin: Any, warehouse: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "postgres://someone:not-to-be-told@127.0.0.1:1/x?sslmode=not-to-be-told&password2=not-to-be-told"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", uri)
    text, source = body_and_source(admin, warehouse, "health")
    assert "not-to-be-told" not in text
    text, source = body_and_source(admin, warehouse, "status")
    assert source["kind"] == "report"
    assert "not-to-be-told" not in text


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE wmigrate.application_metadata SET value = '99' WHERE key = 'ledger_version'",
        "DROP TABLE wmigrate.audit_log",
    ],
)
def test_a_ledger_that_cannot_be_read(
    admin: Any, make_place: MakePlace, damage: str, request: pytest.FixtureRequest
) -> None:
    place = make_place(f"damaged{len(damage)}")
    place.migrate(to="001")
    place.sql(damage)
    for route in ("status", "history", "plan", "audit?verify=true", "metrics", "migrations/001"):
        assert body_and_source(admin, place, route)[1]["reason"]["code"] == "ledger_unreadable", route
    assert get(admin, place, "health")["status"] == "unhealthy"


def test_a_target_that_a_template_names(admin: Any, make_place: MakePlace) -> None:
    from airflow.sdk import DAG, Param
    from airflow_runner import Runner, store

    from airflow_provider_wmigrate import MigrationTaskGroup

    place = make_place("chosen")
    with DAG("templated", schedule=None, params={"db": Param("chosen", type="string")}) as by_param:
        MigrationTaskGroup("migrate", folder=place.folder, conn_id="{{ params.db }}")
    with DAG("obscure", schedule=None) as obscure:
        MigrationTaskGroup("migrate", folder=place.folder, conn_id="{{ var.value.db | lower }}")
    store(obscure)
    Runner().run(by_param)
    place.dag = by_param
    assert get(admin, place, "status")["source"]["kind"] == "live"
    place.dag = obscure
    answer = get(admin, place, "status")
    assert answer["source"]["reason"]["code"] == "unresolved_target"
    assert answer["group"]["conn_id"] is None


def test_the_ledger_of_the_environment(admin: Any, make_place: MakePlace) -> None:
    place = make_place("staged")
    place.migrate(to="001", environment="staging")
    answer = get(admin, place, "status")
    assert (answer["group"]["environment"], answer["group"]["ledger_schema"]) == ("staging", "staging_ledger")
    assert statuses(answer)["001"] == "applied"
    started = admin.post(f"{place.group}/migrate", json={"mode": "dry_run"}).json()
    assert started["conf"] == {"mode": "dry_run", "environment": "staging"}, "not the DAG's default"


def test_a_plan_as_another_environment_would_make_it(admin: Any, make_place: MakePlace) -> None:
    place = make_place("chosen_environment")
    place.migrate(to="002", environment="staging")
    assert [step["version"] for step in get(admin, place, "plan")["steps"]] == ["003"]
    answer = get(admin, place, "plan", environment="development")
    assert (answer["group"]["environment"], answer["group"]["ledger_schema"]) == ("development", "wmigrate")
    assert [step["version"] for step in answer["steps"]] == ["001", "002", "003"], "another ledger"
    assert statuses(get(admin, place, "status", environment="development"))["001"] == "pending"
    detail = told(admin.get(f"{place.group}/plan?environment=moon"), 422, "invalid_params")
    assert detail == "environment must be one of development, staging"


def test_the_environment_of_the_installation(
    admin: Any, make_place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import DAG
    from airflow_runner import store

    from airflow_provider_wmigrate import MigrationTaskGroup

    place = make_place("installed")
    with DAG("of_the_installation", schedule=None) as place.dag:
        MigrationTaskGroup("migrate", folder=place.folder, conn_id="installed")
    store(place.dag)
    assert get(admin, place, "status")["group"]["ledger_schema"] == "wmigrate"
    monkeypatch.setenv("AIRFLOW__WMIGRATE__ENVIRONMENT", "staging")
    group = get(admin, place, "status")["group"]
    assert (group["environment"], group["ledger_schema"]) == ("staging", "staging_ledger")


def test_another_environment_may_be_another_database(admin: Any, make_place: MakePlace) -> None:
    from airflow_runner import store

    place, _ = make_place("elsewhere"), make_place("elsewhere_staging")
    place.migrate(to="001", environment="development")
    conn_id = "{{ {'staging': 'x'}.get(params.environment) }}"  # a template that only Airflow can render
    place.dag, _ = make_dags(place.folder, "elsewhere", conn_id)
    store(place.dag)
    assert get(admin, place, "plan", environment="staging")["source"]["reason"]["code"] == "unresolved_target"
    place.dag, _ = make_dags(place.folder, "elsewhere", "elsewhere_{{ params.environment }}")
    store(place.dag)
    answer = get(admin, place, "plan", environment="staging")
    assert answer["group"]["conn_id"] == "elsewhere_staging"
    assert answer["source"]["kind"] == "live"


# Wrong input


@pytest.mark.parametrize(
    "route",
    [
        "audit?limit=0",
        "audit?limit=1000",
        "audit?version=x",
        "audit?since=yesterday",
        "audit?before=0",
        f"audit?before={2**64}",
        "metrics?days=0",
        "metrics?days=100000",
        "status?status=broken",
        "history?version=1;drop",
        "migrations/abc",
        "migrations/" + "1" * 251,
        "status?search=" + "x" * 1000,
        "audit?actor=%00",
        "audit?event=%00",
        "plan?environment=",
        "plan?environment=%00",
    ],
)
def test_wrong_input(admin: Any, warehouse: Place, route: str) -> None:
    told(admin.get(f"{warehouse.group}/{route}"), 422, "invalid_input")


def test_unknown_names(admin: Any, warehouse: Place) -> None:
    assert "it has migrate" in told(admin.get(f"{API}/dags/warehouse/groups/nope/status"), 404, "unknown_group")
    told(admin.get(f"{API}/dags/nope/groups/migrate/status"), 404, "unknown_group")
    told(admin.get(f"{API}/dags/warehouse_back/groups/rollback/status"), 404, "unknown_group")
    told(admin.get(f"{API}/nowhere"), 404, "not_found")
