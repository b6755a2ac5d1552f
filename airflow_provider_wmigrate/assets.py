"""The asset that stands for a target's schema, and what Airflow keeps for it from one run to the next."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, BaseHook

from .engine.errors import WMigrateError

log = logging.getLogger(__name__)

_HEAD = "wmigrate_audit_head"
_EVENTS_READ = 50
"""Of a target's asset, newest first: several ledgers may share it."""


def schema_asset(conn_id: str) -> Asset:
    """The asset on which other DAGs can be scheduled: `DAG(schedule=[schema_asset("warehouse_db")])`.

    A run sends an event of it only if the set of applied migrations differs from that of the last event.

    :param conn_id: the Airflow connection the migrations are applied through.
    """
    return Asset(name=f"wmigrate/{conn_id}", uri=f"x-wmigrate://{conn_id}/schema")


def schema_changes_asset(conn_id: str, schema: str) -> Asset:
    """The asset of one schema of a target: an event for each run that changed a table or view of it.

    :param conn_id: the Airflow connection the migrations are applied through.
    :param schema: its name, as the database has it.
    """
    return Asset(name=f"wmigrate/{conn_id}/{schema}", uri=f"x-wmigrate://{conn_id}/schema/{quote(schema, safe='')}")


def table_asset(conn_id: str, schema: str, table: str) -> Asset:
    """The asset of one table or view, as other providers name it: `postgres://host:port/database/schema/table`.

    It asks Airflow for the connection, so it is nothing for a DAG file: write the URI there.
    """
    at = BaseHook.get_connection(conn_id)
    host = at.host if at.host and not at.host.startswith("/") else "localhost"
    names = "/".join(quote(name, safe="") for name in (at.schema or at.login or "postgres", schema, table))
    return Asset(uri=f"postgres://{f'[{host}]' if ':' in host else host}:{at.port or 5432}/{names}")


def memory_inlets(conn_id: Any) -> list[Any]:
    """The inlets that give a task the store; none where the connection is known only when the task runs."""
    return [schema_asset(conn_id)] if isinstance(conn_id, str) and "{{" not in conn_id else []


def store_of(context: Mapping[str, Any], conn_id: str) -> Any:
    """Airflow's store for the target's asset; None: the task has no way to it."""
    try:
        return context["asset_state_store"][schema_asset(conn_id)]
    except Exception:
        return None


def stored(store: Any, key: str) -> Any:
    """What Airflow's store has under a key; None: nothing, or it does not answer."""
    try:
        return store.get(key) if store is not None else None
    except Exception as error:
        log.debug("Airflow's store does not answer: %s", error)
        return None


def known_head(context: Mapping[str, Any], conn_id: str, schema: str) -> str | None:
    """The head of a ledger's audit log as a task last saw it; None: no task has seen one.

    :param schema: the ledger's.
    :raises WMigrateError: Airflow does not answer, which is not to say that it has none.
    """
    store = _head_store(context, conn_id)
    try:
        head = store.get(f"{_HEAD}.{schema}") if store is not None else None
    except Exception as error:
        reason = f"Airflow does not say which head of the audit log it keeps for {conn_id} ({type(error).__name__})"
        hint = "see that its API server is well; only then can the log be compared"
        raise WMigrateError(reason, hint=hint, retryable=True) from error
    return head if isinstance(head, str) else None


def keep_head(context: Mapping[str, Any], conn_id: str, schema: str, head: str | None) -> None:
    """Keep the head of a ledger's audit log, an anchor outside the database. Never raises."""
    store = _head_store(context, conn_id)
    if head is None or store is None:
        return
    try:
        store.set(f"{_HEAD}.{schema}", head)
    except Exception as error:
        log.warning("the head of the audit log could not be kept: %s", error)


def _head_store(context: Mapping[str, Any], conn_id: str) -> Any:
    """Also for a task whose connection was not known when the DAG was parsed; Airflow knows the asset once an event
    of it was sent."""
    found = store_of(context, conn_id)
    if found is not None:
        return found
    try:
        from airflow.sdk.execution_time.context import AssetStateStoreAccessor

        return AssetStateStoreAccessor(name=schema_asset(conn_id).name)
    except Exception as error:
        log.debug("Airflow has no store for the target: %s", error)
        return None


def last_event(conn_id: str, schema: str) -> tuple[bool, Mapping[str, Any] | None]:
    """What the asset's consumers were told last about a ledger: Airflow's own list of events.

    :return: whether Airflow answered, and the event's extra; None: it has none about this ledger.
    """
    from airflow.sdk.execution_time.context import InletEventsAccessor

    asset = schema_asset(conn_id)
    try:
        found = list(InletEventsAccessor(asset.name, asset.uri).ascending(False).limit(_EVENTS_READ))
    except Exception as error:
        log.warning("Airflow does not say what was told of the target before: %s", error)
        return False, None
    extras: list[Mapping[str, Any]] = [event.extra or {} for event in found]
    return True, next((e for e in extras if e.get("ledger") == schema and e.get("state")), None)
