"""A sensor on which pipelines wait until the schema is as they need it, and nobody changes it."""

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
    from airflow.triggers.base import BaseTrigger

    from .engine.awaited import NoMigration, Objects


class MigrationSensor(BaseSensorOperator):
    """Wait until migrations are applied, until a table or column is there, or until no migration runs.

    .. code-block:: python

        MigrationSensor(task_id="schema_ready", conn_id="warehouse_db", versions=["002"])
        MigrationSensor(task_id="has_email", conn_id="warehouse_db", objects=["warehouse.partners.email"])
        MigrationSensor(task_id="quiet", conn_id="warehouse_db", no_migration=True)

    Give the versions a pipeline needs, the folder (all of its migrations), the objects, or `no_migration`.

    :param conn_id: id of the Airflow connection to the target database (templated). None: the id that `conn_id` in
        section `[wmigrate]` of airflow.cfg names.
    :param versions: versions that must be applied, or a template that renders to some, separated by commas.
    :param folder: folder of migrations, all of which must be applied; a relative one is relative to the DAG file.
    :param objects: tables, views or columns that must be there, as `schema.table` or `schema.table.column`, or a
        template that renders to some, separated by commas. It does not matter who has made them.
    :param no_migration: True: no migration is applied, rolled back or tried at the moment. Between two tasks of a run
        there is none.
    :param environment: which block below `environments` in the folder's migration_config.yaml counts (templated).
    :param ledger_schema: the schema of the ledger's tables, if no folder is given whose config names it.
    :param deferrable: wait in the triggerer, woken when the ledger changes, instead of holding or asking for a worker.
        Objects and `no_migration` are looked for every `poke_interval` too.
    """

    template_fields: Sequence[str] = ("conn_id", "versions", "objects", "environment")
    ui_color = "#e8f4f0"

    def __init__(
        self,
        *,
        conn_id: str | None = None,
        versions: Sequence[str] | str | None = None,
        folder: str | Path | None = None,
        objects: Sequence[str] | str | None = None,
        no_migration: bool = False,
        environment: str | None = None,
        ledger_schema: str = "wmigrate",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = [versions is not None, folder is not None, objects is not None, no_migration]
        if given.count(True) != 1:
            raise ValueError("give MigrationSensor one of versions, folder, objects and no_migration")
        self.conn_id = chosen_conn_id(conn_id)
        self.versions = versions
        self.objects = objects
        self.no_migration = no_migration
        self.environment = environment
        self.ledger_schema = ledger_schema
        self.deferrable = deferrable
        self._folder = None if folder is None else folder_beside(folder, file_of(self._dag))

    def execute(self, context: Context) -> None:
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            self.defer(
                trigger=self._trigger(),
                method_name="execute_complete",
                timeout=self.timeout if not isinstance(self.timeout, (int, float)) else timedelta(seconds=self.timeout),
            )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Called when the trigger fired, or found that waiting is in vain."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        if "versions" in event:
            self.log.info("applied: %s", ", ".join(event["versions"]))

    def _trigger(self) -> BaseTrigger:
        from .triggers import IdleTrigger, LedgerTrigger, ObjectTrigger

        pause = float(self.poke_interval)
        if self.objects is not None:
            return ObjectTrigger(self.conn_id, _listed(self.objects), pause)
        if self.no_migration:
            return IdleTrigger(self.conn_id, self.ledger_schema, pause)
        return LedgerTrigger(self.conn_id, *self._wanted(), pause)

    def poke(self, context: Context) -> bool:
        """One look at the target. A target out of reach is no reason to fail: it may be coming up. What waiting cannot
        heal (a wrong password, a missing right) fails at once."""
        from .engine.ledger.access import open_ledger
        from .engine.ledger.ledger import Ledger

        what = self._awaited()
        versions, schema = self._wanted() if what is None else ([], self.ledger_schema)
        ledger, connect = Ledger(schema), MigrationHook(self.conn_id).get_conn
        try:
            with open_ledger(connect, ledger, application_name="wmigrate sensor") as session:
                if what is None:
                    applied = {e.version for e in ledger.state(session.conn).entries if e.status == "applied"}
                    waiting = [v for v in versions if v not in applied]
                else:
                    question, parameters = what.question()
                    waiting = what.waiting(session.conn.execute(question.encode(), parameters))
        except WMigrateError as error:
            if not error.retryable:
                raise as_airflow_error(error) from None
            self.log.warning("the target database cannot be reached: %s", error)
            return False
        if waiting:
            self.log.info("waiting for %s", ", ".join(waiting))
        return not waiting

    def _awaited(self) -> Objects | NoMigration | None:
        """What is waited for beside versions; None: those."""
        from .engine.awaited import NoMigration, Objects

        if self.objects is not None:
            return Objects(_listed(self.objects))
        return NoMigration(self.ledger_schema) if self.no_migration else None

    def _wanted(self) -> tuple[list[str], str]:
        """Versions, and the schema of the ledger."""
        from .engine.model import canonical_version

        if self._folder is None:
            given = self.versions if self.versions is not None else ()
            given = str(given) if isinstance(given, int) else given  # one number, from native rendering
            versions = _listed(given)
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


def _listed(given: Sequence[Any] | str) -> list[str]:
    """Several, or a template that became some, separated by commas."""
    return [str(one).strip() for one in (given.split(",") if isinstance(given, str) else given)]
