"""How a step is held against its plan: in common to the tasks of single migrations and the one of the history."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from .attempts import pulled, task_states
from .engine.errors import HistoryError
from .telling.summaries import APPLY, IN_WINDOW, answer_line

if TYPE_CHECKING:
    from .engine.folder.folder import Folder
    from .engine.migrator import Migrator
    from .engine.model import Migration
    from .engine.plan.proposal import Proposal

log = logging.getLogger(__name__)

_A_YEAR = 365 * 86_400
_ENDED = {
    "success": "is a success although that is still applied",
    "failed": "failed",
    "skipped": "was skipped",
    "upstream_failed": "did not run, because a task before it failed",
}
"""States of a task that will not run by itself, in words."""


def refuse_unfit_edit(plan: Mapping[str, Any], folder: Folder, migration: Migration) -> None:
    """Check a script again that was repaired after it failed, and then cleared: what the plan checked was older text.

    :raises HistoryError: it may not be run.
    """
    planned = {step["version"]: step["checksum"] for step in plan["steps"]}
    if planned.get(migration.version, migration.script.checksum) == migration.script.checksum:
        return
    from .engine.plan.script_rules import script_findings

    log.warning("%s was edited after the plan of this run; it is checked again", migration.script.file)
    errors = [f for f in script_findings([migration], folder.config) if f.severity == "error"]
    if errors:
        raise HistoryError(errors)


def bind(context: Any, migrator: Migrator, proposal: Proposal, approval_task_id: str) -> None:
    """Have a migrator apply what was approved, at the time that was chosen, and nothing else. Whether it was approved,
    it reads from the audit log itself."""
    migrator.proposal = proposal
    answer = pulled(context, approval_task_id) or {"answer": None}
    if answer["answer"] == APPLY:
        migrator.outside_window = migrator.outside_window or f"{answer_line(answer)}, to be applied at once"
        return
    migrator.outside_window = ""  # whoever approves the plan decides, not who started the run
    if answer["answer"] == IN_WINDOW:
        settings = migrator.settings
        window = settings.window.having(outside="wait", wait_seconds=_A_YEAR)  # somebody has chosen that
        migrator.settings = settings.having(window=window)


def to_roll_back(
    context: Any, migrator: Migrator, order: Sequence[str], *, mine: Collection[str], task: Any
) -> list[str]:
    """Of the steps of a plan up to the last one of a task those that are still applied, in order.

    :param order: the plan's.
    :param mine: versions of the task that asks; those that are rolled back already do not count.
    :param task: it knows the ids of the plan's task and of the other ones.
    :raises AirflowFailException: another task has ended without its step, so a person wanted it or has to look.
    """
    # The states first: what ends between the two looks has then left the ledger by the second one.
    states = task_states(context, list(task.tasks.values()))
    there = {entry.version for entry in migrator.read().entries}
    own = [at for at, version in enumerate(order) if version in mine and version in there]
    waiting = [version for version in order[: max(own, default=-1) + 1] if version in there]
    for version in waiting:
        if version in mine:
            continue
        task_id = task.tasks.get(version, "")
        if states.get(task_id, "removed") == "removed":
            raise AirflowFailException(
                f"{version} has to be rolled back first, and this run has no task for it;"
                f" clear {task.plan_task_id} with its downstream"
            )
        if states[task_id] in _ENDED:
            how = _ENDED[str(states[task_id])]
            raise AirflowFailException(
                f"{version} has to be rolled back first, and {task_id} {how}; clear it and this task, with what"
                " is downstream"
            )
    return waiting
