"""The tables in which the target database remembers. Each name is schema-qualified."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from psycopg import Connection, Pipeline, sql

from airflow_provider_wmigrate.engine.catalog.extensions import asking_extensions
from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.model import Entry, Finding, Script, State

from .asking import asking_entries, asking_last_events, asking_metadata
from .ledger_upgrades import UPGRADES, LedgerUpgrade, newest
from .rights import asking_rights, lacking_rights
from .storable import original_script
from .structure import ledger_version
from .trail import NO_LEDGER, broken, contradiction
from .trail import AuditRow as AuditRow

if TYPE_CHECKING:
    from .audit_log import AuditLog
    from .recording import Writer
    from .verification import Verification

LEDGER_VERSION = newest(UPGRADES)
CHANNEL = "wmigrate"
"""The NOTIFY channel on which a change of schema_migrations is told; the payload is the ledger's schema."""


class Ledger:
    """The ledger in one schema of one database. It keeps no connection: each call is given one.

    :param schema: the schema its tables live in.
    :param upgrades: the steps from version 1 to the current one.
    """

    def __init__(self, schema: str = "wmigrate", *, upgrades: Sequence[LedgerUpgrade] = UPGRADES) -> None:
        self.schema = schema
        self.upgrades = tuple(upgrades)
        self.newest_version = newest(upgrades)

    @cached_property
    def log(self) -> AuditLog:
        """Its audit log."""
        from .audit_log import AuditLog  # whoever reads entries does not pay for it

        return AuditLog(self.schema)

    @property
    def _verification(self) -> Verification:
        from .verification import Verification  # whoever reads entries does not pay for it

        return Verification(self.schema)

    def writer(self, conn: Connection[Any]) -> Writer:
        """What writes its rows on this connection."""
        from .recording import Writer  # whoever reads entries does not pay for it

        return Writer(conn, self.schema)

    def version(self, conn: Connection[Any]) -> int | None:
        """The ledger's version, or None when this database has no ledger.

        :raises LedgerTooNew: a newer wmigrate wrote it.
        :raises LedgerDamaged: some of its tables are there, or tables of that name that are not a ledger, or row
            security may hide rows of them from this role.
        """
        return ledger_version(conn, self.schema, self.upgrades)

    def lacking_rights(self, conn: Connection[Any], version: int | None, *, keeps: bool = False) -> tuple[Finding, ...]:
        """What a run would need and the role has not, as a warning.

        :param version: the ledger's; None: there is none.
        :param keeps: the run keeps the schema as known, to find drift.
        """
        asked = asking_rights(conn, self.schema, keeps=keeps)
        return lacking_rights(asked(), self.schema, version, self.newest_version)

    def state(self, conn: Connection[Any]) -> State:
        """Everything a plan needs to know about the database."""
        return self.state_and_rights(conn)[0]

    def state_and_rights(self, conn: Connection[Any], *, keeps: bool = False) -> tuple[State, tuple[Finding, ...]]:
        """`state` and `lacking_rights`, in few round trips."""
        version = self.version(conn)
        with conn.pipeline() if Pipeline.is_supported() else nullcontext():
            rights, extensions = asking_rights(conn, self.schema, keeps=keeps), asking_extensions(conn)
            standby = conn.execute("SELECT pg_catalog.pg_is_in_recovery()")
            if version is not None:
                entries, last_events = asking_entries(conn, self.schema), asking_last_events(conn, self.schema)
                metadata = asking_metadata(conn, self.schema)
        is_standby = standby.fetchone() == (True,)
        lacking = lacking_rights(rights(), self.schema, version, self.newest_version)
        if version is None:
            return State(extensions=extensions(), standby=is_standby), lacking
        success = _last_success(metadata())
        return State(entries(), extensions(), version, last_events(), success, is_standby), lacking

    def last_success(self, conn: Connection[Any]) -> datetime | None:
        """When a run last ended with nothing failed; None: none has."""
        return _last_success(self.metadata(conn))

    def entries(self, conn: Connection[Any], versions: Collection[str] | None = None) -> tuple[Entry, ...]:
        """See `asking_entries`."""
        return asking_entries(conn, self.schema, versions)()

    def entry(self, conn: Connection[Any], version: str) -> Entry | None:
        """The row of one version; None: there is none."""
        return next(iter(self.entries(conn, [version])), None)

    def rollback_script(self, conn: Connection[Any], entry: Entry) -> Script | None:
        """The rollback script as it was when the migration was applied.

        :raises HistoryError: it is not that one any more: somebody has changed it in the ledger.
        """
        from .guard import look_at_rollback

        query = sql.SQL("SELECT rollback_sql FROM {} WHERE version = %s")
        entries = sql.Identifier(self.schema, "schema_migrations")
        row = conn.execute(query.format(entries), [entry.version]).fetchone()
        if not row or row[0] is None:
            return None
        script = Script.of(f"{entry.version}_{entry.name}.rollback.sql", original_script(row[0]))
        changed = look_at_rollback(conn, self.schema, entry, script)
        if changed:
            raise HistoryError([changed])
        return script

    def metadata(self, conn: Connection[Any]) -> dict[str, str]:
        """application_metadata as a dictionary."""
        return asking_metadata(conn, self.schema)()

    def verify(
        self, conn: Connection[Any], *, expected_head: str | None = None, last: int | None = None
    ) -> tuple[Finding, ...]:
        """Recompute the audit log's chain, and compare with it the entries, their rollback scripts and the trigger that
        keeps the log append-only.

        :param expected_head: a `count:hash` kept outside the database, for instance in a run's report: it finds a
            tail that was cut off together with the head row, and a ledger that is gone.
        :param last: recompute only so many of the newest rows; None: all of them.
        :return: nothing where there is no ledger and no head of one is expected.
        """
        if self.version(conn) is None:
            gone = contradiction(expected_head, None, None) if expected_head else None
            return (broken(gone),) if gone else ()
        return self._verification.findings(conn, expected_head=expected_head, last=last)

    def head(self, conn: Connection[Any]) -> str | None:
        """`count:hash` of the audit log's last row; None: this database has no ledger."""
        return self.log.head(conn) if self.version(conn) is not None else None

    def continues(self, conn: Connection[Any], known_head: str) -> Finding | None:
        """Compare a head kept outside the database with the log: a look at one row, cheap enough for every plan.

        :param known_head: the last head that anybody outside has seen, `count:hash`.
        :return: why the log is not that one continued: cut off, another one, or gone.
        """
        return self.contradictions(conn, [known_head])[0]

    def contradictions(self, conn: Connection[Any], known_heads: Sequence[str]) -> list[Finding | None]:
        """The same for many heads, in one question."""
        if self.version(conn) is None:
            return [broken(contradiction(head, None, None) or NO_LEDGER) for head in known_heads]
        return self._verification.contradictions(conn, known_heads)

    def export(self, conn: Connection[Any]) -> Iterator[AuditRow]:
        """Every row of the audit log in order, all of one moment; none where there is no ledger."""
        if self.version(conn) is not None:
            yield from self._verification.export(conn)


def _last_success(metadata: Mapping[str, str]) -> datetime | None:
    success = metadata.get("last_successful_run")
    return datetime.fromisoformat(success) if success else None
