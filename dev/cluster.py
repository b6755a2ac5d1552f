"""A PostgreSQL server of our own, for tests and the demo: made, started, stopped, and taken away again.

It listens on 127.0.0.1 only, its data lies in one folder, and it runs as root (dropping to another account)
as well as for a normal user.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from dev.ports import free_port, port_taken
from dev.server_binaries import Account, ClusterError, OtherMajorVersion, find_bindir, major_version, server_environment
from dev.watchdog import Watchdog, gone, wait_until

__all__ = ["Cluster", "ClusterError", "find_bindir", "free_port"]

SUPERUSER = "postgres"
START_SECONDS = 60.0
STOP_SECONDS = 10.0
# Which line of postmaster.pid says what (PostgreSQL's src/include/utils/pidfile.h, counted from 0).
PID_LINE, STATUS_LINE = 0, 7

Setting = str | int | float | bool


class Cluster:
    """One data folder and, between ``start`` and ``stop``, the server on it.

    :param data_dir: made by the first start, used again by later ones; its parent must exist.
    :param bindir: folder of the server programs; ``None`` looks for one (see ``server_binaries``).
    :param port: TCP port on 127.0.0.1; ``None`` takes a free one at every start.
    :param password: of the superuser ``postgres``, asked for from then on (scram-sha-256); ``None`` trusts
        everybody who reaches the port. Counts when the data folder is made; later starts name the same one.
    :param settings: server settings for this start, such as ``{"timescaledb.max_background_workers": 0}``.
    :param fsync: ``False`` is faster and loses the data with the machine; for tests.
    :param log_file: what the server says; ``None`` writes it beside the data folder.
    :param account: which the server runs as; ``None`` is ours or, for root, one without rights.
    """

    def __init__(
        self,
        data_dir: Path | str,
        *,
        bindir: Path | str | None = None,
        port: int | None = None,
        password: str | None = None,
        settings: Mapping[str, Setting] | None = None,
        fsync: bool = True,
        log_file: Path | str | None = None,
        account: Account | None = None,
    ) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.log_file = Path(log_file or f"{self.data_dir}.log").absolute()
        self.bindir = Path(bindir) if bindir is not None else find_bindir()
        self.password = password
        self.settings = dict(settings or {})
        self.fsync = fsync
        self._wanted_port = port
        self.port = port or 0
        self._account = account or Account.for_server()
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog = Watchdog()

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, *, parent: Path | None = None, **arguments: Any) -> Iterator[Cluster]:
        """A running server in a temporary folder, gone with the ``with`` block or with the process."""
        folder = Path(tempfile.mkdtemp(dir=parent, prefix="wmigrate-pg-"))
        try:
            folder.chmod(0o755)
            cluster = cls(folder / "data", fsync=False, **arguments)
            cluster.start(remove_afterwards=folder)
            with cluster:
                yield cluster
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def dsn(self, dbname: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """A URL for psycopg and libpq. Without a password given, the superuser's own is put in."""
        secret = self.password if password is None and user == SUPERUSER else password
        login = quote(user, safe="") + (":" + quote(secret, safe="") if secret else "")
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    def __enter__(self) -> Cluster:
        if self._process is None:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, remove_afterwards: Path | None = None) -> None:
        """Return when the server accepts connections.

        :param remove_afterwards: folder deleted if this process is killed before it could stop the server.
        """
        if self._process is not None:
            raise ClusterError(f"this server is already running on port {self.port}")
        self._refuse_unreachable()
        self._refuse_second_server()
        if (self.data_dir / "PG_VERSION").exists():
            self._refuse_other_major()
        else:
            self._initdb()
        self.port = self._wanted_port or free_port()
        if port_taken(self.port):
            raise ClusterError(f"port {self.port} on 127.0.0.1 is taken by another program: choose another one")
        self._launch(remove_afterwards)
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raise if the server has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise ClusterError(f"the PostgreSQL server has ended: {self._log_tail()}")

    def running_pid(self) -> int | None:
        """The server that runs on this data folder, whoever started it, or None.

        Process numbers are used again: only a PostgreSQL server that was told this very folder counts.
        """
        with contextlib.suppress(IndexError, ValueError, psutil.Error):
            pid = abs(int(self._pid_file()[PID_LINE]))
            program, *arguments = psutil.Process(pid).cmdline()
            if Path(program).name == "postgres" and str(self.data_dir) in arguments:
                return pid
        return None

    def _refuse_unreachable(self) -> None:
        if not self.data_dir.parent.is_dir():
            raise ClusterError(f"the folder {self.data_dir.parent} for the server's data does not exist")
        for path in (self.data_dir.parent, self.bindir / "postgres"):
            if not self._account.reaches(path):
                raise ClusterError(
                    f"the account {self._account.name or 'running this'}, as which the server has to run, "
                    f"cannot reach {path}: choose a place below folders that everybody may enter"
                )

    def _refuse_second_server(self) -> None:
        """Also clears a left-over postmaster.pid whose number now belongs to some other program: the server
        would take that program for a server and refuse to start."""
        pid = self.running_pid()
        if pid is not None:
            raise ClusterError(f"a server is already running on {self.data_dir} (process {pid}): stop it first")
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)

    def _refuse_other_major(self) -> None:
        made_by = (self.data_dir / "PG_VERSION").read_text().strip()
        ours = major_version(self.bindir)
        if made_by != str(ours):
            raise OtherMajorVersion(
                f"{self.data_dir} was made by PostgreSQL {made_by} and {self.bindir} is PostgreSQL {ours}: "
                "set PG_BINDIR to a matching server or delete the folder"
            )

    def _initdb(self) -> None:
        """Made beside its place and renamed: an interrupted initdb leaves no half-made data folder."""
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise ClusterError(f"{self.data_dir} is not empty and holds no PostgreSQL data: choose another folder")
        scratch = Path(tempfile.mkdtemp(dir=self.data_dir.parent, prefix=f".{self.data_dir.name}-"))
        try:
            self._account.own(scratch)
            command = [str(self.bindir / "initdb"), "-D", str(scratch / "data"), "-U", SUPERUSER]
            command += ["--no-sync", "--encoding=UTF8", "--locale=C", *self._authentication(scratch)]
            answer = self._account.run(command)
            if answer.returncode != 0:
                raise ClusterError(f"initdb failed: {_last_lines(answer.stderr or answer.stdout)}")
            (scratch / "data").replace(self.data_dir)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _authentication(self, scratch: Path) -> list[str]:
        if self.password is None:
            return ["--auth=trust"]
        file = scratch / "password"
        file.touch(mode=0o600)
        file.write_text(self.password + "\n")
        self._account.own(file)
        return ["--auth=scram-sha-256", f"--pwfile={file}"]

    def _launch(self, remove_afterwards: Path | None) -> None:
        settings: dict[str, Setting] = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": self.fsync,
            **({} if self.fsync else {"max_wal_size": "256MB"}),  # it may lie in memory
            "logging_collector": False,
            **self.settings,
        }
        command = [str(self.bindir / "postgres"), "-D", str(self.data_dir)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log_file.open("wb") as log:
            self._process = self._popen(command, log)
        self._watchdog.watch(self._process.pid, signal.SIGINT, signal.SIGQUIT)
        if remove_afterwards is not None:
            self._watchdog.remove(remove_afterwards)

    def _popen(self, command: list[str], log: Any) -> subprocess.Popen[bytes]:
        """In a session of its own: Ctrl-C is for the starter, who then stops the server in order."""
        command = self._account.command(command)
        try:
            return subprocess.Popen(
                command,
                cwd="/",
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._account.popen_arguments(),
            )
        except OSError as error:
            raise ClusterError(f"cannot run {command[0]}: {error}") from error

    def _wait_ready(self) -> None:
        """As pg_ctl does: the server itself writes into postmaster.pid when it accepts connections."""
        assert self._process is not None
        pid = str(self._process.pid)

        def ready() -> bool:
            self.check()
            lines = self._pid_file()
            return len(lines) > STATUS_LINE and lines[PID_LINE] == pid and lines[STATUS_LINE].strip() == "ready"

        if not wait_until(ready, START_SECONDS):
            raise ClusterError(f"the server was not ready within {START_SECONDS:.0f} s: {self._log_tail()}")

    def _pid_file(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _log_tail(self) -> str:
        try:
            return f"{_last_lines(self.log_file.read_text(errors='replace'))} (log: {self.log_file})"
        except OSError:
            return f"log: {self.log_file}"

    def crashes(self) -> list[str]:
        """What the server says of having ended its connections, or itself, in the order in which it was said."""
        said = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return [line for line in said if _CRASH.search(line)]

    def stop(self) -> None:
        """Stop the server on this data folder, also one that an earlier, killed starter left behind.

        Open connections are ended (a fast shutdown); if that takes too long the server is made to stop at
        once and recovers from its log at the next start.
        """
        pid = self._process.pid if self._process is not None else self.running_pid()
        if pid is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if wait_until(lambda: gone(pid), STOP_SECONDS):
                break
        if self._process is not None:
            self._process.wait()
            self._process = None
        self._watchdog.forget(pid)
        self._watchdog.dismiss()

    def execute(self, query: str, *, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser outside a transaction; its rows, if it has any."""
        with psycopg.connect(self.dsn(dbname), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the server's own client programs to its end, such as pg_dump."""
        return self._account.run([str(self.bindir / program), *arguments])

    def create_database(self, name: str, template: str | None = None, owner: str | None = None) -> str:
        """Its DSN. A copy of ``template`` needs that nobody is connected to the template."""
        named = {"DATABASE": name, "TEMPLATE": template, "OWNER": owner}
        self.execute("CREATE " + " ".join(f"{what} {quoted(one)}" for what, one in named.items() if one is not None))
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Also when somebody is still connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


_CRASH = re.compile(r"PANIC: |terminated by signal|data directory lock file|shutting down|startup process failure")


def quoted(identifier: str) -> str:
    """As an SQL identifier."""
    return sql.Identifier(identifier).as_string(None)


def _last_lines(text: str, count: int = 4) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-count:]) or "it said nothing"
