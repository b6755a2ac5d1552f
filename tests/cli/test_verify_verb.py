"""verify at the command line: what is written into the folder, and what `plan`, `up` and `check` make of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from terminal import COMMAND, heed_ctrl_c

from dev.cluster import Cluster
from dev.server_binaries import Account
from dev.watchdog import wait_until

Conn = psycopg.Connection[Any]
Wmigrate = Callable[..., Any]
REQUIRED = "validation: {migrations: {require_rollback_validation: true}}\n"
LOST = "  table public.shop: other values in price"


@pytest.fixture
def strict(shop: Path) -> Path:
    """Three migrations, of which the rollback of 003 takes a column away that it did not make."""
    (shop / "migration_config.yaml").write_text(REQUIRED)
    (shop / "002_price.sql").write_text("ALTER TABLE shop ADD price int;")
    (shop / "003_view.sql").write_text("ALTER TABLE shop DROP price;")
    (shop / "003_view.rollback.sql").write_text("ALTER TABLE shop ADD price int;")
    return shop


def told(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("Plan for")]


def test_what_is_not_proven_is_not_applied(wmigrate: Wmigrate, strict: Path) -> None:
    none = (
        "migration_config.yaml:1: no rollback is proven: there is no verdict in migration_verdicts.txt, and"
        " require_rollback_validation is on; prove them with `wmigrate verify --write`, and commit that file"
    )
    refused = wmigrate("up", "--yes")
    assert (refused.code, refused.out, refused.err) == (3, "", f"wmigrate: {none}\n")
    for words in (["plan"], ["check"], ["check", "--offline"]):
        answer = wmigrate(*words, "--json")
        assert (answer.code, [f["code"] for f in answer.json["findings"]]) == (3, ["rollback_unproven"]), words

    written = wmigrate("verify", "--write")
    assert written.code == 3
    assert written.err.splitlines() == ["001_shop: exact", "002_price: exact", "003_view: rows lost"]
    assert written.out.splitlines() == [
        "003_view: rows lost",
        LOST,
        "3 rollbacks verified, 1 not proven.",
        "The verdicts stand in migration_verdicts.txt: commit it with the migrations.",
    ]
    lost = (
        "migration_verdicts.txt:5: the rollback of 003 is not exact: rows lost; correct it and prove it with"
        " `wmigrate verify 003 --write`; or, if that is all right: `wmigrate verify 003 --write --accept 003`"
    )
    assert wmigrate("up", "--yes").err == f"wmigrate: {lost}\n"
    assert wmigrate("up", "--yes", "--to", "002").code == 0, "those two are proven"
    (strict / "migration_verdicts.txt").rename(strict / "away")
    assert wmigrate("plan", "--to", "002").code == 0, "what is applied needs no verdict any more"
    (strict / "away").rename(strict / "migration_verdicts.txt")

    taken = wmigrate("verify", "003", "--write", "--accept", "3")
    assert (taken.code, taken.err) == (0, "003_view: rows lost\n")
    assert taken.out.splitlines()[:3] == ["003_view: rows lost, accepted", LOST, "1 rollback verified, 0 not proven."]
    again = wmigrate("verify", "3", "2", "--json")
    assert (again.code, again.json["proven"]) == (0, True)
    assert [(v["version"], v["grade"], v["accepted"]) for v in again.json["verdicts"]] == [
        ("002", "exact", False),
        ("003", "rows_lost", True),
    ]
    assert wmigrate("up", "--yes").code == 0


def test_verdicts_are_written_alike_each_time(wmigrate: Wmigrate, strict: Path) -> None:
    wmigrate("verify", "--write")
    first = (strict / "migration_verdicts.txt").read_bytes()
    wmigrate("verify", "003", "001", "--write")
    wmigrate("verify", "--write", "--jobs", "3")
    assert (strict / "migration_verdicts.txt").read_bytes() == first


def test_a_file_that_was_edited_is_told_before_the_work(wmigrate: Wmigrate, strict: Path) -> None:
    (strict / "migration_verdicts.txt").write_text("001 exact 15 a b c d\n")
    says = (
        "migration_verdicts.txt:1: is not as `wmigrate verify --write` wrote it; restore that line, or delete it and"
        " run `wmigrate verify --write` again\n"
    )
    for words in (["verify"], ["verify", "--write"], ["up", "--yes"]):
        answer = wmigrate(*words)
        assert (answer.out, answer.err) == ("", f"wmigrate: {says}"), words


def test_what_is_accepted_has_to_be_written(wmigrate: Wmigrate, strict: Path) -> None:
    answer = wmigrate("verify", "--accept", "003")
    says = "--accept goes with --write; what is accepted stands in migration_verdicts.txt: give --write\n"
    assert (answer.code, answer.err) == (2, f"wmigrate: {says}")
    other = wmigrate("verify", "001", "--write", "--accept", "003")
    says = (
        "--accept 003 is for a migration that is not verified in this call; name it before the options too:"
        " `wmigrate verify 003 --write --accept 003`\n"
    )
    assert (other.code, other.err) == (2, f"wmigrate: {says}")
    assert not (strict / "migration_verdicts.txt").exists()


def test_a_new_migration_is_proven_by_its_version(wmigrate: Wmigrate, strict: Path) -> None:
    wmigrate("verify", "--write", "--accept", "003")
    assert wmigrate("new", "add_note", "--template", "table").code == 0
    (strict / "004_add_note.sql").write_text("CREATE TABLE note (id int);")
    (strict / "004_add_note.rollback.sql").write_text("DROP TABLE note;")
    answer = wmigrate("plan", "--json")
    says = (
        "its rollback has no verdict in migration_verdicts.txt",
        "prove it with `wmigrate verify 004 --write`",
        "004_add_note.sql",
    )
    assert [(f["message"], f["next_step"], f["file"]) for f in answer.json["findings"]] == [says]
    assert wmigrate("verify", "004", "--write").code == 0
    assert wmigrate("plan").code == 0


ACTIVE = "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND datname LIKE 'wmigrate_scratch_%'"


def scratch_databases(conn: Conn) -> list[str]:
    return [name for (name,) in conn.execute("SELECT datname FROM pg_database WHERE datname ~ '^wmigrate_scratch'")]


@contextmanager
def running(conn: Conn, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A call that is in the middle of its work."""
    command = [*COMMAND, "verify", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    ) as call:
        try:
            assert wait_until(lambda: bool(conn.execute(ACTIVE).fetchall()), 60)
            yield call
        finally:
            call.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [["--jobs", "2"], ["003"]], ids=["in a trial", "before it"])
def test_an_interrupted_run_leaves_no_database(shop: Path, conn: Conn, number: int, words: list[str]) -> None:
    (shop / "002_price.sql").write_text("SELECT pg_sleep(600);")
    with running(conn, *words) as call:
        call.send_signal(number)
        call.send_signal(number)  # a person presses it twice
        out, err = call.communicate(timeout=60)
    told = [line for line in err.splitlines() if line != "001_shop: exact"]
    assert (call.returncode, out, told) == (1, "", ["wmigrate: interrupted; nothing was changed"])
    assert scratch_databases(conn) == []


def test_what_a_killed_run_left_is_named_and_dropped_and_nothing_else(
    shop: Path, conn: Conn, wmigrate: Wmigrate, cluster: Cluster
) -> None:
    (shop / "002_price.sql").write_text("SELECT pg_sleep(600);")
    others = ["wmigrate_scratch_mine", "wmigrate_scratch_0123abcd_1_kept", "wmigrate_scratch_0123ABCD_1"]
    for name in others:
        cluster.create_database(name, template="template0")
    with running(conn, "003") as call:
        call.kill()
        call.communicate(timeout=60)
    left = sorted(set(scratch_databases(conn)) - set(others))
    (shop / "002_price.sql").write_text("SELECT 1;")
    gone = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'wmigrate_scratch_%'"
    assert wait_until(lambda: not conn.execute(gone).fetchall(), 60), "the server has seen that its client is gone"
    answer = wmigrate("verify", "001")
    said = [f"dropped {name}, which a killed run had left" for name in left]
    assert (answer.code, answer.err.splitlines()) == (0, [*said, "001_shop: exact"])
    assert (len(left), sorted(scratch_databases(conn))) == (1, sorted(others))
    for name in others:
        cluster.drop_database(name)


def test_without_a_target_a_server_of_its_own_is_started(shop: Path, tmp_path: Path, wmigrate: Wmigrate) -> None:
    """By an ordinary user; root is told why not."""
    (shop / "002_price.sql").write_text("CREATE ROLE nobody_else_has_it;")
    (shop / "002_price.rollback.sql").write_text("DROP ROLE nobody_else_has_it;")
    (shop / "003_view.sql").write_text("SELECT 1;")
    (shop / "003_view.rollback.sql").write_text("SELECT 1;")
    account = Account.for_server()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python = next(
        (p for p in (sys.executable, shutil.which(version, path="/usr/bin")) if p and account.reaches(Path(p))), None
    )
    if python is None:
        pytest.skip(f"no {version} that an ordinary user may run")
    home = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
    shutil.copytree(shop, home / "migrations")
    for path in (home, home / "migrations"):
        account.own(path)
    environ = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": os.defpath,
        "PYTHONPATH": f"{Path(__file__).parents[2]}:{Path(psycopg.__file__).parents[1]}",
    }
    call = subprocess.run(
        [python, "-m", "airflow_provider_wmigrate.cli", "verify", "--json", "--write"],
        cwd=home, env=environ, capture_output=True, text=True, check=False, **account.popen_arguments(),
    )  # fmt: skip
    assert (call.returncode, call.stderr) == (0, "")
    assert [v["grade"] for v in json.loads(call.stdout)["verdicts"]] == ["exact"] * 3, (
        "roles too: it is there for nothing else"
    )
    assert sorted(p.name for p in home.iterdir()) == ["migrations"], "it is gone again"
    shutil.rmtree(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_told_that_postgresql_does_not_run_so(
    shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE"):
        monkeypatch.delenv(name)
    answer = wmigrate("verify")
    says = "PostgreSQL does not run as root; run this as an ordinary user, or name a server with --scratch"
    assert (answer.code, answer.err.splitlines()[-1]) == (2, f"wmigrate: {says}")
