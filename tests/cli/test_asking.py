"""What changes the target is asked for, by name; without a terminal nobody can answer."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from terminal import COLOUR, COMMAND, ESCAPE, Terminal, heed_ctrl_c

from airflow_provider_wmigrate.engine.events import Started
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from tests.waiting import PATIENCE, wait_until

Conn = psycopg.Connection[Any]


def versions(conn: Conn) -> list[str]:
    if conn.execute("SELECT to_regclass('wmigrate.schema_migrations')").fetchone() == (None,):
        return []
    return [v for (v,) in conn.execute("SELECT version FROM wmigrate.schema_migrations ORDER BY 1")]


@pytest.mark.parametrize(
    "words",
    [
        ["up"],
        ["up", "--json"],
        ["down", "000"],
        ["repair", "1", "--accept", "--reason", "x"],
        ["repair", "1", "--accept"],
        ["baseline", "1", "--no-compare", "--reason", "x"],
        ["baseline", "1", "--no-compare"],
    ],
)
def test_without_a_terminal_it_is_refused(
    shop: Path, process: Any, wmigrate: Callable[..., Any], conn: Conn, words: list[str]
) -> None:
    if words[0] in ("down", "repair"):
        assert wmigrate("up", "--yes").code == 0
    if words[0] == "repair":
        (shop / "001_shop.sql").write_text("CREATE TABLE shop (id int); -- edited")
    before = versions(conn)
    answer = process(*words)
    assert answer.returncode == 2
    told = answer.stderr + answer.stdout
    assert "nobody to ask" in told or f"a {words[0]} needs a reason" in told
    assert versions(conn) == before
    assert process(*words, "--yes", *(["--reason", "y"] if words[0] in ("repair", "baseline") else [])).returncode == 0


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("n", 1), ("", 1), ("yess", 1), ("\x04", 1)])
def test_a_person_is_asked(shop: Path, conn: Conn, answer: str, code: int) -> None:
    terminal = Terminal("up", "--to", "2")
    terminal.until("[y/N]")
    name = conn.info.dbname
    assert f"Apply 2 migrations on database {name} on 127.0.0.1:{conn.info.port} as postgres:" in terminal.plain
    assert "  001_shop\n  002_price\n" in terminal.plain
    assert versions(conn) == []
    terminal.type(answer + ("" if answer == "\x04" else "\n"))
    assert terminal.end() == code
    assert versions(conn) == ([] if code else ["001", "002"])
    assert code == 0 or "not confirmed; nothing was changed" in terminal.plain


def test_a_repair_asks_for_the_reason(shop: Path, conn: Conn, wmigrate: Callable[..., Any]) -> None:
    wmigrate("up", "--yes")
    (shop / "002_price.sql").write_text((shop / "002_price.sql").read_text() + "-- the price\n")
    terminal = Terminal("repair", "2", "--accept")
    terminal.until("Why is 002 repaired?")
    terminal.type("a comment only\n")
    terminal.until("[y/N]")
    assert "  002: the edited file is the one that counts\n  reason: a comment only\n" in terminal.plain
    terminal.type("y\n")
    assert terminal.end() == 0
    assert "002_price: changed -> applied" in terminal.plain


def test_a_baseline_asks_for_the_reason_and_names_what_it_declares(shop: Path, conn: Conn) -> None:
    terminal = Terminal("baseline", "2", "--no-compare")
    terminal.until("Why is 002 the baseline?")
    terminal.type("made by hand\n")
    terminal.until("[y/N]")
    place = f"database {conn.info.dbname} on 127.0.0.1:{conn.info.port} as postgres"
    assert f"Declare 2 migrations applied, without running them, on {place}:" in terminal.plain
    assert "  001_shop\n  002_price\n  reason: made by hand\n" in terminal.plain
    assert versions(conn) == []
    terminal.type("y\n")
    assert terminal.end() == 0
    assert versions(conn) == ["001", "002"]


def test_colours_and_a_bar_in_a_terminal(shop: Path) -> None:
    terminal = Terminal("up", "--yes")
    assert terminal.end() == 0
    assert "3/3" in terminal.plain or "2/3" in terminal.plain
    assert COLOUR.search(terminal.text)
    status = Terminal("status")
    assert status.end() == 0
    assert COLOUR.search(status.text)
    assert "001" in status.plain


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}])
def test_no_colour_when_it_is_not_wanted(shop: Path, environment: dict[str, str]) -> None:
    for words in (["up", "--yes"], ["status"], ["up", "--to", "99"]):
        terminal = Terminal(*words, environment=environment)
        terminal.end()
        assert not COLOUR.search(terminal.text), terminal.text
        if "TERM" in environment:
            assert not ESCAPE.search(terminal.text)


def test_not_a_terminal_gets_plain_text(shop: Path, process: Any) -> None:
    answer = process("up", "--yes", env={**os.environ, "TERM": "xterm-256color", "FORCE_COLOR": "1"})
    assert answer.returncode == 0
    assert "\x1b" not in answer.stdout + answer.stderr


# Ctrl-C


def slow(shop: Path) -> None:
    (shop / "003_view.sql").write_text("CREATE TABLE slow ();\nSELECT pg_sleep(1000);")


def running(conn: Conn) -> int:
    row = conn.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'wmigrate apply 003%' AND state = 'active'"
        " AND datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_what_another_runner_did_before_the_answer_is_told_as_that(shop: Path, wmigrate: Any, conn: Conn) -> None:
    terminal = Terminal("up")
    terminal.until("[y/N]")
    assert wmigrate("up", "--to", "2", "--yes").code == 0
    terminal.type("y\n")
    assert terminal.end() == 0
    assert "2 were applied by another runner meanwhile: 001, 002." in terminal.plain.splitlines()
    assert "Applied 1 migration in " in terminal.plain
    down = Terminal("down", "2")
    down.until("[y/N]")
    assert wmigrate("down", "002", "--yes").code == 0
    down.type("y\n")
    assert down.end() == 0
    assert down.plain.splitlines()[-1] == "1 was rolled back by another runner meanwhile: 003."
    assert "Rolled back 0 migrations in " in down.plain


def test_what_another_runner_did_meanwhile_for_programs(shop: Path, wmigrate: Any, database: str, conn: Conn) -> None:
    began = threading.Event()

    def hold(event: object) -> None:
        if isinstance(event, Started):
            began.set()
            names = "SELECT FROM pg_stat_activity WHERE application_name = 'wmigrate apply 001'"
            with psycopg.connect(database, autocommit=True) as eye:
                wait_until(lambda: len(eye.execute(names).fetchall()) == 2)

    other = Migrator(
        lambda: psycopg.connect(database), read_folder(shop), identity=Identity("the other"), on_event=hold
    )
    runner = threading.Thread(target=other.apply, args=["1"])
    runner.start()
    assert began.wait(PATIENCE)
    data = wmigrate("up", "--to", "2", "--yes", "--json").json
    runner.join()
    assert [(r["version"], r["outcome"]) for r in data["records"]] == [("001", "already_applied"), ("002", "applied")]
    assert data["by_another_runner"] == ["001"]


@pytest.mark.parametrize("how", ["ctrl-c", "SIGTERM"])
def test_an_interrupted_run_ends_on_the_server_and_says_what_is_so(shop: Path, conn: Conn, how: str) -> None:
    slow(shop)
    terminal = Terminal("up", "--yes")
    wait_until(lambda: running(conn) == 1)
    time.sleep(0.3)
    if how == "ctrl-c":
        terminal.type("\x03")
    else:
        os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end() == 1, terminal.plain
    assert running(conn) == 0
    last = " ".join(terminal.plain.splitlines()[-3:])
    assert "003_view.sql:2: cancelled on request" in last
    assert "nothing of it was kept; the database now has 2 applied (up to 002), 1 failed (003)" in last
    assert "Traceback" not in terminal.text
    assert versions(conn) == ["001", "002"]


def test_an_interrupted_run_for_programs(shop: Path, conn: Conn) -> None:
    import json

    slow(shop)
    command = [*COMMAND, "up", "--yes", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c) as child:
        wait_until(lambda: running(conn) == 1)
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=PATIENCE)
    data = json.loads(out)
    assert (child.returncode, data["error"]["code"]) == (1, "interrupted")
    assert [record["version"] for record in data["partial"]["records"]] == ["001", "002"]


def test_sigterm_ends_a_verb_that_only_looks(shop: Path, conn: Conn) -> None:
    import json

    subprocess.run([*COMMAND, "up", "--yes"], check=True, capture_output=True)
    with psycopg.connect(conn.info.dsn) as other:
        other.execute("LOCK TABLE wmigrate.schema_migrations")
        with subprocess.Popen([*COMMAND, "status", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            wait_until(lambda: conn.execute(WAITS).fetchone() is not None)
            child.send_signal(signal.SIGTERM)
            out, said = child.communicate(timeout=PATIENCE)
    assert (child.returncode, said) == (1, b"")
    assert json.loads(out)["error"]["message"] == "interrupted; nothing was changed"


WAITS = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def test_a_second_ctrl_c_does_not_wait_for_a_server_that_hangs(shop: Path, conn: Conn) -> None:
    """The server process is stopped, so no cancel reaches it; the command ends with a sentence and a document."""
    import json

    slow(shop)
    command = [*COMMAND, "up", "--yes", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c) as child:
        wait_until(lambda: conn.execute(SLEEPING).fetchone() is not None)
        row = conn.execute(SLEEPING).fetchone()
        assert row is not None
        (pid,) = row
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                child.send_signal(signal.SIGINT)
                time.sleep(0.7)
            out, said = child.communicate(timeout=PATIENCE)
        finally:
            os.kill(pid, signal.SIGCONT)
    error = json.loads(out)["error"]
    assert (child.returncode, error["code"]) == (1, "interrupted")
    assert b"Traceback" not in said


SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()"
    " AND state = 'active' AND datname = current_database()"
)


def test_ctrl_c_at_the_question(shop: Path, conn: Conn) -> None:
    terminal = Terminal("up")
    terminal.until("[y/N]")
    terminal.type("\x03")
    assert terminal.end() == 1
    assert "interrupted; nothing was changed" in terminal.plain
    assert versions(conn) == []


def test_who_reads_has_read_enough(shop: Path) -> None:
    command = " ".join(COMMAND)
    answer = subprocess.run(
        ["bash", "-c", f"{command} graph | head -c 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert (answer.stdout, answer.stderr) == ("f0\n", "")
