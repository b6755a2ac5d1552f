"""A listener for every task of Airflow: one that fails because something is not there is told, in its log, which
migration dropped or renamed it. It never fails and never takes longer than some seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from .engine.ledger.culprits import Culprit

log = logging.getLogger(__name__)

MISSING = {"42P01": "relation", "42703": "column", "42883": "function"}
"""By SQLSTATE: undefined_table, undefined_column, undefined_function."""
_SECONDS = 8.0
"""For all connections of a task together."""
_LIBPQ = {"connect_timeout": 3, "application_name": "wmigrate missing"}


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """Airflow calls it in the process of the task, behind its failure."""
    try:
        found = undefined(error)
        if found is not None:
            _tell(task_instance, *found)
    except Exception as failed:
        log.debug("which migration it was cannot be told: %s", type(failed).__name__)


def undefined(error: Any) -> tuple[str, str] | None:
    """What kind of thing was not there, and the server's words; None: the task has failed for another reason."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        here = todo.pop()
        if not isinstance(here, BaseException) or id(here) in seen:
            continue
        seen.add(id(here))
        state = getattr(here, "sqlstate", None) or getattr(here, "pgcode", None)
        if state in MISSING:
            return MISSING[state], str(here).partition("\n")[0]
        todo += [here.__cause__, here.__context__, getattr(here, "orig", None)]
    return None


def _tell(task_instance: Any, kind: str, words: str) -> None:
    from .hooks import MigrationHook

    until = time.monotonic() + _SECONDS
    for conn_id in _conn_ids(getattr(task_instance, "task", None)):
        hook = MigrationHook(conn_id, libpq=_LIBPQ)
        try:
            _ = hook._postgres  # Airflow is asked in this thread: another one would take its answers away
        except Exception:
            continue
        found: list[Culprit] = []
        looking = threading.Thread(target=_look, args=(hook, kind, words, found), name="wmigrate missing", daemon=True)
        looking.start()
        looking.join(max(0.0, until - time.monotonic()))
        for culprit in tuple(found):
            log.error("%s", culprit)
        if found or time.monotonic() >= until:
            return


def _look(hook: Any, kind: str, words: str, found: list[Culprit]) -> None:
    from .engine.ledger.culprits import culprits

    try:
        with closing(hook.get_conn()) as conn:
            conn.execute("SET statement_timeout = '3s'")
            found += culprits(conn, kind, words)
    except Exception as error:
        log.debug("the ledger does not say which migration it was: %s", type(error).__name__)


def _conn_ids(task: Any) -> Iterator[str]:
    """The connections that a task names, and that of the installation."""
    from .defaults import default_conn_id

    given = {**vars(task), **(getattr(task, "op_kwargs", None) or {})} if task is not None else {}
    found = [value for name, value in given.items() if name.endswith("conn_id") and isinstance(value, str)]
    yield from dict.fromkeys((*found, *([default] if (default := default_conn_id()) else [])))
