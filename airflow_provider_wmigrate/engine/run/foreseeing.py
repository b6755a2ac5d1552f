"""In a dry run, the forecast of a script's locks beside those that it has taken: the forecast is a test of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.catalog.locks import by_table, locks_query, names_query, relation_names
from airflow_provider_wmigrate.engine.catalog.relations import relation_facts
from airflow_provider_wmigrate.engine.folder.config.settings import Execution
from airflow_provider_wmigrate.engine.foreseen import Forecast
from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.plan.forecast import Ahead, Held, Seen, compared, forecasts, parts_of
from airflow_provider_wmigrate.engine.session.message import ask, rows, values

from .job import Job
from .opening import facts_query

_FILES = (
    "SELECT pg_catalog.json_object_agg(oid, relfilenode) FROM pg_catalog.pg_class"
    " WHERE relkind IN ('r', 'm') AND relfilenode <> 0 AND pg_catalog.pg_relation_size(oid) > 0"
)
"""An empty table takes no time to write anew, and one that was emptied has a new file too."""
_PREDICATE = "SIReadLock"
"""Of a serializable transaction; it blocks nobody."""


@dataclass
class Foreseeing:
    """Of the scripts of one dry run, in their order.

    What an earlier one of them has made is new, and locks nobody. Of what it holds already nobody sees that it is taken
    once more.
    """

    conn: Connection[Any]
    ledger_schema: str
    settings: Execution
    _here: dict[int, str] | None = None
    """What existed before the first script, by oid."""
    _files: dict[int, int] = field(default_factory=dict)

    def beside(self, job: Job) -> Callable[[], tuple[Forecast, tuple[str, ...], dict[str, Any]]]:
        """Called before a script, and what it returns behind it, in the same transaction: that returns the forecast,
        the names of the tables that were written anew, and what the script itself has locked, as `learnt_from_dry_runs`
        reads it."""
        conn = self.conn
        if self._here is None:
            self._here = relation_names(values(ask(conn, names_query(self.ledger_schema).encode())[0])[0])
            self._files = self._look_at_files()
        before = self._held()
        facts = relation_facts(values(ask(conn, facts_query(conn, job))[1])[0])

        def told() -> tuple[Forecast, tuple[str, ...], dict[str, Any]]:
            files, after = self._look_at_files(), self._held()
            rewritten = {oid: self._files.get(oid, file) != file for oid, file in files.items()}
            self._files = files
            forecast = compared(self._ahead(job), facts, Seen(self._here or {}, before, after, rewritten))
            here = self._here or {}
            anew = sorted(here[oid] for oid, was in rewritten.items() if was and oid in here)
            return forecast, tuple(anew), {"checksum": job.analysis.script.checksum, **self._own(before, after)}

        return told

    def untried(self, job: Job) -> Forecast:
        """Of a script that is not run."""
        facts = relation_facts(values(ask(self.conn, facts_query(self.conn, job))[1])[0])
        return forecasts([self._ahead(job)], facts)[0][0]

    def _ahead(self, job: Job) -> Ahead:
        first = job.locks_first(self.settings)
        parts = parts_of(job.analysis, job.transactional)
        return Ahead(job.version, job.analysis, parts, job.migration.locks, kept=job.kept, first=first)

    def _own(self, before: Held, after: Held) -> dict[str, Any]:
        new = {oid: mode for oid, mode in after.items() if mode > max(before.get(oid, 0), LockMode.ROW_SHARE)}
        known = {oid: mode for oid, mode in before.items() if oid not in new and mode > LockMode.ROW_SHARE}
        return {
            "locks": [
                {"relation": lock.relation, "mode": lock.mode}
                | ({"parts": lock.parts, "whole": lock.whole} if lock.parts else {})
                for lock in self._by_table(new)
            ],
            "unseen": [lock.what for lock in self._by_table(known)],
        }

    def _by_table(self, held: Held) -> tuple[LockTaken, ...]:
        named = sorted((self._here or {})[oid] for oid in held)
        modes = {(self._here or {})[oid]: mode for oid, mode in held.items()}
        return by_table(self.conn, [LockTaken(name, modes[name].shown) for name in named])

    def _held(self) -> Held:
        """The strongest lock on each relation that existed before."""
        held: dict[int, LockMode] = {}
        for number, _, _, mode in rows(ask(self.conn, locks_query(self.conn.info.server_version))[0]):
            oid = int(number or 0)
            if oid in (self._here or {}) and mode and mode != _PREDICATE:
                held[oid] = max(LockMode.of(mode), held.get(oid, LockMode.ACCESS_SHARE))
        return held

    def _look_at_files(self) -> dict[int, int]:
        """The number of the file in which each relation is, by oid: a rewrite makes a new one."""
        answer = values(ask(self.conn, _FILES.encode())[0])[0]
        return {int(oid): file for oid, file in json.loads(answer or "{}").items()}
