"""A person takes the schema as it is for the known one. The schema is not changed."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.events import Listener
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.known_schema import keep, look_for_drift
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.ledger.trail import position
from airflow_provider_wmigrate.engine.ledger.watching import seal_all
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.plan.drift import Drift
from airflow_provider_wmigrate.engine.session.session import Connect

from .alone import alone_with_the_ledger, stated

NAMES = 100
"""How many differences the audit row names."""


def accept_drift(
    connect: Connect,
    folder: Folder,
    fingerprint: str,
    *,
    reason: str,
    identity: Identity,
    environment: str | None = None,
    on_event: Listener = lambda event: None,
) -> Drift:
    """Keep the schema as known, with an audit row that says why.

    :param fingerprint: of the schema that the person has seen.
    :return: what was accepted.
    :raises WMigrateError: there is no ledger, or the schema is another one by now; nothing was changed.
    :raises LockTimeout: a runner is at work.
    """
    reason = stated(reason, "drift that is accepted")
    settings = folder.config.settings_for(environment)
    ledger = Ledger(settings.ledger.schema_name)
    with alone_with_the_ledger(connect, settings, "accept", "drift", on_event) as session:
        conn = session.conn
        version = ledger.version(conn)
        if version is None:
            raise WMigrateError(f"there is no ledger in schema {ledger.schema}", hint="run the migrations")
        at = position(ledger.log.head(conn) or "") or 0
        found = look_for_drift(conn, ledger.schema, version)
        if found.now.fingerprint != fingerprint:
            raise WMigrateError("the schema has changed since you saw it", hint="look again with `wmigrate drift`")
        seal_all(session, ledger.schema)
        with session.transaction():
            make_current(ledger, conn, identity, version)
            keep(conn, ledger.schema, found.known, found.now, position=at)
            names = [f"{d.kind} {d.identity}".strip() for d in found.differences]
            details = {"reason": reason, "fingerprint": fingerprint, "differences": len(names), "names": names[:NAMES]}
            ledger.log.append(conn, "drift_accepted", identity, details=details)
    return found
