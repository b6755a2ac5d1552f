"""A real TimescaleDB for the tests: PostgreSQL and the extension as WebAssembly, on a TCP port, from the npm registry.

One backend serves every connection, one statement at a time. So this shows what the SQL does, and nothing of locks,
concurrency or cancelling.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.ports import free_port
from dev.programs import run_npm
from tests.needs import need

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """The port of a TimescaleDB that the whole session shares: it starts in seconds and takes half a gigabyte."""
    node, _ = need("node", "npm")
    if not (HERE / "node_modules").is_dir():
        run_npm(HERE)
    port = free_port()
    process = subprocess.Popen([node, "tsdb_server.mjs", str(port)], cwd=HERE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("READY")
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def database(server: int) -> str:
    """The DSN; there is one database, so a test leaves it as it found it."""
    return f"postgresql://postgres@127.0.0.1:{server}/postgres"
