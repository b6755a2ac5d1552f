"""A sensor on which pipelines wait until the schema is as new as they need it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, conf
from airflow.sdk.exceptions import AirflowFailException

from .beside import file_of, folder_beside
from .defaults import chosen_conn_id, chosen_environment
from .engine.errors import WMigrateError
from .folder_operator import airflow_errors
from .hooks import MigrationHook, as_airflow_error, read_folder

if TYPE_CHECKING:
    from airflow.sdk import Context


class MigrationSensor(BaseSensorOperator):
    """Wait until migrations are applied.

    .. code-block:: python

        MigrationSensor(task_id="schema_ready", conn_id="warehouse_db", versions=["002"])

    Give the versions a pipeline needs, or the folder, which means all of its migrations.

    :param conn_id: id of the Airflow connection to the target database (templated). None: the id that `conn_id` in
        section `[wmigrate]` of airflow.cfg names.
    :param versions: versions that must be applied, or a template that renders to some, separated by commas.
    :param folder: folder of migrations, all of which must be applied; a relative one is relative to the DAG file.
    :param environment: which block below `environments` in the folder's migration_config.yaml counts (templated).
    :param ledger_schema: the schema of the ledger's tables, if no folder is given whose config names it.
    :param deferrable: wait in the triggerer, woken when the ledger changes, instead of holding or asking for a worker.
    """

    template_fields: Sequence[str] = ("conn_id", "versions", "environment")
    ui_color = "#e8f4f0"

    def __init__(
        self,
        *,
        conn_id: str | None = None,
        versions: Sequence[str] | str | None = None,
        folder: str | Path | None = None,
        environment: str | None = None,
        ledger_schema: str = "wmigrate",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (versions is None) == (folder is None):
            raise ValueError("give MigrationSensor either versions or folder")
        self.conn_id = chosen_conn_id(conn_id)
        self.versions = versions
        self.environment = environment
        self.ledger_schema = ledger_schema
        self.deferrable = deferrable
        self._folder = None if folder is None else folder_beside(folder, file_of(self._dag))

    def execute(self, context: Context) -> None:
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            from .triggers import LedgerTrigger

            versions, schema = self._wanted(context)
            self.defer(
                trigger=LedgerTrigger(self.conn_id, versions, schema, float(self.poke_interval)),
                method_name="execute_complete",
                timeout=self.timeout if not isinstance(self.timeout, (int, float)) else timedelta(seconds=self.timeout),
            )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Called when the trigger fired, or found that waiting is in vain."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        self.log.info("applied: %s", ", ".join(event["versions"]))

    def poke(self, context: Context) -> bool:
        """One look at the ledger. A target out of reach is no reason to fail: it may be coming up. What waiting cannot
        heal (a wrong password, a missing right) fails at once."""
        from .engine.ledger.access import open_ledger
        from .engine.ledger.ledger import Ledger

        versions, schema = self._wanted(context)
        ledger, connect = Ledger(schema), MigrationHook(self.conn_id).get_conn
        try:
            with open_ledger(connect, ledger, application_name="wmigrate sensor") as session:
                state = ledger.state(session.conn)
        except WMigrateError as error:
            if not error.retryable:
                raise as_airflow_error(error) from None
            self.log.warning("the target database cannot be reached: %s", error)
            return False
        applied = {e.version for e in state.entries if e.status == "applied"}
        waiting = [v for v in versions if v not in applied]
        if waiting:
            self.log.info("waiting for %s", ", ".join(waiting))
        return not waiting

    def _wanted(self, context: Context) -> tuple[list[str], str]:
        from .engine.model import canonical_version

        if self._folder is None:
            given = self.versions if self.versions is not None else ()
            given = str(given) if isinstance(given, int) else given  # one number, from native rendering
            versions = given.split(",") if isinstance(given, str) else [str(v) for v in given]
            versions = [v.strip() for v in versions]
            for version in versions or [""]:
                if not (version.isascii() and version.isdigit()):
                    raise AirflowFailException(f"versions are numbers such as 002, not {version!r}")
            return [canonical_version(v) for v in versions], self.ledger_schema
        with airflow_errors():
            folder = read_folder(self._folder)
            settings = folder.config.settings_for(chosen_environment(self.environment))
        if not folder.migrations:  # one that is not there yet, or another one
            raise AirflowFailException(f"{self._folder}: there is no migration in this folder to wait for")
        return [m.version for m in folder.migrations], settings.ledger.schema_name
