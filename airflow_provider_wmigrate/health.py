"""A task that looks at a target and says whether it is in order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from msgspec.structs import replace

from .alerting import alerts, messages
from .assets import keep_head, known_head, memory_inlets
from .beside import file_of, folder_beside
from .defaults import chosen_conn_id, chosen_environment, is_true
from .engine.errors import WMigrateError
from .folder_operator import airflow_errors
from .hooks import MigrationHook, look_at_folder, signature
from .telling.metrics import send_health

if TYPE_CHECKING:
    from airflow.sdk import Context

    from .engine.folder.config.settings import Settings
    from .engine.folder.folder import Folder
    from .engine.health.inspection import Health

_SUBJECT = "health"


class CheckHealthOperator(BaseOperator):
    """Look at the target: healthy (the task succeeds), degraded (succeeds with a warning), unhealthy (fails).

    .. code-block:: python

        with DAG("warehouse_health", schedule=health_interval("../migrations"), catchup=False):
            CheckHealthOperator(task_id="look", folder="../migrations", conn_id="warehouse_db")

    Returns the checks as plain values. Nothing is retried, because the next look comes soon.

    :param folder: the folder with the SQL files and migration_config.yaml. A relative path counts from the DAG file's
        folder.
    :param conn_id: id of the Airflow connection to the target database (templated). None: the id that `conn_id` in
        section `[wmigrate]` of airflow.cfg names.
    :param environment: which block below `environments` in migration_config.yaml counts; empty or None: none
        (templated).
    :param forget_head: accept the audit log as it is now, after a backup was restored (templated).
    :param audit_key_conn_id: id of an Airflow connection whose password is a key. If the audit log was found right, its
        head is signed with it: `signed_head` (templated). None: it is not signed.
    :param notifiers: Airflow notifiers that send a message when the target is unhealthy, and when it is healthy again.
    """

    template_fields: Sequence[str] = ("conn_id", "environment", "forget_head", "audit_key_conn_id")
    ui_color = "#e8f4f0"

    def __init__(
        self,
        *,
        folder: str | Path,
        conn_id: str | None = None,
        environment: str | None = None,
        forget_head: bool | str = False,
        audit_key_conn_id: str | None = None,
        notifiers: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        conn_id = chosen_conn_id(conn_id)
        inlets = [*(kwargs.pop("inlets", None) or ()), *memory_inlets(conn_id)]
        super().__init__(inlets=inlets, **{"retries": 0, **kwargs})
        self.folder = str(folder_beside(folder, file_of(self._dag)))
        self.conn_id = conn_id
        self.environment = environment
        self.forget_head = forget_head
        self.audit_key_conn_id = audit_key_conn_id
        self.notifiers = tuple(notifiers)

    def settings(self) -> Settings:
        """The settings of the environment this task runs under."""
        return look_at_folder(self.folder).config.settings_for(chosen_environment(self.environment))

    def execute(self, context: Any) -> dict[str, Any]:
        with airflow_errors():
            folder = look_at_folder(self.folder)
        config = folder.config.monitoring
        if not config.health_check.enabled:
            raise AirflowSkipException("monitoring.health_check.enabled is false")
        limit = config.health_check.timeout_seconds
        with airflow_errors():
            health = self._look(context, folder, limit)
        send_health(config.metrics, health, target=self.conn_id)
        context["ti"].xcom_push(key="return_value", value=health.as_dict())
        self._tell(context, health)
        self._log(health)
        with airflow_errors():
            document = {**health.as_dict(), **self._signed(health)}
        context["ti"].xcom_push(key="return_value", value=document)
        if health.status == "unhealthy":
            raise AirflowFailException("; ".join(health.reasons))
        return document

    def _signed(self, health: Health) -> dict[str, Any]:
        """The head that was verified, signed: nothing vouches for a log that nobody could look at."""
        right = any(check.name == "audit_chain" and check.status == "healthy" for check in health.checks)
        if not self.audit_key_conn_id or not right:
            return {}
        schema, key = self.settings().ledger.schema_name, self.audit_key_conn_id
        must = health.status != "unhealthy"
        return signature(MigrationHook(self.conn_id), schema, key, known=health.audit_head, must=must)

    def _look(self, context: Any, folder: Folder, limit: int) -> Health:
        environment = chosen_environment(self.environment)
        hook = MigrationHook(self.conn_id, libpq={"connect_timeout": max(limit, 2)})
        schema = folder.config.settings_for(environment).ledger.schema_name
        known, silent = self._known(context, schema)
        health = hook.check_health(folder, environment=environment, expected_head=known)
        if silent is not None:
            return _not_compared(health, silent)
        keep_head(context, self.conn_id, schema, health.audit_head)
        return health

    def _known(self, context: Mapping[str, Any], schema: str) -> tuple[str | None, WMigrateError | None]:
        """The head that was kept, and why nobody knows it. The rest can be looked at all the same."""
        if is_true(self.forget_head):
            return None, None
        try:
            return known_head(context, self.conn_id, schema), None
        except WMigrateError as error:
            return None, error

    def _log(self, health: Health) -> None:
        for check in health.checks:
            write = self.log.info if check.status in ("healthy", "unknown") else self.log.warning
            nxt = f"; {check.next_step}" if check.next_step else ""
            write("%s: %s: %s%s", check.name, check.status, check.reason, nxt)
        write = self.log.info if health.status == "healthy" else self.log.warning
        write("the target is %s, found out in %s ms", health.status, health.duration_ms)

    def _tell(self, context: Any, health: Health) -> None:
        """Nothing here may change what the look found."""
        if not self.notifiers:
            return
        try:
            if health.checks[0].status != "unhealthy":
                alerts.heal(context, {alerts.TARGET: self.conn_id})
            if health.status == "unhealthy":
                self._tell_unhealthy(context, health)
            else:
                alerts.heal(context, {_SUBJECT: f"health of {self.conn_id}"})
        except Exception as error:
            self.log.error("an alert could not be told: %s", error)

    def _tell_unhealthy(self, context: Context, health: Health) -> None:
        no_connection = health.checks[0].status == "unhealthy"
        kind = "connection_lost" if no_connection else "unhealthy"
        nxt = next((c.next_step for c in health.checks if c.status == "unhealthy" and c.next_step), "")
        said = "; ".join(health.reasons)
        alert = messages.Alert.of(context, self.conn_id, kind, self.conn_id, said)
        alert = replace(alert, next_step=nxt or alert.next_step)
        alerts.tell(context, alert, subject=alerts.TARGET if no_connection else _SUBJECT)


def _not_compared(health: Health, why: WMigrateError) -> Health:
    """The look without an answer of Airflow: that the log follows by itself does not say that it is the same log."""
    from .engine.health.checks import Check, worst

    degraded = Check("audit_chain", "degraded", str(why).removesuffix(f"; {why.hint}"), why.hint)
    checks = tuple(degraded if c.name == "audit_chain" and c.status != "unhealthy" else c for c in health.checks)
    return replace(health, status=worst(checks), checks=checks)


def health_interval(folder: str | Path) -> timedelta | None:
    """`monitoring.health_check.interval_seconds` of a folder, as a DAG's schedule; None where the look is switched off.

    :param folder: the folder with the SQL files and migration_config.yaml. A relative path counts from the DAG file's
        folder.
    """
    import inspect

    frame = inspect.currentframe()
    caller = frame.f_back.f_code.co_filename if frame and frame.f_back else __file__
    from .engine.folder.config.reading import look_at_config

    config, _ = look_at_config(folder_beside(folder, caller), os.environ)
    check = config.monitoring.health_check
    return timedelta(seconds=check.interval_seconds) if check.enabled else None
