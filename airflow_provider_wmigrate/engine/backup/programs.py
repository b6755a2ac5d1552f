"""PostgreSQL's client programs, run as children: no password is ever on a command line."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.conninfo import make_conninfo

from airflow_provider_wmigrate.engine.errors import WMigrateError

_KNOWN = (
    "user", "dbname", "options", "passfile", "connect_timeout", "sslmode", "sslrootcert", "sslcert", "sslkey",
    "sslcrl", "sslcrldir", "channel_binding", "gssencmode", "krbsrvname", "gsslib",
)  # fmt: skip
"""Of a connection's parameters, those of every version of libpq: psycopg may have a newer one than pg_dump."""

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 10.0
"""How long a child that was told to stop may take to cancel what it runs on the server."""

_WAYS = {
    "server version mismatch": "take programs of the server's major version or a newer one",
    "permission denied": "let the role read it: GRANT pg_read_all_data, or connect as the owner of the tables",
    "row-level security": "connect as a role with BYPASSRLS, or as the owner of the tables",
    "No space left|File too large|Disk quota": "make room at backup_location, or choose another one",
    "canceling statement due to lock timeout": "try again when nobody holds that table",
}
"""The programs' words, which are asked for in English -> what helps."""
_BY_HAND = "try the program by hand, and look at the server's log"

_RETRYABLE = re.compile("lock timeout|connection to server|server closed the connection|terminating connection")


class Login(Struct, frozen=True):
    """How a child gets to the same server as we did."""

    dsn: str
    """Without the password."""
    password: str


def login_of(conn: psycopg.Connection[Any]) -> Login:
    """The server that has let this connection in: of several hosts the same one."""
    info = conn.info
    known = {name: value for name, value in info.get_parameters().items() if name in _KNOWN}
    known |= {name: value for name, value in (("host", info.host), ("hostaddr", info.hostaddr)) if value}
    return Login(make_conninfo(**known, port=info.port), info.password)


class Programs:
    """:param environ: of the process: PATH, and what libpq reads of it.
    :param cancelled: asked now and then; True: what runs is stopped.
    """

    def __init__(self, environ: Mapping[str, str], cancelled: Callable[[], bool] = lambda: False) -> None:
        self._environ, self._cancelled = environ, cancelled

    def find(self, name: str) -> str:
        """Where a program is.

        :raises WMigrateError: it is not on the path.
        """
        path = shutil.which(name, path=self._environ.get("PATH", ""))
        if path is None:
            hint = "install PostgreSQL's client programs, of the server's major version or a newer one"
            raise WMigrateError(f"{name} is not on the path", hint=hint)
        return path

    def run(
        self,
        command: Sequence[str],
        login: Login | None = None,
        *,
        more: Mapping[str, str] | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> str:
        """Run one to its end; it ends with us, whatever ends us in an orderly way.

        :param more: variables of its environment.
        :param tick: called a few times in a second meanwhile.
        :return: what it printed.
        :raises WMigrateError: it failed, or was cancelled.
        """
        words = {"LC_ALL": "C", "LANGUAGE": "C", **(more or {})}
        if login is not None:
            command = [*command, f"--dbname={login.dsn}"]
            words |= {"PGPASSWORD": login.password} if login.password else {}
        try:
            child = subprocess.Popen(
                command,
                env={**self._environ, **words},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                umask=0o077,
            )
        except OSError as error:
            raise WMigrateError(f"{_name(command)} cannot be started: {error.strerror}") from error
        with child:
            try:
                out, said = self._watched(child, tick)
            except BaseException:
                _stop(child)
                raise
        if self._cancelled():
            raise WMigrateError(f"{_name(command)} was stopped on request")
        if child.returncode:
            raise failure(_name(command), said, child.returncode)
        return out

    def _watched(self, child: subprocess.Popen[str], tick: Callable[[], None]) -> tuple[str, str]:
        while True:
            try:
                return child.communicate(timeout=_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                if self._cancelled():
                    _stop(child)
                else:
                    tick()


def _stop(child: subprocess.Popen[str]) -> None:
    """pg_dump cancels its queries on the server when it is told to end."""
    child.terminate()
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def _name(command: Sequence[str]) -> str:
    return command[0].rpartition("/")[2]


def failure(name: str, said: str, code: int) -> WMigrateError:
    """What a program that failed said, in one sentence."""
    lines = [line for line in said.strip().splitlines() if line and not re.search("warning:|detail:|hint:", line)]
    reason = re.sub(f"^{re.escape(name)}: (error: )?", "", lines[0]) if lines else f"it ends with {code}"
    hint = next((way for words, way in _WAYS.items() if re.search(words, said)), _BY_HAND)
    return WMigrateError(f"{name} failed: {reason}", hint=hint, retryable=bool(_RETRYABLE.search(said)))
