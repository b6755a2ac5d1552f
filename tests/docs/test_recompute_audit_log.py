"""The program in docs/ledger.md recomputes a real audit log, with psql and the standard library alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
FILES = {"001_a.sql": "CREATE TABLE a ();", "001_a.rollback.sql": "DROP TABLE a;", "002_b.sql": "CREATE TABLE a ();"}
ODD = {
    "text": 'é 日本 🙂 " \\ / \t \x7f \u2028',
    "numbers": [1.50, 1e300, 1e-7, 2**70, -0.0, 3],
    "é": {"Z": None, "a": True},
}

Recompute = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def recompute(tmp_path: Path, cluster: Cluster, database: str) -> Recompute:
    (program,) = re.findall(r'```python\n("""PGCLIENTENCODING.*?)```', (ROOT / "docs" / "ledger.md").read_text(), re.S)
    assert program.count("\n") <= 60
    (query,) = re.findall(r'rows\.sql:\n(.*?)\n"""', program, re.S)
    (tmp_path / "recompute.py").write_text(program)
    (tmp_path / "rows.sql").write_text(query)

    def run(*head: str) -> subprocess.CompletedProcess[str]:
        psql = [str(cluster.bindir / "psql"), "-XAtq", "-f", str(tmp_path / "rows.sql"), database]
        rows = subprocess.run(psql, capture_output=True, check=True, env={"PGCLIENTENCODING": "UTF8"}).stdout
        program = [sys.executable, "-I", str(tmp_path / "recompute.py"), *head]
        done = subprocess.run(program, input=rows, capture_output=True, check=False)
        return subprocess.CompletedProcess(program, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def test_it_finds_the_head_and_what_was_changed(
    recompute: Recompute, migrator: Callable[..., Any], conn: psycopg.Connection[Any]
) -> None:
    runner = migrator(FILES, identity=Identity("jürgen 🙂", run_id="r", try_number=1))
    kept = runner.record("planned", details=ODD)
    runner.apply("001")
    with pytest.raises(StatementFailed):
        runner.apply("002")
    for head in ([], [kept], [runner.head()], ["0:" + "0" * 64]):
        done = recompute(*head)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{runner.head()}\n", "")
    other = "2:" + "f" * 64
    done = recompute(other)
    assert (done.returncode, done.stderr) == (1, f"the chain never passed through {other}\n")
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER")
    conn.execute("UPDATE wmigrate.audit_log SET at = date_trunc('second', at) WHERE position = 2")
    done = recompute()
    assert (done.returncode, done.stderr) == (1, "row 2 was changed\n")
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position = 2")
    assert recompute().stderr == "row 2 is gone or out of place\n"


def test_a_row_at_a_full_second(recompute: Recompute, migrator: Callable[..., Any], conn: Any) -> None:
    """As the server's clock gives one in a million; made here by the forger who knows the form."""
    runner = migrator(FILES)
    runner.record("planned")
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER")
    conn.execute("UPDATE wmigrate.audit_log SET at = date_trunc('second', at) WHERE position = 2")
    row = list(runner.ledger.log.rows(conn))[-1]
    conn.execute("UPDATE wmigrate.audit_log SET hash = %s WHERE position = 2", [row.computed_hash()])
    assert recompute().stdout == f"2:{row.computed_hash()}\n"
