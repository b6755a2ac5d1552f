"""One folder through several environments, one behind the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, TaskGroup, chain

from .beside import folder_beside
from .health import CheckHealthOperator
from .hooks import read_folder
from .task_arguments import split
from .task_group import MigrationTaskGroup


class PromotionTaskGroup(TaskGroup):
    """Take a folder through environments: each is verified, tried, approved, migrated and looked at before the next.

    .. code-block:: python

        with DAG("warehouse_promotion", schedule=None, max_active_runs=1):
            PromotionTaskGroup(
                "promote",
                folder="../migrations",
                environments={
                    "development": "warehouse_dev",
                    "production": {"conn_id": "warehouse_db", "approval": Approval(assigned_users=["bob"])},
                },
            )

    An environment that fails, or in which a person rejects the plan, stops those behind it. A migration goes on only as
    it was applied in the environment before.

    :param group_id: id of the group; in it is one for each environment, with the tasks `verify` and `health` and the
        groups `dry_run` and `migrate`.
    :param folder: the folder with the SQL files and migration_config.yaml. A relative path counts from the DAG file's
        folder.
    :param environments: in their order. Each is an entry of `environments` in migration_config.yaml, with the id of its
        Airflow connection, or with a mapping: `conn_id`, and arguments of `MigrationTaskGroup` that hold there.
    :param scratch_conn_id: id of the Airflow connection to a server that is there for nothing else. The rollbacks are
        proven on it first, as `VerifyMigrationsOperator` does it, and it serves the dry run. None: neither is done.

    All other arguments are those of `MigrationTaskGroup` (or of an Airflow task), for every environment.
    """

    def __init__(
        self,
        group_id: str = "promote",
        *,
        folder: str | Path,
        environments: Mapping[str, str | Mapping[str, Any]],
        scratch_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(environments, Mapping) or not environments:
            raise ValueError("environments must be a mapping from each environment, in order, to its connection")
        of_migrations = {name: value for name, value in kwargs.items() if name in _OF_MIGRATIONS}
        of_group, for_tasks = split({name: value for name, value in kwargs.items() if name not in of_migrations})
        super().__init__(group_id=group_id, **of_group)
        path = folder_beside(folder, self.dag.fileloc)
        config = read_folder(path, only=()).config
        looks = config.monitoring.health_check.enabled
        last: Any = None
        follows: dict[str, Any] | None = None
        with self:
            for name, given in environments.items():
                own = _own(name, given)
                tries = config.settings_for(name).execution.dry_run_enabled
                where: dict[str, Any] = {"folder": path, "environment": name, "conn_id": own["conn_id"]}
                arguments = {**for_tasks, **of_migrations, **own, **where, "follows": follows}
                with TaskGroup(name):
                    parts: list[Any] = [
                        *([_verify(scratch_conn_id, where, for_tasks)] if scratch_conn_id else []),
                        *([_dry_run({**arguments, "scratch_conn_id": scratch_conn_id})] if tries else []),
                        MigrationTaskGroup("migrate", **arguments),
                        *([CheckHealthOperator(task_id="health", **where, **for_tasks)] if looks else []),
                    ]
                chain(*([last] if last else []), *parts)
                last, plan = parts[-1], f"{self.group_id}.{name}.migrate.plan"
                follows = {"conn_id": own["conn_id"], "environment": name, "plan_task_id": plan}


def _own(name: str, given: Any) -> dict[str, Any]:
    """Arguments of one environment alone.

    :raises ValueError: it has no connection, or one of them is the same for all.
    """
    own = dict(given) if isinstance(given, Mapping) else {"conn_id": given}
    if not own.get("conn_id"):
        raise ValueError(f"environment {name} has no connection: give its id, or a mapping with conn_id")
    shared = sorted(own.keys() & _OF_ALL)
    if shared:
        raise ValueError(f"{shared[0]} cannot be given for environment {name} alone; take it out of its mapping")
    return own


def _verify(conn_id: str, where: dict[str, Any], for_tasks: dict[str, Any]) -> BaseOperator:
    from .verifying import VerifyMigrationsOperator

    return VerifyMigrationsOperator(task_id="verify", **{**for_tasks, **where, "conn_id": conn_id})


def _dry_run(arguments: dict[str, Any]) -> TaskGroup:
    """All that is pending in one task, between a plan and a report."""
    given = {name: value for name, value in arguments.items() if name not in _OF_APPLYING}
    return MigrationTaskGroup("dry_run", mode="dry_run", max_tasks=0, **given)


_OF_ALL = {"folder", "environment", "mode", "follows", "scratch_conn_id"}
_OF_APPLYING = ("approval", "snapshot", "on_run_failure", "deadline", "audit_key_conn_id", "max_tasks")
_OF_MIGRATIONS = (*_OF_APPLYING, "to", "notifiers")
"""Arguments of `MigrationTaskGroup` that are none of a task."""
