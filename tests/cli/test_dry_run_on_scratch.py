"""`up` and `down` with `--dry-run --scratch`: what no transaction takes is run where nothing can be harmed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from terminal import COMMAND, heed_ctrl_c

from airflow_provider_wmigrate.engine.session.scratch import PREFIX
from tests.waiting import PATIENCE, wait_until

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]
INDEX = "CREATE INDEX CONCURRENTLY shop_idx ON shop (id);"
RAN = r"  on a scratch database, which has no rows of the target, it ran in \d+ ms"


@pytest.fixture(autouse=True)
def no_scratch_database_stays(conn: Conn) -> Any:
    yield
    query = "SELECT datname FROM pg_database WHERE datname LIKE %s"
    assert conn.execute(query, [f"{PREFIX}%"]).fetchall() == []


def test_what_is_not_tried_here_runs_there(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    assert wmigrate("up", "--yes").code == 0
    (shop / "004_index.sql").write_text(INDEX)
    (shop / "004_index.rollback.sql").write_text("DROP INDEX CONCURRENTLY shop_idx;")
    assert wmigrate("up", "--dry-run").code == 3, "nobody has allowed a scratch database"
    shown = wmigrate("up", "--dry-run", "--scratch", "target")
    lines = shown.out.splitlines()
    assert (shown.code, lines[0]) == (
        0, "not tried: 004_index.sql:1: CREATE INDEX CONCURRENTLY cannot be undone by a transaction"
    )  # fmt: skip
    assert re.fullmatch(RAN, lines[1])
    assert re.fullmatch(r"Dry run on database test_\d+ on .*: nothing was tried\.", lines[2])
    (record,) = wmigrate("up", "--dry-run", "--json", "--scratch", conn.info.dsn).json["records"]
    told = record["on_scratch"]
    assert (record["outcome"], told["outcome"], told["rows"], told["reason"]) == ("not_tried", "ran", 0, None)
    assert f"  {told['told']}" == re.sub(r"\d+ ms", f"{told['duration_ms']} ms", lines[1])
    assert wmigrate("up", "--yes").code == 0
    back = wmigrate("down", "--steps", "1", "--dry-run", "--scratch", "target")
    assert (back.code, bool(re.fullmatch(RAN, back.out.splitlines()[1]))) == (0, True)
    assert conn.execute("SELECT to_regclass('shop_idx')").fetchone() == ("shop_idx",)


def test_what_fails_there_is_found(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "004_index.sql").write_text(INDEX.replace("(id)", "(no_such)"))
    shown = wmigrate("up", "--dry-run", "--scratch", "target")
    assert (shown.code, shown.out.splitlines()[1]) == (
        3,
        '  it failed on a scratch database: 004_index.sql:1: column "no_such" does not exist (SQLSTATE 42703) in'
        " CREATE INDEX CONCURRENTLY shop_idx ON shop (no_such); nothing ran before it, and nothing of it was kept",
    )


@pytest.mark.parametrize("words", [("up", "--yes"), ("down", "0", "--yes")])
def test_without_a_dry_run_it_is_refused(shop: Path, wmigrate: Wmigrate, words: tuple[str, ...]) -> None:
    refused = wmigrate(*words, "--scratch", "target")
    said = "wmigrate: --scratch belongs to --dry-run; give it too, or leave --scratch out\n"
    assert (refused.code, refused.err) == (2, said)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_it_leaves_no_scratch_database(shop: Path, conn: Conn, sent: signal.Signals) -> None:
    (shop / "004_slow.sql").write_text("SELECT pg_sleep(1000);")
    (shop / "migration_config.yaml").write_text("migrations: [{version: '004', transactional: false}]")
    command = [*COMMAND, "up", "--dry-run", "--scratch", "target", "--json"]
    query = "SELECT datname FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(1000)%%' AND datname LIKE %s"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c) as child:
        wait_until(lambda: conn.execute(query, [f"{PREFIX}%"]).fetchone() is not None)
        child.send_signal(sent)
        out, _ = child.communicate(timeout=PATIENCE)
    assert (child.returncode, json.loads(out)["error"]["message"]) == (
        1, "stopped on request; a dry run leaves nothing behind"
    )  # fmt: skip
