"""What every operator on a folder of migrations shares: a folder, a target, an environment, errors and retries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
    DownstreamTasksSkipped,
)
from msgspec.structs import replace

from .assets import memory_inlets
from .attempts import FAILURE_KEY, HEAD_KEY
from .beside import file_of, folder_beside
from .defaults import chosen_environment, given, is_true
from .engine.errors import ConnectionFailed, HistoryError, WMigrateError
from .hooks import MigrationHook, as_airflow_error, identity_of, one_line, read_folder
from .task_arguments import joined

if TYPE_CHECKING:
    from .engine.events import Listener
    from .engine.folder.config.settings import Settings
    from .engine.folder.folder import Folder
    from .engine.migrator import Migrator
    from .engine.plan.rollback import RollbackSource


class SettingsRetryPolicy(RetryPolicy):
    """Retries as often and as late as `settings.execution` of the environment says that the run chose."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Called in the task process, after the template fields are rendered."""
        task = context["task"]
        execution = task.settings().execution
        # Clearing a task raises max_tries and keeps try_number: what counts is the tries since then.
        tries = try_number - (max_tries - task.retries)
        if "retries" not in task.given and tries > execution.retry_attempts:
            return RetryDecision.fail(f"settings.execution.retry_attempts is {execution.retry_attempts}")
        if "retry_delay" in task.given or tries > task.retries:
            return RetryDecision.default()
        return RetryDecision.retry(timedelta(seconds=execution.retry_delay_seconds))

    def serialize(self) -> dict[str, Any]:
        return {"__type": f"{__name__}.{type(self).__name__}"}


class FolderOperator(BaseOperator):
    """What all operators here share: a folder, a target, an environment, and a way to cancel.

    :param folder: the folder with the SQL files and migration_config.yaml. A relative path counts from the DAG file's
        folder.
    :param conn_id: id of the Airflow connection to the target database (templated).
    :param environment: which block below `environments` in migration_config.yaml counts; empty or None: none
        (templated).
    :param mode: `apply`, or `dry_run`: run the scripts, measure them, and roll everything back (templated).
    :param notifiers: Airflow notifiers, such as SmtpNotifier or SlackNotifier. They send one message for each incident,
        and one when it is over.
    :param after_failure: wmigrate's own callbacks for a failed task. The task group sets them; they run before
        `on_failure_callback`.
    :param given: names of the arguments, such as `retries`, that were given to the task group. They count more than
        migration_config.yaml; the group sets this.
    :param parsed: the folder, if this process has read it already. The task group sets it, so that it is not read
        twice.
    :param on_failure_callback: your own callback, as for any operator; wmigrate's run before it.
    :param on_success_callback: your own callback, as for any operator; wmigrate's run before it.
    """

    template_fields: Sequence[str] = ("conn_id", "environment", "mode")
    ui_color = "#e8f4f0"
    tells_every_failure = True
    """False: only its own failures are told, not those it only passes on."""
    rolls_back = False
    """What it does to migrations, if anything: apply them, or roll them back."""
    rollback_script: str | None = None
    """Which one is run where ledger and folder have different ones: `folder` or `ledger`. Empty: that is refused."""
    outside_window: str = ""
    """Why it may begin although the window is closed, where that does not depend on the run."""
    at_success: Sequence[Callable[[Any], None]] = ()
    """Its own callbacks of a success, which run as soon as Airflow has taken it, before all others."""
    remembers = False
    """True: it needs what Airflow keeps for the target, whether there are notifiers or not."""

    def __init__(
        self,
        *,
        folder: str | Path,
        conn_id: str,
        environment: str | None = None,
        mode: str = "apply",
        notifiers: Sequence[Any] = (),
        after_failure: Sequence[Any] = (),
        given: Collection[str] = (),
        parsed: Folder | None = None,
        on_failure_callback: Any = None,
        on_success_callback: Any = None,
        **kwargs: Any,
    ) -> None:
        inlets = [*(kwargs.pop("inlets", None) or ()), *(memory_inlets(conn_id) if notifiers or self.remembers else ())]
        telling = _telling() if notifiers else ([], [])
        super().__init__(
            inlets=inlets or None,
            # They stand in the signature, so that Airflow fills in what default_args say, and ours join them.
            on_failure_callback=joined(telling[0], after_failure, on_failure_callback) or None,
            on_success_callback=joined(self.at_success, telling[1], on_success_callback) or None,
            **kwargs,
        )
        self.given = frozenset(given)
        self._parsed = parsed
        self.folder = str(folder_beside(folder, file_of(self._dag)))
        self.conn_id = conn_id
        self.environment = environment
        self.mode = mode
        self.notifiers = tuple(notifiers)
        self._migrator: Migrator | None = None

    def execute(self, context: Any) -> Any:
        """Airflow's way in. A task that fails leaves the head of the audit log: an anchor outside the database."""
        return self._in_airflow(context, self.act)

    def _in_airflow(self, context: Any, act: Callable[[Any], Any]) -> Any:
        try:
            with airflow_errors():
                result = act(context)
        except AirflowRescheduleException as wait:
            self.log.info("the window opens at %s; until then no worker is needed", wait.reschedule_date)
            raise
        except (AirflowSkipException, DownstreamTasksSkipped):
            raise
        except (Exception, AirflowTaskTimeout) as error:
            from .alerting.messages import engine_error

            found = engine_error(error)
            self._leave_failure(context, found)
            self._leave_head(context, found)
            raise
        if result is not None and not self.do_xcom_push:
            # `do_xcom_push: False` in a DAG's default_args is meant for others: page and report read what ours leave.
            context["ti"].xcom_push(key="return_value", value=result)
        return result

    def act(self, context: Any) -> Any:
        """What this operator does; it may raise the engine's errors. The result is left as XCom."""
        raise NotImplementedError

    def settings(self) -> Settings:
        """The settings of the environment this task runs under."""
        return self._read_folder(only=()).config.settings_for(chosen_environment(self.environment))

    def on_kill(self) -> None:
        """Cancel the running statement on the server: killed, cleared and timed-out tasks leave nothing running."""
        if self._migrator is not None:
            self._migrator.cancel()

    def _read_folder(self, only: Collection[str] | None = None) -> Folder:
        """:param only: versions whose scripts are wanted; None: all."""
        if self._parsed is None:
            return read_folder(self.folder, only=only)
        from .engine.folder.folder import with_scripts

        return with_scripts(self._parsed, only)

    def _dry_run(self) -> bool:
        if self.mode not in ("apply", "dry_run"):
            raise AirflowFailException(f"mode must be apply or dry_run, not {self.mode!r}")
        return self.mode == "dry_run"

    def _rollback_script(self) -> RollbackSource | None:
        chosen = given(self.rollback_script)
        if chosen not in ("", "folder", "ledger"):
            raise AirflowFailException(f"rollback_script must be folder or ledger, not {chosen!r}")
        return "folder" if chosen == "folder" else "ledger" if chosen else None

    def _leave_failure(self, context: Any, error: BaseException | None) -> None:
        """For who may read the DAG and not its database: the words that the audit log has, which hold no secret.

        Nothing that goes wrong here may hide the failure that brought us here.
        """
        from airflow.sdk.log import redact

        why = {
            "version": getattr(error, "version", None) or getattr(self, "version", None),
            "direction": "rollback" if self.rolls_back else "apply",
            "error": str(redact(str(error))),
            "sqlstate": getattr(error, "sqlstate", None),
        }
        try:
            context["ti"].xcom_push(key=FAILURE_KEY, value=why)
        except Exception as failed:
            self.log.warning("why it failed could not be left: %s", one_line(str(failed)))

    def _leave_head(self, context: Any, error: BaseException | None) -> None:
        """Nothing that goes wrong here may hide the failure that brought us here."""
        if isinstance(error, ConnectionFailed):
            return
        try:
            head = getattr(error, "audit_head", None) or self._open(context, self._read_folder(only=())).head()
            if head is not None:
                context["ti"].xcom_push(key=HEAD_KEY, value=head)
        except Exception as failed:
            self.log.warning("the head of the audit log could not be left: %s", one_line(str(failed)))

    def _written(self, migrator: Migrator, write: Callable[[], str | None], *, idle: bool) -> str | None:
        """The audit log's head with a row of ours. A standby takes none, and where nothing was to do it needs none.

        :param idle: nothing was to do.
        """
        try:
            return write()
        except HistoryError as error:
            if not idle or [finding.code for finding in error.findings] != ["standby"]:
                raise
            self.log.info("the target is a standby: nothing is to do there, and nothing is written")
            return migrator.head()

    def _open(
        self,
        context: Mapping[str, Any],
        folder: Folder,
        *,
        also: Listener | None = None,
        plan: Mapping[str, Any] | None = None,
        actor: str | None = None,
    ) -> Migrator:
        """:param plan: of this attempt, if what is done belongs to one.
        :param actor: who acts, where that is not who started the run.
        """
        environment = chosen_environment(self.environment)
        hook = MigrationHook(self.conn_id)
        identity = identity_of(context)
        self._migrator = hook.migrator(
            folder,
            identity=replace(identity, actor=actor) if actor else identity,
            environment=environment,
            also=also,
            rollback_script=self._rollback_script(),
            outside_window=self.outside_window or _asked_of(context.get("dag_run")),
        )
        self._migrator.attempt = plan[HEAD_KEY] if plan else None
        return self._migrator


def _asked_of(run: Any) -> str:
    """Why a run may change an environment outside its window; empty: nobody said so."""
    said = is_true((getattr(run, "conf", None) or {}).get("outside_window", False))
    return "the configuration of the run says outside_window" if said else ""


def _telling() -> tuple[list[Any], list[Any]]:
    """The callbacks of a task that tells people: of a failure, and of a success."""
    from .alerting.alerts import tell_failure, tell_healed

    return [tell_failure], [tell_healed]


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Every engine error leaves a task as the exception Airflow acts on.

    The engine's error is one sentence, so its traceback is left out of the task log; it stays in `__context__`.
    """
    try:
        yield
    except WMigrateError as error:
        raise as_airflow_error(error) from None
