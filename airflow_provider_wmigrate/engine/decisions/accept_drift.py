"""A person takes the schema as it is for the known one. The schema is not changed."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.known_schema import keep, look_for_drift
from airflow_provider_wmigrate.engine.ledger.trail import position
from airflow_provider_wmigrate.engine.ledger.watching import seal_all
from airflow_provider_wmigrate.engine.plan.drift import Drift

from .alone import Decider

NAMES = 100
"""How many differences the audit row names."""


def accept_drift(who: Decider, fingerprint: str) -> Drift:
    """Keep the schema as known, with an audit row that says why.

    :param fingerprint: of the schema that the person has seen.
    :return: what was accepted.
    :raises WMigrateError: there is no ledger, or the schema is another one by now; nothing was changed.
    :raises LockTimeout: a runner is at work.
    """
    reason, ledger = who.stated("drift that is accepted"), who.ledger
    with who.alone_with_a_ledger("accept", "drift") as (session, version):
        conn = session.conn
        at = position(ledger.log.head(conn) or "") or 0
        found = look_for_drift(conn, ledger.schema, version)
        if found.now.fingerprint != fingerprint:
            raise WMigrateError("the schema has changed since you saw it", hint="look again with `wmigrate drift`")
        seal_all(session, ledger.schema)
        with session.transaction():
            make_current(ledger, conn, who.identity, version)
            keep(conn, ledger.schema, found.known, found.now, position=at)
            names = [f"{d.kind} {d.identity}".strip() for d in found.differences]
            details = {"reason": reason, "fingerprint": fingerprint, "differences": len(names), "names": names[:NAMES]}
            ledger.log.append(conn, "drift_accepted", who.identity, details=details)
    return found
