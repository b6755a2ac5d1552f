"""A deadline for the runs of a DAG, told through the same notifiers as everything else."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from .messages import KINDS, Alert, NotifierData, as_data, from_data, send, wanted

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier, Context, DeadlineAlert  # type: ignore[attr-defined] # not in its stub

    from airflow_provider_wmigrate.engine.folder.folder import Folder

log = logging.getLogger(__name__)


def deadline_alert(
    within: timedelta, *, folder: Folder, conn_id: str, notifiers: Sequence[BaseNotifier]
) -> DeadlineAlert | None:
    """A DAG's deadline: a run that is not over so long after it was queued is told about. None: switched off.

    Airflow runs its callback outside the DAG file, so the notifiers go there as plain values.
    """
    from airflow.sdk import DeadlineAlert, DeadlineReference, SyncCallback  # type: ignore[attr-defined] # not in its stub

    if not notifiers or not wanted("deadline_missed", folder):
        return None
    callback = SyncCallback(*callback_for(within, conn_id, notifiers))
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=within, callback=callback)


def callback_for(within: timedelta, conn_id: str, notifiers: Sequence[BaseNotifier]) -> tuple[str, dict[str, object]]:
    """What Airflow is to call: the path of a function, and its arguments as plain values."""
    minutes, plain = within.total_seconds() / 60, [as_data(notifier) for notifier in notifiers]
    path = f"{__name__}.{tell_missed_deadline.__name__}"
    return path, {"conn_id": conn_id, "minutes": minutes, "notifiers": plain}


def tell_missed_deadline(
    conn_id: str, minutes: float, notifiers: Sequence[NotifierData], context: Mapping[str, object]
) -> None:
    """Called by Airflow, once for every run that misses its deadline."""
    run = cast("Mapping[str, str]", context.get("dag_run") or {})
    dag_id, run_id = run.get("dag_id", ""), run.get("dag_run_id") or run.get("run_id", "")
    what = f"the run is not over {minutes:g} minutes after it was queued"
    place = (("target", conn_id), ("DAG", dag_id), ("run", run_id))
    alert = Alert("deadline_missed", f"{dag_id} on {conn_id}", what, place, KINDS["deadline_missed"].next_step)
    for data in notifiers:
        try:
            send(from_data(data), cast("Context", dict(context)), alert)
        except Exception as error:
            log.error("%s could not tell %r: %s", data["path"], alert.title, error)
