"""Around a run, where drift is looked for: what it has changed in the schema is kept as known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot
from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.ledger.access import LedgerAccess
from airflow_provider_wmigrate.engine.ledger.known_schema import keep, known_schema, versions_behind
from airflow_provider_wmigrate.engine.ledger.trail import position
from airflow_provider_wmigrate.engine.plan.drift import merged
from airflow_provider_wmigrate.engine.session.session import Session


@contextmanager
def keeping(session: Session, access: LedgerAccess) -> Iterator[None]:
    """Looks at the schema before and behind the run, also behind one that failed: what it has done until then stays.

    :param session: on which the run begins; there is a ledger.
    :raises WMigrateError: what the run has done could not be kept, but it is done.
    """
    with access.reaching(session):
        begun = position(access.ledger.log.head(session.conn) or "") or 0
        before = take(session.conn)
    try:
        yield
    except WMigrateError:
        with suppress(WMigrateError):  # why the run failed is what a person has to know
            _keep(access, before, begun)
        raise
    _keep(access, before, begun)


def _keep(access: LedgerAccess, before: Snapshot, begun: int) -> None:
    """On a session of its own: that of the run may be broken."""
    schema = access.ledger.schema
    with access.open("snapshot") as session, access.reaching(session):
        access.lock_snapshots(session)
        known = known_schema(session.conn, schema)
        at = position(access.ledger.log.head(session.conn) or "") or 0
        after = take(session.conn)
        if known is not None:
            if known.useless(after):  # a person has to look
                return
            if before.facts == after.facts and not versions_behind(session.conn, schema, begun):
                return
        now = merged(known.snapshot, before, after) if known else after
        with session.transaction():
            keep(session.conn, schema, known, now, position=at)
