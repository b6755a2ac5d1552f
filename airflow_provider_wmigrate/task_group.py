"""A folder of migrations -> tasks and edges. Reads names and bytes while a DAG file is parsed, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseOperator, TaskGroup, TriggerRule, chain

from .backup_operator import BackUpOperator
from .beside import as_seen_from_dag_file, folder_beside, task_of_this_process
from .callbacks import roll_back_on_failure
from .defaults import chosen_conn_id
from .edges import join
from .folder_operator import SettingsRetryPolicy
from .folding import HISTORY, MAX_TASKS, Folding
from .history import ApplyHistoryOperator, RollBackHistoryOperator
from .hooks import read_folder
from .operators import ROLLBACK_SCRIPT, ApplyMigrationOperator, PlanMigrationsOperator, RollBackMigrationOperator
from .run_ends import ReportMigrationsOperator, RollBackRunOperator
from .stand_ins import make_tasks
from .task_arguments import defaults, refuse_mapped, split
from .task_budgets import every_settings, longest, together
from .task_docs import HIDDEN, MigrationDoc

if TYPE_CHECKING:
    from .approval import Approval
    from .engine.folder.config.settings import Settings
    from .engine.folder.folder import Folder
    from .engine.model import Direction, Migration


_APPROVE = "approve"


class _FolderTaskGroup(TaskGroup):
    """What both groups share: reading the folder, and the arguments of every task."""

    _approval_id: str | None = None
    """Of the task in which a person approves the plan."""

    def __init__(
        self,
        group_id: str,
        *,
        folder: str | Path,
        conn_id: str | None = None,
        environment: str | None = None,
        mode: str = "apply",
        notifiers: Sequence[Any] = (),
        deadline: timedelta | None = None,
        max_tasks: int | None = MAX_TASKS,
        audit_key_conn_id: str | None = None,
        scratch_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        made_of = {"group_id": group_id, "folder": folder, "max_tasks": max_tasks}
        refuse_mapped(**made_of, notifiers=notifiers, deadline=deadline, **kwargs)
        of_group, for_tasks = split(kwargs)
        super().__init__(group_id=group_id, **of_group)
        self.default_args = defaults(self.dag, self.default_args, for_tasks)
        conn_id = chosen_conn_id(conn_id)
        if deadline is not None and not isinstance(conn_id, str):
            raise ValueError(
                "a deadline is one of the whole run, so it cannot be given to a group with a mapped conn_id"
            )
        self._path = folder_beside(folder, self.dag.fileloc)
        self._only = task_of_this_process()
        self._folder, parsed = self._read()
        self._folding = Folding.of(self._folder.graph, max_tasks)
        self._ids = self._task_ids()
        if deadline is not None:
            from .alerting.deadlines import deadline_alert

            missed = deadline_alert(deadline, folder=self._folder, conn_id=conn_id, notifiers=notifiers)
            others: list[Any] = list(self.dag.deadline or ())  # type: ignore[arg-type] # its converter makes a list
            self.dag.deadline = [*others, missed] if missed else others or None
        config = self._folder.config
        self._audit_key, self._scratch = audit_key_conn_id, scratch_conn_id
        self._settings, self._blocks = every_settings(config), config.migrations
        self._may_show_sql = all(s.logging.include_sql for s in self._settings)
        self._shared: dict[str, Any] = {
            "folder": self._path,
            "conn_id": conn_id,
            "environment": environment,
            "mode": mode,
            "notifiers": tuple(notifiers),
            "parsed": parsed,
            "retry_policy": SettingsRetryPolicy(),
            "given": [name for name in ("retries", "retry_delay") if name in self.default_args],
            **self._unless_given(
                retries=max(s.execution.retry_attempts for s in self._settings),
                # For a task whose process is gone, so that nobody is left to ask the policy (Airflow's: 5 minutes).
                retry_delay=timedelta(seconds=config.settings.execution.retry_delay_seconds),
            ),
        }

    def _read(self) -> tuple[Folder, Folder | None]:
        """The folder, and for the process of a task the same for its execution.

        There the DAG is made for this one task: what is said of the others' scripts nobody asks, so names do.
        """
        if self._only is None:
            return read_folder(self._path), None
        from .engine.folder.folder import with_scripts

        folder = read_folder(self._path, only=())
        mine = [m.version for m in folder.migrations if self._only.endswith(m.stem) and self._id(m.stem) == self._only]
        folder = with_scripts(folder, mine)
        return folder, folder

    def _unless_given(self, **ours: Any) -> dict[str, Any]:
        """What the config says, where neither the DAG nor the group says it."""
        return {name: value for name, value in ours.items() if name not in self.default_args}

    def _environments(self) -> dict[str, dict[str, Any]]:
        config = self._folder.config
        return {name: self._for_the_web(config.settings_for(name or None)) for name in ("", *config.environments)}

    def _for_the_web(self, settings: Settings) -> dict[str, Any]:
        budgets = [m.timeout_seconds for m in self._folder.migrations if m.timeout_seconds]
        return {
            "ledger_schema": settings.ledger.schema_name,
            "late_migrations": settings.execution.late_migrations,
            "timeout_seconds": max([settings.execution.timeout_seconds, *budgets]),
            "when_extension_missing": settings.execution.when_extension_missing,
            "folder": as_seen_from_dag_file(self._path, self.dag.fileloc),
            "include_sql": self._may_show_sql,
        }

    def _id(self, task_id: str) -> str:
        """A task's full id, as XComs and states are asked for."""
        return self.child_id(task_id)  # type: ignore[no-any-return, no-untyped-call]

    def _task_ids(self) -> dict[str, str]:
        """Version -> id of the task that applies it or rolls it back, in numeric order."""
        folded, history = set(self._folding.folded), self._id(HISTORY)
        return {m.version: history if m.version in folded else self._id(m.stem) for m in self._folder.migrations}

    def _split(self) -> tuple[list[Migration], list[Migration]]:
        """The migrations that are folded, and those with a task of their own, both in numeric order."""
        folded = set(self._folding.folded)
        both: tuple[list[Migration], list[Migration]] = ([], [])
        for migration in self._folder.migrations:
            both[migration.version not in folded].append(migration)
        return both

    def _work(self) -> dict[str, Any]:
        """What the arguments of every task that changes the target have in common."""
        return {**self._shared, "plan_task_id": self._id("plan"), "trigger_rule": TriggerRule.NONE_FAILED}

    def _history(self, migrations: Sequence[Migration]) -> dict[str, Any]:
        """The arguments of the task of those that are folded."""
        own = {"task_id": HISTORY, "migrations": tuple(migrations), "config": self._folder.config}
        # It may have to do all of them, each within a budget of its own.
        return {**self._work(), **self._unless_given(execution_timeout=together(migrations, self._settings)), **own}

    def _alone(
        self, kind: type[BaseOperator], migrations: Sequence[Migration], **shared: Any
    ) -> dict[str, BaseOperator]:
        """Tasks of one migration each, by its version."""
        own = {migration.stem: self._own(migration) for migration in migrations}
        made = make_tasks(kind, self, own, {**self._work(), **shared}, self._only)
        return dict(zip((m.version for m in migrations), made, strict=True))

    def _own(self, migration: Migration) -> dict[str, Any]:
        """The arguments of a migration's task that no other has."""
        hidden = None if self._may_show_sql else HIDDEN
        return {
            **self._unless_given(execution_timeout=longest(migration, self._settings)),
            "version": migration.version,
            "checksum": migration.script.checksum,
            "migration_doc": partial(MigrationDoc.of, migration, self._blocks.get(migration.version), hidden=hidden),
        }

    def _plan(self, to: str | None, direction: Direction, **more: Any) -> BaseOperator:
        return PlanMigrationsOperator(
            backup_task_id=self._backup_id(direction),
            task_id="plan",
            tasks=self._ids,
            to=to,
            direction=direction,
            environments=self._environments(),
            scratch_conn_id=self._scratch,
            **more,
            **self._shared,
        )

    def _backup_id(self, direction: Direction) -> str | None:
        """None: no environment makes backups before this."""
        return self._id("backup") if any(s.backup.before(direction) for s in self._settings) else None

    def _backup(self, direction: Direction, snapshot: str | None) -> list[BaseOperator]:
        """The task that makes it, where there is one. How long it may take nobody knows."""
        if self._backup_id(direction) is None:
            return []
        given = {"plan_task_id": self._id("plan"), "trigger_rule": TriggerRule.NONE_FAILED}
        return [BackUpOperator(task_id="backup", snapshot=snapshot, **self._shared, **given)]

    def _approve(self, approval: Approval) -> BaseOperator:
        """Between the plan and the first migration; what a rejection skips is all that changes the target."""
        from .approval import ApproveMigrationsOperator  # most groups have none

        backup = self._backup_id("apply")
        behind = [*([backup] if backup else []), *dict.fromkeys(self._ids.values())]
        given = {**self._shared, "plan_task_id": self._id("plan"), "trigger_rule": TriggerRule.ALL_SUCCESS}
        return ApproveMigrationsOperator(task_id=_APPROVE, approval=approval, behind=behind, **given)

    def _undo(self) -> BaseOperator:
        return RollBackRunOperator(task_id="roll_back_run", **self._ending())

    def _report(self, direction: Direction, *more: str) -> BaseOperator:
        """:param more: ids of other tasks that it waits for."""
        backup = self._backup_id(direction)
        return ReportMigrationsOperator(
            task_id="report",
            tasks=self._ids,
            folded=self._folding.folded,
            audit_key_conn_id=self._audit_key,
            backup_task_id=backup,
            approval_task_id=self._approval_id,
            **self._ending(*([backup] if backup else []), *more),
        )

    def _ending(self, *more: str) -> dict[str, Any]:
        """The arguments of a task that looks at those of the migrations when all have ended."""
        watched = [*dict.fromkeys(self._ids.values()), *more]
        given = {"watched": watched, "plan_task_id": self._id("plan"), "trigger_rule": TriggerRule.ALL_DONE}
        return {**self._shared, **given}


class MigrationTaskGroup(_FolderTaskGroup):
    """One task per migration of a folder, between a plan and a report; the oldest of a large folder are one.

    .. code-block:: python

        with DAG("warehouse_migrations", schedule=None, max_active_runs=1):
            MigrationTaskGroup("migrate", folder="../migrations", conn_id="warehouse_db")

    The edges between the migration tasks are the declared dependencies, no more and no fewer.

    :param group_id: id of the group; the tasks are `<group_id>.plan`, `<group_id>.001_initial_schema`, ...
    :param folder: the folder with the SQL files and migration_config.yaml. A relative path counts from the DAG file's
        folder.
    :param conn_id: id of the Airflow connection to the target database (templated). None: the id that `conn_id` in
        section `[wmigrate]` of airflow.cfg names.
    :param to: the last version to apply, such as `012`; later ones are skipped. Empty or None: all (templated).
    :param mode: `apply`, or `dry_run`: run the scripts, measure them, and roll everything back (templated).
    :param environment: which block below `environments` in migration_config.yaml counts (templated). Empty or None: the
        one that `environment` in section `[wmigrate]` of airflow.cfg names, or none.
    :param on_run_failure: `keep` what this run had applied when a migration fails, or `roll_back` all of it in a
        task of its own.
    :param snapshot: dotted path of a function that makes a backup in place of pg_dump; see `BackUpOperator`.
    :param approval: who has to approve the plan before anything is applied, in a task `approve`. None: nobody.
    :param follows: the environment before, from which the plan takes what is applied there; see `PromotionTaskGroup`.
    :param notifiers: Airflow notifiers, such as SmtpNotifier or SlackNotifier. They send one message for each incident,
        and one when it is over.
    :param deadline: how long a run of the DAG may take, from when it was queued. If it takes longer, the notifiers send
        a message; the run goes on.
    :param max_tasks: how many of the newest migrations have a task of their own; what is older is one task, `history`.
        None: every migration has one.
    :param audit_key_conn_id: id of an Airflow connection whose password is a key. The report signs the head of the
        audit log with it: `signed_head` (templated).
    :param scratch_conn_id: of a dry run: as for `PlanMigrationsOperator` (templated).

    What is given beside these is Airflow's: arguments of its TaskGroup, or of every task of the group (`pool`, `queue`,
    `owner`, `retries` ...), which count more than the config's. Callbacks run beside ours.
    """

    def __init__(
        self,
        group_id: str = "migrate",
        *,
        folder: str | Path,
        conn_id: str | None = None,
        to: str | None = None,
        mode: str = "apply",
        environment: str | None = None,
        on_run_failure: Literal["keep", "roll_back"] = "keep",
        snapshot: str | None = None,
        approval: Approval | None = None,
        follows: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_mapped(on_run_failure=on_run_failure, snapshot=snapshot)
        if on_run_failure not in ("keep", "roll_back"):
            raise ValueError(f"on_run_failure must be keep or roll_back, not {on_run_failure!r}")
        super().__init__(group_id, folder=folder, conn_id=conn_id, environment=environment, mode=mode, **kwargs)
        folded, alone = self._split()
        self._approval_id = self._id(_APPROVE) if approval is not None else None
        own: dict[str, Any] = {"after_failure": [roll_back_on_failure], "approval_task_id": self._approval_id}
        with self:
            plan = self._plan(to, "apply", approval_task_id=self._approval_id, follows=follows)
            asking = [self._approve(approval)] if approval is not None else []
            tasks: dict[str, BaseOperator] = {}
            if folded:
                tasks[HISTORY] = ApplyHistoryOperator(**self._history(folded), **own)
            tasks |= self._alone(ApplyMigrationOperator, alone, **own)
            end = [self._undo()] if on_run_failure == "roll_back" else []
            end.append(self._report("apply", *(other.task_id for other in (*asking, *end))))
            chain(*end)
            join([plan, *asking, *self._backup("apply", snapshot)], self._folding, tasks, end[0])


class RollbackTaskGroup(_FolderTaskGroup):
    """Roll a target back to a version: the tasks of a folder with every edge reversed.

    What was applied last goes first, also where the edges do not say so: see `RollBackMigrationOperator`.

    .. code-block:: python

        with DAG("warehouse_rollback", schedule=None, max_active_runs=1, params={"to": Param("", type="string")}):
            RollbackTaskGroup("rollback", folder="../migrations", conn_id="warehouse_db", to="{{ params.to }}")

    :param to: the version that stays, with all before it; `0` rolls back everything (templated).
    :param rollback_script: `folder` or `ledger`: which script is run where the two have different ones. Empty: that is
        refused. By default, `rollback_script` of the run's configuration decides (templated).

    The other parameters are those of `MigrationTaskGroup`.
    """

    def __init__(
        self,
        group_id: str = "rollback",
        *,
        folder: str | Path,
        conn_id: str | None = None,
        to: str,
        mode: str = "apply",
        environment: str | None = None,
        rollback_script: str | None = ROLLBACK_SCRIPT,
        snapshot: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(group_id, folder=folder, conn_id=conn_id, environment=environment, mode=mode, **kwargs)
        folded, alone = self._split()
        with self:
            plan = self._plan(to, "rollback", rollback_script=rollback_script)
            # One of them may roll back others that stand before it in the plan, each within a budget of its own.
            net = together(self._folder.migrations, self._settings)
            shared = {"tasks": self._ids, "rollback_script": rollback_script}
            shared |= self._unless_given(execution_timeout=net)
            tasks = self._alone(RollBackMigrationOperator, alone, **shared)
            if folded:
                tasks[HISTORY] = RollBackHistoryOperator(**{**self._history(folded), **shared})
            gates = [plan, *self._backup("rollback", snapshot)]
            join(gates, self._folding, tasks, self._report("rollback"), rollback=True)
