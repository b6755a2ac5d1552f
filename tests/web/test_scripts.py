"""The scripts of a migration: of any length, from the folder as it was deployed, without secrets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import CONFIG, FILES, Place

from airflow_provider_wmigrate.task_docs import ShownScript
from airflow_provider_wmigrate.web import scripts

MakePlace = Callable[..., Place]
LONG = "-- every row of it\n" + "".join(f"CREATE TABLE t{number} (id int PRIMARY KEY);\n" for number in range(2_000))


def sql(client: Any, place: Place, version: str = "001") -> dict[str, Any]:
    answer = client.get(f"{place.group}/migrations/{version}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["sql"])


def unavailable(found: dict[str, Any]) -> str:
    assert (found["text"], found["origin"], found["file"]) == (None, "unavailable", "001_long.sql")
    return str(found["reason"])


@pytest.fixture(scope="module")
def long(make_place: MakePlace) -> Place:
    return make_place("long", {"001_long.sql": LONG, "001_long.rollback.sql": LONG})


def test_a_long_script_is_read_from_the_folder(admin: Any, long: Place) -> None:
    found = sql(admin, long)
    assert (found["text"], found["origin"], found["reason"]) == (LONG, "folder", None)
    rollback = admin.get(f"{long.group}/migrations/001").json()["rollback"]
    assert (rollback["text"], rollback["origin"]) == (LONG, "folder")


def test_it_is_in_no_answer_about_many(admin: Any, long: Place) -> None:
    for route in ("status", "plan", "history", "health"):
        assert len(admin.get(f"{long.group}/{route}").text) < 6_000, route


def test_who_may_not_read_the_code_gets_no_script(
    client: Callable[..., Any], long: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    manager = get_auth_manager()
    of_airflow = manager.is_authorized_dag

    def is_authorized_dag(*, access_entity: Any = None, **more: Any) -> bool:
        return access_entity != DagAccessEntity.CODE and of_airflow(access_entity=access_entity, **more)

    monkeypatch.setattr(manager, "is_authorized_dag", is_authorized_dag)
    why = "you may not read the code of this DAG, so its SQL is not shown to you; ask for that right"
    assert unavailable(sql(client("viewer"), long)) == why


def test_a_file_that_is_not_what_the_dag_was_made_of_is_shown_to_nobody(admin: Any, make_place: MakePlace) -> None:
    place = make_place("edited_long", {"001_long.sql": LONG})
    file = place.folder / "001_long.sql"
    file.write_text(LONG + "-- hunter2")
    why = (
        f"{file} is not the file that the DAG was made of: it was edited since, or another version is deployed here;"
        " it is shown as soon as Airflow has read the DAG file again"
    )
    assert unavailable(sql(admin, place)) == why
    file.unlink()
    os.mkfifo(file)
    assert unavailable(sql(admin, place)) == why, "and nobody waits for a pipe"


def test_without_the_folder_it_is_told_where_the_script_is(admin: Any, make_place: MakePlace) -> None:
    place = make_place("away", {"001_long.sql": LONG})
    place.folder.rename(place.folder.with_name("elsewhere"))
    assert unavailable(sql(admin, place)) == (
        f"too long to be part of the DAG, and Airflow's API server cannot read {place.folder}/001_long.sql"
        " (No such file or directory): mount the DAG files there too, or read the script in the log of its task"
    )


def test_a_very_long_script_is_told_piece_by_piece(admin: Any, long: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "SHOWN_AT_ONCE", 70_000)
    texts, line = [], 1
    while line:
        answer = admin.get(f"{long.group}/migrations/001?from_line={line}").json()
        assert answer["sql"]["text"] == answer["rollback"]["text"]
        assert (answer["sql"]["lines"], answer["sql"]["reason"]) == (2_001, None)
        texts.append(answer["sql"]["text"])
        line = answer["sql"]["next_line"]
    assert ("".join(texts), len(texts)) == (LONG, 2)
    assert all(text.endswith(";\n") for text in texts)
    beyond = admin.get(f"{long.group}/migrations/001?from_line=9999").json()["sql"]
    assert (beyond["text"], beyond["next_line"]) == ("", None)
    assert admin.get(f"{long.group}/migrations/001?from_line=0").status_code == 422


FILL = "SELECT 'x', 1;  -- why: 'y'\n" * 3_000
PASSWORD = "CREATE ROLE reader\n PASSWORD 'hunter2';\n"
COPIED = "COPY t (id) FROM stdin;\n" + "1\n" * 50_000 + "\\.\n"


@pytest.mark.parametrize(
    ("text", "size", "pieces"),
    [
        ("", 10, 1),
        ("SELECT 1", 3, 1),
        (FILL * 5 + PASSWORD + FILL * 5, 200_000, 5),
        (PASSWORD * 9_000, 100_000, 5),
        (FILL + COPIED + FILL + PASSWORD, 90_000, 4),
        ("INSERT INTO t VALUES\n" + "('it''s'),\n" * 90_000 + "('hunter3');\n", 300_000, 4),
        (FILL + "\\connect other\n" + FILL + PASSWORD, 100_000, 2),
        ("SELECT 1; " * 20_000 + "\n" + PASSWORD, 100_000, 2),
    ],
    ids=["empty", "a line", "statements", "masks", "copy", "one statement", "no SQL", "one line"],
)
def test_in_pieces_it_is_what_it_is_in_one(monkeypatch: pytest.MonkeyPatch, text: str, size: int, pieces: int) -> None:
    script = ShownScript("001_a.sql", "x", text)
    whole = scripts._shown(script, 1)
    assert (whole[0], whole[1]) == (script.masked.text, None)
    monkeypatch.setattr(scripts, "SHOWN_AT_ONCE", size)
    texts, line = [], 1
    following: int | None = 1
    while following:
        line = following
        found, following = scripts._shown(script, line)
        texts.append(found)
    assert "".join(texts) == whole[0]
    assert "hunter2" not in whole[0]
    assert len(texts) == pieces


def test_no_secret_of_a_long_script_is_shown(admin: Any, make_place: MakePlace) -> None:
    place = make_place("long_secret", {"001_long.sql": LONG + "CREATE ROLE reader PASSWORD 'hunter2';\n"})
    text = sql(admin, place)["text"]
    assert text == LONG + "CREATE ROLE reader PASSWORD '***';\n"


@pytest.mark.parametrize("name", ["../001_long.sql", "/etc/passwd", "", "."])
def test_only_a_file_of_the_folder_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(scripts.NotDeployed):
        scripts.deployed(tmp_path, name, "x")


def test_scripts_are_not_shown_where_the_config_says_so(admin: Any, make_place: MakePlace) -> None:
    place = make_place("discreet", FILES)
    assert place.migrate(to="002").state == "success"
    config = CONFIG.replace("settings: {", "settings: {logging: {include_sql: false}, ")
    (place.folder / "migration_config.yaml").write_text(config)
    (place.folder / "003_views.sql").write_text(LONG)
    place.reparse()
    why = "settings.logging.include_sql is false, so no script is shown"
    for version in ("002", "003"):
        answer = admin.get(f"{place.group}/migrations/{version}").json()
        assert (answer["sql"]["text"], answer["sql"]["reason"]) == (None, why)
        if version == "002":
            assert (answer["rollback"]["text"], answer["rollback"]["reason"]) == (None, why), "nor from the ledger"


def test_host_and_database_are_told_to_who_may_read_them(admin: Any, viewer: Any, warehouse: Place) -> None:
    server = admin.get(f"{warehouse.group}/status").json()["group"]["server"]
    import psycopg

    with psycopg.connect(warehouse.dsn) as conn:
        at = conn.info
        assert server == {"host": at.host, "port": at.port, "database": at.dbname}
    assert viewer.get(f"{warehouse.group}/status").json()["group"]["server"] is None


def test_of_a_database_that_is_down_the_connection_says_where_it_is(admin: Any, make_place: MakePlace) -> None:
    place = make_place("gone_away", dsn="postgresql://u:p@127.0.0.1:1/warehouse")
    answer = admin.get(f"{place.group}/status").json()
    assert answer["source"]["kind"] == "none"
    assert answer["group"]["server"] == {"host": "127.0.0.1", "port": 1, "database": "warehouse"}
