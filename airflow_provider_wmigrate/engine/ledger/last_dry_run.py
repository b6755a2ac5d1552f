"""What the last dry run of a script has locked, from the audit log: also what its functions and DO blocks locked, into
which nobody can see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.lock_modes import KnownLock, Learnt, LockMode
from airflow_provider_wmigrate.engine.session.message import ask, literal, rows, table


def learnt_from_dry_runs(conn: Connection[Any], schema: str, scripts: Mapping[str, str]) -> dict[str, Learnt]:
    """What scripts have locked, in one question; of a script of which there was no dry run there is nothing.

    :param schema: of the ledger, which is there.
    :param scripts: version -> checksum.
    """
    question = _QUESTION % (table(schema, "audit_log"), literal(conn, json.dumps(scripts)))
    return {str(version): _learnt(json.loads(locked or "{}")) for version, locked in rows(ask(conn, question)[0])}


def _learnt(locked: Mapping[str, Any]) -> Learnt:
    found = [(lock, LockMode.of(lock["mode"])) for lock in locked["locks"]]
    locks = [
        KnownLock(lock["relation"], mode, "dry run", lock.get("whole", True), "parts" in lock)
        for lock, mode in found
        if mode > LockMode.ROW_SHARE
    ]
    return Learnt(tuple(locks), tuple(locked["unseen"]))


_QUESTION = b"""
SELECT DISTINCT ON (script.key) script.key, script.value
FROM %s, pg_catalog.jsonb_each(details OPERATOR(pg_catalog.->) 'locked') AS script
WHERE event OPERATOR(pg_catalog.=) 'dry_run'
  AND details OPERATOR(pg_catalog.->>) 'direction' OPERATOR(pg_catalog.=) 'apply'
  AND script.value OPERATOR(pg_catalog.->>) 'checksum'
    OPERATOR(pg_catalog.=) (%s::pg_catalog.jsonb OPERATOR(pg_catalog.->>) script.key)
ORDER BY script.key, position DESC
"""
