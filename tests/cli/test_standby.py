"""A target that takes no migrations: a standby. And one that only seems so: read-only by default."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dev.cluster import Cluster

Wmigrate = Callable[..., Any]

SENTENCE = "the target is a standby, which takes no migrations; connect to the primary"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """One that can be stopped and started again."""
    folder = Path(tempfile.mkdtemp(prefix="wmigrate-standby-"))
    try:
        folder.chmod(0o755)  # whoever runs the server is not always who runs the tests
        with Cluster(folder / "data", fsync=False) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def follower(server: Cluster, shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of `shop`; its target has one migration, and is a standby that waits for its primary."""
    monkeypatch.setenv("PGDATABASE", "postgres")
    monkeypatch.setenv("PGPORT", str(server.port))
    signal = server.data_dir / "standby.signal"
    if not signal.exists():
        assert wmigrate("up", "--to", "1", "--yes").code == 0
        server.stop()
        signal.touch()
        server.start()
        monkeypatch.setenv("PGPORT", str(server.port))
    return shop


@pytest.mark.parametrize(
    "words",
    [
        ("up", "--yes"),
        ("up", "--dry-run"),
        ("down", "000", "--yes"),
        ("down", "0", "--dry-run"),
        ("baseline", "2", "--yes", "--reason", "it is so"),
        ("repair", "1", "--accept", "--yes", "--reason", "it is so"),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_standby_takes_no_migrations(follower: Path, wmigrate: Wmigrate, words: tuple[str, ...]) -> None:
    if words[0] == "repair":
        (follower / "001_shop.sql").write_text("CREATE TABLE shop (id bigint);")
    result = wmigrate(*words)
    assert (result.code, result.err.splitlines()[-1]) == (3, f"wmigrate: {SENTENCE}")
    assert result.out == ""


def test_the_plan_for_a_standby_says_so(follower: Path, wmigrate: Wmigrate) -> None:
    result = wmigrate("plan")
    assert (result.code, result.out.splitlines()[-1]) == (3, f"error: {SENTENCE}")


def test_with_nothing_to_do_a_standby_is_as_good_as_any(follower: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("up", "--to", "1", "--yes").code == 0
    assert wmigrate("plan", "--to", "1").code == 0


STEPWISE = "CREATE TABLE s (id int);\nCREATE INDEX CONCURRENTLY s_id ON s (id);\nVACUUM s;"


def test_read_only_by_default_is_treated_alike_inside_and_outside_transactions(
    shop: Path, wmigrate: Wmigrate, conn: psycopg.Connection[object]
) -> None:
    conn.execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',"
                 " current_database()); END $$")  # fmt: skip
    (shop / "004_index.sql").write_text(STEPWISE)
    assert wmigrate("up", "--dry-run").code == 0
    assert wmigrate("up", "--yes").code == 0
