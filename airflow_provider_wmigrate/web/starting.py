"""Starting runs: what the caller chose becomes the conf of a DAG run, and Airflow does the rest."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel

from . import access, requests
from .catalog import GroupTasks
from .choices import allowed, known_version, modes
from .group_view import GroupView
from .problems import ProblemError, first_line
from .urls import run_url

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


def migrate(view: GroupView, request: requests.MigrateRequest) -> requests.Started:
    """Start a run that applies."""
    _check_right(view, view.group, "")
    to = known_version(view.group, request.to) if request.to else None
    conf = _conf(view, view.group, request, to)
    what = f"up to {to}" if to else "of everything that is pending"
    verb = "a dry run" if request.mode == "dry_run" else "a run"
    return _start(view, view.group, request, conf, f"{verb} {what} was started")


def roll_back(view: GroupView, request: requests.RollbackRequest) -> requests.Started:
    """Start a run that rolls back, of the DAG that does that for the same target."""
    undo = view.undo
    if undo is None:
        raise ProblemError(
            409,
            "no_rollback_dag",
            f"no DAG that you may read has a RollbackTaskGroup for connection {view.target.conn_id}; write one",
        )
    _check_right(view, undo, ", the DAG that rolls back")
    everything = not request.to.strip("0") and "000" not in {step.version for step in view.group.steps}
    to = "0" if everything else known_version(view.group, request.to)
    conf = _conf(view, undo, request, to)
    if request.rollback_script is not None:
        _choose(conf, undo, "rollback_script", undo.rollback_script, request.rollback_script, [])
    what = "everything" if everything else f"what is above {to}"
    verb = "a dry run of rolling back" if request.mode == "dry_run" else "rolling back"
    return _start(view, undo, request, conf, f"{verb} {what} was started")


def _check_right(view: GroupView, group: GroupTasks, what: str) -> None:
    if view.target.map_index is not None and group.is_mapped:
        every = f"a run of {group.dag_id} works on every database of {group.group_id}; start it without map_index"
        raise ProblemError(409, "mapped_group", every)
    if not access.may_start(view.session, view.user, group.dag_id):
        raise ProblemError(403, "forbidden", f"you may not start runs of {group.dag_id}{what}; ask for that right")


def _conf(
    view: GroupView, group: GroupTasks, request: requests.MigrateRequest | requests.RollbackRequest, to: str | None
) -> dict[str, Any]:
    """The conf that makes a run do what was asked, and nothing else.

    :raises ProblemError: the DAG does not let its runs choose that.
    """
    conf: dict[str, Any] = {}
    _choose(conf, group, "mode", group.mode, request.mode, modes(group))
    if to is not None:
        _choose(conf, group, "to", group.to, to, [])
    by = group.chosen_by(group.environment)
    if request.environment is not None:
        _choose(conf, group, "environment", group.environment, request.environment, allowed(group, by) if by else [])
    elif by is not None and group.with_conf(group.environment, conf) != view.target.environment:
        conf[by] = view.target.environment
    _keep_target(conf, view, group, chosen=request.environment is not None)
    return conf


def _choose(
    conf: dict[str, Any], group: GroupTasks, name: str, template: str | None, value: str, known: list[str]
) -> None:
    key = group.chosen_by(template)
    if key is None:
        if template != value:
            fixed = f"fixes {name} to {template}" if template else f"has no {name} to choose"
            nxt = f'write {name}="{{{{ params.{name} }}}}" in the DAG'
            raise ProblemError(409, "fixed_by_dag", f"{group.dag_id} {fixed}; {nxt}")
        return
    if known and value not in known:
        raise ProblemError(422, "invalid_params", f"{name} must be one of {', '.join(known)}")
    conf[key] = value


def _keep_target(conf: dict[str, Any], view: GroupView, group: GroupTasks, *, chosen: bool) -> None:
    """The run must work on the database that the caller was shown, unless another environment was asked for."""
    wanted = view.target.conn_id
    if group.with_conf(group.conn_id, conf) == wanted or chosen:
        return
    key = group.chosen_by(group.conn_id)
    if key is None or wanted is None:
        nxt = "choose the environment"
        raise ProblemError(409, "fixed_by_dag", f"a run of {group.dag_id} may not work on {wanted}; {nxt}")
    conf[key] = wanted


def _start(
    view: GroupView,
    group: GroupTasks,
    request: requests.MigrateRequest | requests.RollbackRequest,
    conf: dict[str, Any],
    message: str,
) -> requests.Started:
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import AirflowException
    from airflow.sdk.exceptions import ParamValidationError
    from airflow.utils.types import DagRunTriggeredByType

    waits_for = _ready(view.session, group.dag_id)
    try:
        run = trigger_dag(
            group.dag_id,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name=view.user.get_name(),
            conf=conf,
            session=view.session,
        )
    except (ParamValidationError, ValueError) as error:
        raise ProblemError(422, "invalid_params", f"{group.dag_id} refuses this: {first_line(error)}") from None
    except AirflowException as error:
        raise ProblemError(409, "not_started", f"Airflow did not start the run: {first_line(error)}") from None
    if run is None:
        raise ProblemError(409, "not_started", f"Airflow did not start the run; see {group.dag_id} in Airflow")
    if request.note:
        run.note = (request.note, str(view.user.get_id()))
    log.info("%s started %s of %s: %s", view.user.get_name(), run.run_id, group.dag_id, conf)
    return requests.Started(
        dag_id=run.dag_id,
        group_id=group.group_id,
        run_id=run.run_id,
        state=str(run.state),
        conf=conf,
        message=message + waits_for,
        url=run_url(run.dag_id, run.run_id),
    )


def _ready(session: Session, dag_id: str) -> str:
    """What a new run would wait for, as the end of a sentence.

    :raises ProblemError: it would never begin, or only when nobody expects it any more.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select

    dag = session.get(DagModel, dag_id)
    if dag is None or dag.is_stale:
        raise ProblemError(409, "dag_stale", f"the file of {dag_id} is gone, or has no such DAG any more; restore it")
    if dag.has_import_errors:
        raise ProblemError(409, "dag_import_errors", f"the file of {dag_id} has import errors; fix them first")
    if dag.allowed_run_types is not None and "manual" not in dag.allowed_run_types:
        raise ProblemError(
            409, "manual_runs_not_allowed", f'{dag_id} allows no runs by hand; add "manual" to its allowed_run_types'
        )
    if dag.is_paused:
        raise ProblemError(409, "dag_paused", f"{dag_id} is paused, so the run would not begin; unpause it first")
    query = select(func.count()).where(DagRun.dag_id == dag_id, DagRun.state.in_(["queued", "running"]))
    active = session.scalar(query) or 0
    if dag.max_active_runs and active >= dag.max_active_runs:
        return f"; it waits for {active} other run{'s' * (active != 1)} of {dag_id}"
    return ""
