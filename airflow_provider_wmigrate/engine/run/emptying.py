"""Lets go of what was kept for long enough: from then on a rollback cannot give it back."""

from __future__ import annotations

import psycopg
from psycopg import sql

from airflow_provider_wmigrate.engine.events import Noticed
from airflow_provider_wmigrate.engine.ledger.access import LedgerAccess
from airflow_provider_wmigrate.engine.ledger.kept import KeptThing, all_kept
from airflow_provider_wmigrate.engine.session.advisory import ledger_lock
from airflow_provider_wmigrate.engine.session.session import Session

_PATIENCE = "2s"
"""For a lock on something kept, which only whoever looks at it or gives it back has."""


def empty_kept(session: Session, access: LedgerAccess, *, days: float) -> tuple[KeptThing, ...]:
    """Each in a transaction of its own. What somebody uses is left, and told.

    :param days: by the server's clock; what was kept for less stays.
    :return: what is gone.
    """
    gone, things = list[KeptThing](), all_kept(session.conn, access.ledger.schema)
    if not things:
        return ()
    row = session.conn.execute("SELECT pg_catalog.now() - pg_catalog.make_interval(secs => %s)", [days * 86_400])
    (until,) = row.fetchone() or (None,)
    for thing in things:
        if until is not None and thing.since <= until:
            try:
                _empty(session, access, thing)
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                continue  # another run was quicker, or a rollback has given it back
            except psycopg.Error as error:
                why = error.diag.message_primary or str(error)
                said = f"{thing.kept} in schema {thing.kept.place} is kept on: {why}"
                access.tell(Noticed(thing.version, "WARNING", said))
                continue
            gone.append(thing)
    return tuple(gone)


def _empty(session: Session, access: LedgerAccess, thing: KeptThing) -> None:
    place = thing.kept.place
    with session.transaction():
        # The watch tells by this lock that it is wmigrate who drops something.
        lock = ledger_lock(access.ledger.schema).number
        session.conn.execute("SELECT pg_catalog.pg_try_advisory_xact_lock_shared(%s)", [lock])
        session.conn.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
        table, schema = sql.Identifier(place, thing.kept.table), sql.Identifier(place)
        session.conn.execute(sql.SQL("DROP TABLE {}; DROP SCHEMA {}").format(table, schema))
        access.append(session, "kept_emptied", {"kept": [thing.kept.as_dict()]}, thing.version)
