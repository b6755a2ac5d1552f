"""Waits in the triggerer until the ledger says that migrations are applied, or the target is as a pipeline needs it."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from .hooks import postgres_hook

if TYPE_CHECKING:
    import psycopg
    from psycopg.rows import TupleRow

    from .engine.awaited import NoMigration, Objects
    from .engine.errors import WMigrateError

    Conn = psycopg.AsyncConnection[TupleRow]

log = logging.getLogger(__name__)


class _TargetTrigger(BaseTrigger):
    """Fires when the target is as it is waited for. Woken by LISTEN/NOTIFY when the ledger changes; looks anyway every
    `poll_interval` seconds.

    :param conn_id: Airflow connection of the target database.
    :param poll_interval: seconds between two looks when nothing is told.
    """

    waits_for: ClassVar[tuple[str, ...]]
    """The attributes that say for what."""

    def __init__(self, conn_id: str, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, object]]:
        names = ("conn_id", *self.waits_for, "poll_interval")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    @abstractmethod
    async def _there(self, conn: Conn) -> bool:
        """One look."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        import psycopg

        from .engine.errors import WMigrateError

        while True:
            try:
                await self._wait()
            except (psycopg.Error, WMigrateError) as error:
                known = error if isinstance(error, WMigrateError) else _in_words(error)
                if not known.retryable:
                    yield TriggerEvent({"error": str(known)})
                    return
                log.warning("the target database cannot be reached, next try in %s s: %s", self.poll_interval, known)
                await asyncio.sleep(self.poll_interval)
            else:
                yield TriggerEvent({self.waits_for[0]: getattr(self, self.waits_for[0])})
                return

    async def _wait(self) -> None:
        """Listen first, look afterwards: a change between the two is then never missed."""
        from .engine.ledger.ledger import CHANNEL

        async with self._connection() as conn:
            await conn.set_autocommit(True)
            await conn.execute("SET row_security = off")  # refused instead of hidden
            await conn.execute("SET client_encoding = UTF8")  # in a SQL_ASCII database psycopg would give bytes
            await conn.execute(f"LISTEN {CHANNEL}")
            while not await self._there(conn):
                async for _ in conn.notifies(timeout=self.poll_interval, stop_after=1):
                    pass

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Conn]:
        """Connect in a thread with every option PostgresHook knows, then go on asynchronously on that connection."""
        import psycopg

        from .engine.session.answering import keep_alive

        hook = postgres_hook(await BaseHook.aget_connection(self.conn_id), {})
        opened = await asyncio.to_thread(hook.get_conn)
        keep_alive(opened)
        conn = psycopg.AsyncConnection(opened.pgconn)
        try:
            yield conn
        finally:
            await conn.close()  # and `opened` with it: both are the same connection


class LedgerTrigger(_TargetTrigger):
    """Fires when every given version is applied.

    :param versions: canonical versions that must be applied.
    :param ledger_schema: schema of the ledger.
    """

    waits_for = ("versions", "ledger_schema")

    def __init__(self, conn_id: str, versions: Sequence[str], ledger_schema: str, poll_interval: float) -> None:
        super().__init__(conn_id, poll_interval)
        self.versions = list(versions)
        self.ledger_schema = ledger_schema

    async def _there(self, conn: Conn) -> bool:
        import psycopg
        from psycopg import sql

        from .engine.session.connection import in_words

        query = sql.SQL("SELECT version FROM {}.schema_migrations WHERE status = 'applied'")
        try:
            cursor = await conn.execute(query.format(sql.Identifier(self.ledger_schema)))
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return False  # no ledger yet: nothing is applied
        except psycopg.errors.InsufficientPrivilege as error:
            hint = f"grant the role USAGE on schema {self.ledger_schema} and SELECT on its tables"
            raise in_words(error, "the ledger cannot be read", hint=hint) from error
        return set(self.versions) <= {version for (version,) in await cursor.fetchall()}


class ObjectTrigger(_TargetTrigger):
    """Fires when every table and column is there.

    :param objects: names of the form `schema.table` or `schema.table.column`.
    """

    waits_for = ("objects",)

    def __init__(self, conn_id: str, objects: Sequence[str], poll_interval: float) -> None:
        super().__init__(conn_id, poll_interval)
        self.objects = list(objects)

    async def _there(self, conn: Conn) -> bool:
        from .engine.awaited import Objects

        return await _is_there(conn, Objects(self.objects))


class IdleTrigger(_TargetTrigger):
    """Fires when no migration runs.

    :param ledger_schema: schema of the ledger whose migrations count.
    """

    waits_for = ("ledger_schema",)

    def __init__(self, conn_id: str, ledger_schema: str, poll_interval: float) -> None:
        super().__init__(conn_id, poll_interval)
        self.ledger_schema = ledger_schema

    async def _there(self, conn: Conn) -> bool:
        from .engine.awaited import NoMigration

        return await _is_there(conn, NoMigration(self.ledger_schema))


async def _is_there(conn: Conn, what: Objects | NoMigration) -> bool:
    question, parameters = what.question()
    cursor = await conn.execute(question.encode(), parameters)
    return not what.waiting(await cursor.fetchall())


def _in_words(error: psycopg.Error) -> WMigrateError:
    from .engine.session.connection import in_words, is_over, not_let_in

    return not_let_in(error) if is_over(error) else in_words(error, "the ledger cannot be read")
