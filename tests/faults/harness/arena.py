"""Where the strikes happen: a server of its own, the wire to it, warm runners, and for each kind of migration a
database to copy and the picture a clean run leaves."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster, ClusterError
from dev.memory_room import memory_with_room
from dev.ports import free_port
from dev.watchdog import Watchdog

from . import picture
from .kinds import KINDS, USUAL, Kind, Limits
from .runner import Run, Zygote
from .small_disk import small_disk
from .wire import Wire

LOCAL = "sslmode=disable&gssencmode=disable&connect_timeout=2"
LIMIT = 30.0
"""Seconds for anything that ought to take a few milliseconds. Whatever needs longer hangs."""

Conn = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Clean:
    """What one kind of migration does when nobody strikes."""

    template: str
    wanted: picture.Picture
    outcome: str
    texts: tuple[str, ...]
    """The requests of a run, in order."""
    steps: tuple[int, ...]
    """The first statement of each segment, as told."""
    seconds: float


class Arena:
    """Use as a context manager."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._numbers = itertools.count(1)
        self.clean: dict[str, Clean] = {}
        self.sabotage: str | None = None
        """How the engine of the runners is broken from now on."""

    def __enter__(self) -> Arena:
        with contextlib.ExitStack() as stack:
            base = memory_with_room()
            room = stack.enter_context(tempfile.TemporaryDirectory(prefix="wmigrate-faults-", dir=base))
            Path(room).chmod(0o755)
            watchdog = Watchdog()
            watchdog.remove(Path(room))  # if this process is killed before it can
            stack.callback(watchdog.dismiss)
            self.disk = stack.enter_context(small_disk(Path(room) / "disk"))
            self.cluster = Cluster(Path(room) / "data", port=free_port(), fsync=False, settings={"autovacuum": False})
            self.cluster.start()
            stack.callback(self.cluster.stop)
            if self.disk is not None:
                self.cluster.execute(f"CREATE TABLESPACE small LOCATION '{self.disk.place}'")
            self.wire = Wire(lambda: self.cluster.port)
            stack.callback(self.wire.close)
            self.zygote = Zygote()
            stack.callback(self.zygote.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # Addresses

    def direct(self, database: str) -> str:
        """Without the wire."""
        return f"{self.cluster.dsn(database)}?{LOCAL}"

    def wired(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.wire.port}/{database}?{LOCAL}"

    @contextlib.contextmanager
    def conn(self, database: str) -> Iterator[Conn]:
        """A look from outside."""
        with psycopg.connect(self.direct(database), autocommit=True) as conn:
            yield conn

    def folder(self, kind: Kind, limits: Limits = USUAL) -> Path:
        folder = self.place / f"{kind.name.replace(' ', '_')}_{limits.total}_{limits.lock}"
        if not folder.exists():
            folder.mkdir(parents=True)
            for name, text in kind.files(limits).items():
                (folder / name).write_text(text)
        return folder

    # Databases

    @contextlib.contextmanager
    def database(self, template: str, *, on_small_disk: bool = False) -> Iterator[str]:
        name = f"struck_{next(self._numbers)}"
        self.cluster.create_database(name, template=template)
        if on_small_disk:
            self.cluster.execute(f"ALTER DATABASE {name} SET TABLESPACE small")
        try:
            yield name
        finally:
            with contextlib.suppress(psycopg.Error):
                self.cluster.drop_database(name)

    def learn(self, kind: Kind) -> Clean:
        """Run one kind clean, once to make its template and once to see what it does."""
        if kind.name in self.clean:
            return self.clean[kind.name]
        template = f"template_{kind.name.replace(' ', '_')}"
        dsn = self.cluster.create_database(template, template="template0")
        migrator = Migrator(
            lambda: psycopg.connect(dsn), read_folder(self.folder(kind)), identity=Identity("preparation")
        )
        migrator.apply("001")
        if kind.verb == "roll_back":
            migrator.apply("002")
        with self.database(template) as name:
            self.wire.arm(None)
            start = time.monotonic()
            run = self.start(kind, self.wired(name))
            end = run.end(LIMIT)
            seconds = time.monotonic() - start
            run.close()
            if end is None or "outcome" not in end:
                raise AssertionError(f"{kind.name} does not even run clean: {end}")
            with self.conn(name) as conn:
                wanted = picture.take(conn)
        steps = tuple(m["first"] for m in run.told if m["told"] == "Stepped")
        clean = Clean(template, wanted, end["outcome"], tuple(self.wire.texts), steps, seconds)
        self.clean[kind.name] = clean
        return clean

    def start(
        self, kind: Kind, dsn: str, *, name: str = "first", limits: Limits = USUAL, wait_at: str = "", **more: Any
    ) -> Run:
        """:param more: `impatient`, `clock`; see `Zygote.start`."""
        return self.zygote.start(
            dsn=dsn,
            folder=str(self.folder(kind, limits)),
            verb=kind.verb,
            version="002",
            name=name,
            wait_at=wait_at.split(),
            sabotage=self.sabotage,
            **more,
        )

    # The server's end

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """All of its processes stand still: they take what the system takes for them, and answer nothing."""
        leader = self.cluster.running_pid()
        assert leader is not None
        pids = _processes_of(leader)
        try:
            for pid in pids:
                _signal(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                _signal(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def without_standby(self) -> Iterator[None]:
        """Whoever commits waits for a standby that is not there, until the block ends."""
        with self.conn("postgres") as conn:
            conn.execute("SET synchronous_commit = local")
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            try:
                conn.execute("SELECT pg_reload_conf()")
                eventually(self._waits_for_standby, "commits wait for the standby")
                yield
            finally:
                conn.execute("ALTER SYSTEM RESET synchronous_standby_names")
                conn.execute("SELECT pg_reload_conf()")
                eventually(lambda: not self._waits_for_standby(), "commits wait no more")

    def _waits_for_standby(self) -> bool:
        """A cancelled wait is told by a warning; the commit is done all the same. No timeout of the server ends it."""
        heard: list[object] = []
        with psycopg.connect(self.direct("postgres"), autocommit=True) as conn:
            conn.add_notice_handler(heard.append)
            timer = threading.Timer(0.1, conn.cancel_safe)
            timer.start()
            with contextlib.suppress(psycopg.errors.QueryCanceled):
                conn.execute("SELECT pg_logical_emit_message(true, 'harness', '')")
            timer.cancel()
            timer.join()
        return bool(heard)

    def restart(self) -> None:
        """In an orderly way: open connections are ended, transactions rolled back."""
        self.cluster.stop()
        self.cluster.start()

    def crash(self) -> None:
        """kill -9 for the server and all of its processes, at once."""
        leader = self.cluster.running_pid()
        assert leader is not None
        pids = _processes_of(leader)
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self.cluster.stop()
        eventually(lambda: not any(map(_is_alive, pids)), "the killed server's processes end")
        self._start_again()

    def crash_one(self, pid: int) -> None:
        """kill -9 for one of its processes: the server ends all the others and recovers."""
        with self.conn("postgres") as conn:
            row = conn.execute("SELECT pg_postmaster_start_time()").fetchone()
            _signal(pid, signal.SIGKILL)
            eventually(lambda: _ended(conn), "the server ends its connections")
        assert row
        eventually(self._answers, "the server recovers")

    def _answers(self) -> bool:
        try:
            with self.conn("postgres"):
                return True
        except psycopg.Error:
            return False

    def _start_again(self) -> None:
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                return self.cluster.start()
            except ClusterError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _processes_of(leader: int) -> list[int]:
    """The server's first process and those that it has made, each of which leads a session of its own."""
    return [leader, *(child.pid for child in psutil.Process(leader).children())]


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _ended(conn: Conn) -> bool:
    try:
        conn.execute("SELECT 1")
    except psycopg.Error:
        return True
    return False


def eventually(so: Callable[[], bool], what: str, seconds: float = LIMIT) -> None:
    """Wait until it is so.

    :raises TimeoutError: it is not, within the limit.
    """
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.01)


__all__ = ["KINDS", "LIMIT", "Arena", "Clean", "eventually"]
