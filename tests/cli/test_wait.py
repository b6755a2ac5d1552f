"""`wait` ends when the target accepts connections, at once where it never will, and in time."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from terminal import COMMAND

from dev.cluster import Cluster
from dev.ports import free_port
from tests.waiting import PATIENCE

Wmigrate = Callable[..., Any]


def test_a_target_that_is_there(shop: Path, wmigrate: Wmigrate, conn: psycopg.Connection[Any]) -> None:
    result = wmigrate("wait")
    place = f"Database {conn.info.dbname} on 127.0.0.1:{conn.info.port} as postgres"
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{place} accepts connections, after ")
    data = wmigrate("wait", "--json").json
    assert (data["target"]["database"], data["tries"]) == (conn.info.dbname, 1)
    assert data["waited_ms"] >= 0
    assert set(data) == {"target", "waited_ms", "tries"}


def test_it_needs_no_folder(
    wmigrate: Wmigrate, pg_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in pg_environment.items():
        monkeypatch.setenv(name, value)
    assert wmigrate("wait").code == 0


def test_a_server_that_starts_meanwhile(start_cluster: Any, tmp_path: Path, cluster: Cluster) -> None:
    """It says what it waits for, and why, once."""
    port = free_port()
    words = ["wait", "--timeout", "120", "--dsn", f"postgresql://postgres@127.0.0.1:{port}/postgres"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        first = child.stderr.readline()
        with start_cluster(port=port):
            out, err = child.communicate(timeout=150)
    assert first == (
        "waiting up to 120 s for the target of --dsn: no connection to the target database: connection to server at"
        f' "127.0.0.1", port {port} failed: Connection refused\n'
    )
    assert child.returncode == 0, err
    assert out.startswith(f"Database postgres on 127.0.0.1:{port} as postgres accepts connections, after ")


def test_the_time_is_over(wmigrate: Wmigrate) -> None:
    result = wmigrate("wait", "--timeout", "1", "--dsn", "host=127.0.0.1 port=1 dbname=x password=s3cret")
    assert (result.code, result.out) == (3, "")
    *_, last = result.err.splitlines()
    assert last.startswith("wmigrate: the target of --dsn is not ready after 1 s and ")
    assert last.endswith("port 1 failed: Connection refused; find out why, or give a longer --timeout")
    assert "s3cret" not in result.err
    error = wmigrate("wait", "--timeout", "1", "--json", "--dsn", "host=nowhere.invalid dbname=x").json["error"]
    assert (error["code"], error["exit_code"], error["retryable"]) == ("not_ready", 3, True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"PGDATABASE": "shoppe"}, 'database "shoppe" does not exist; correct the database\'s name, or create it'),
        ({"PGUSER": "nobody"}, 'role "nobody" does not exist; correct the user, or create the role'),
        ({"PGUSER": "shut"}, 'role "shut" is not permitted to log in; give the role LOGIN'),
    ],
)
def test_what_waiting_cannot_change_ends_at_once(
    shop: Path, wmigrate: Wmigrate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], told: str
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    if change.get("PGUSER") == "shut":
        cluster.execute("CREATE ROLE shut NOLOGIN")
    try:
        result = wmigrate("wait", "--timeout", "600")
    finally:
        cluster.execute("DROP ROLE IF EXISTS shut")
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert result.err.endswith(f"{told}\n")


def test_a_wrong_password_ends_at_once(start_cluster: Any, wmigrate: Wmigrate) -> None:
    with start_cluster(password="right") as guarded:
        place = f"host=127.0.0.1 port={guarded.port} user=postgres dbname=postgres"
        wrong = wmigrate("wait", "--timeout", "600", "--dsn", f"{place} password=s3cret")
        missing = wmigrate("wait", "--timeout", "600", "--dsn", place)
        assert wmigrate("wait", "--dsn", f"{place} password=right").code == 0
    assert (wrong.code, missing.code) == (1, 1)
    assert wrong.err.endswith("correct the user or the password\n")
    assert missing.err.endswith("give its password\n")
    assert "s3cret" not in wrong.err


def test_it_can_be_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging_up:
        target = f"host=127.0.0.1 port={hanging_up.getsockname()[1]} dbname=x"
        words = ["wait", "--json", "--timeout", "600", "--dsn", target]
        child = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        hanging_up.settimeout(PATIENCE)
        hanging_up.accept()[0].close()
    with child:
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=PATIENCE)
    error = json.loads(out)["error"]
    assert (child.returncode, err, error["code"]) == (1, "", "interrupted")
