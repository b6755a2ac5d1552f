"""The application: a process of its own, so that the migration's work is not in its figures. Each session uses rows of
its own, so that only a migration can bring two of them into a deadlock."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import psycopg

SLOW = 0.01
"""Seconds from which on a statement is written down one by one."""
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the application does.

    :param families: of tables, each as the migrations lock them, from first to last.
    :param writers: sessions that change two tables of a family in a transaction, in an order of their own: every second
        one against that of the migrations.
    :param sessions: that read one row four times of five, and change it otherwise.
    :param think: seconds between two statements of a session, at most.
    """

    dsn: str
    families: tuple[tuple[str, ...], ...]
    writers: int = 4
    sessions: int = 20
    think: float = 0.1
    against: bool = False
    """All writers go against the order of the migrations."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A statement that took long, or failed. Times are those of the system's monotonic clock, in seconds."""

    kind: str
    start: float
    end: float
    sqlstate: str | None = None

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass
class Log:
    """What the application has seen."""

    statements: int = 0
    transactions: int = 0
    """Of the writers, that were committed."""
    longest_transaction: float = 0.0
    slow: list[Slow] = field(default_factory=list)

    @property
    def aborted(self) -> list[Slow]:
        return [each for each in self.slow if each.sqlstate]


class Application:
    """Use as a context manager: it works until the block ends."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def __enter__(self) -> Application:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(self._load, theirs), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(START_SECONDS):
            raise TimeoutError("the application did not start")
        self._pipe.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def log(self) -> Log:
        """What it has seen since it was last asked."""
        self._pipe.send("log")
        log: Log = self._pipe.recv()
        return log


def _work(load: Load, pipe: Connection) -> None:
    asyncio.run(_Sessions(load).run(pipe))


class _Sessions:
    def __init__(self, load: Load) -> None:
        self._load, self._log = load, Log()
        self._over = asyncio.Event()

    async def run(self, pipe: Connection) -> None:
        count = self._load.writers + self._load.sessions
        conns = [await psycopg.AsyncConnection.connect(self._load.dsn, autocommit=True) for _ in range(count)]
        tasks = [
            asyncio.create_task(self._write(conn, n) if n < self._load.writers else self._serve(conn, n))
            for n, conn in enumerate(conns)
        ]
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._answer, pipe)
        pipe.send("ready")
        await self._over.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for conn in conns:
            await conn.close()

    def _answer(self, pipe: Connection) -> None:
        try:
            pipe.recv()
        except EOFError:
            self._over.set()
            asyncio.get_running_loop().remove_reader(pipe.fileno())
            return
        log, self._log = self._log, Log()
        pipe.send(log)

    # What sessions do

    async def _serve(self, conn: psycopg.AsyncConnection[Any], number: int) -> None:
        """Four reads to one write, each alone."""
        chance = random.Random(number)
        while True:
            await asyncio.sleep(chance.uniform(0, self._load.think))
            table, row = chance.choice(chance.choice(self._load.families)), number + 1
            if chance.random() < 0.8:
                await self._timed(conn, "read", f"SELECT v FROM {table} WHERE id = {chance.randint(1, 500)}")
            else:
                await self._timed(conn, "write", f"UPDATE {table} SET v = v + 1 WHERE id = {row}")

    async def _write(self, conn: psycopg.AsyncConnection[Any], number: int) -> None:
        """Two tables in a transaction."""
        chance = random.Random(number)
        while True:
            await asyncio.sleep(chance.uniform(0, self._load.think / 10))
            tables = self._pair(chance, number)
            start = time.monotonic()
            if await self._transaction(conn, tables, number + 1, chance):
                self._log.transactions += 1
            else:
                await conn.execute("ROLLBACK")
            self._log.longest_transaction = max(self._log.longest_transaction, time.monotonic() - start)

    def _pair(self, chance: random.Random, number: int) -> Sequence[str]:
        family = chance.choice(self._load.families)
        first, second = sorted(chance.sample(range(len(family)), 2))
        order = (second, first) if number % 2 == 0 or self._load.against else (first, second)
        return [family[i] for i in order]

    async def _transaction(
        self, conn: psycopg.AsyncConnection[Any], tables: Sequence[str], row: int, chance: random.Random
    ) -> bool:
        await conn.execute("BEGIN")
        for table in tables:
            if not await self._timed(conn, "in transaction", f"UPDATE {table} SET v = v + 1 WHERE id = {row}"):
                return False
            await asyncio.sleep(chance.uniform(0, 0.01))
        return await self._timed(conn, "commit", "COMMIT")

    async def _timed(self, conn: psycopg.AsyncConnection[Any], kind: str, text: str) -> bool:
        start, sqlstate = time.monotonic(), None
        try:
            await conn.execute(text.encode())
        except psycopg.Error as error:
            sqlstate = error.sqlstate or type(error).__name__
        end = time.monotonic()
        self._log.statements += 1
        if sqlstate or end - start > SLOW:
            self._log.slow.append(Slow(kind, start, end, sqlstate))
        return sqlstate is None
