"""A task that proves the rollbacks of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from .beside import file_of, folder_beside
from .defaults import chosen_environment
from .folder_operator import airflow_errors
from .hooks import MigrationHook, identity_of, read_folder

if TYPE_CHECKING:
    from .engine.plan.verdict import Verdict


class VerifyMigrationsOperator(BaseOperator):
    """Prove the rollbacks of a folder, as `wmigrate verify --scratch` does: the task fails unless each is exact,
    declared irreversible, or accepted in `migration_verdicts.txt`.

    .. code-block:: python

        with DAG("verify_rollbacks", schedule="@weekly", catchup=False):
            VerifyMigrationsOperator(task_id="verify", folder="../migrations", conn_id="scratch_db")

    Returns the verdicts as plain values. Nothing is written into the folder.

    :param folder: the folder with the SQL files and migration_config.yaml. A relative path counts from the DAG file's
        folder.
    :param conn_id: id of the Airflow connection to a server that is there for nothing else; its role needs CREATEDB
        (templated). Scratch databases are made there, and dropped in the end.
    :param environment: which block below `environments` in migration_config.yaml counts; empty or None: none
        (templated).
    :param versions: only these migrations; empty: all.
    :param jobs: how many are proven at the same time.
    """

    template_fields: Sequence[str] = ("conn_id", "environment", "versions")
    ui_color = "#e8f4f0"

    def __init__(
        self,
        *,
        folder: str | Path,
        conn_id: str,
        environment: str | None = None,
        versions: Sequence[str] = (),
        jobs: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.folder = str(folder_beside(folder, file_of(self._dag)))
        self.conn_id = conn_id
        self.environment = environment
        self.versions = list(versions)
        self.jobs = jobs

    def execute(self, context: Any) -> dict[str, Any]:
        with airflow_errors():
            result, unproven = self._verify(context)
        context["ti"].xcom_push(key="return_value", value=result)
        if unproven:
            raise AirflowFailException(f"not proven: {', '.join(unproven)}; the task log and the XCom say why")
        return result

    def on_kill(self) -> None:
        """Airflow waits five seconds for the end; what it then kills, the next run takes away."""
        raise AirflowFailException("verifying was stopped")

    def _verify(self, context: Any) -> tuple[dict[str, Any], list[str]]:
        from .engine.folder.verdict_file import about, read_verdicts
        from .engine.plan.proven import accepted
        from .engine.verify import Verification, verify

        folder = read_folder(self.folder)
        only = {folder.migration(version).version for version in self.versions}
        written, texts = read_verdicts(folder.path), about(folder.migrations)
        asked = Verification(
            folder,
            identity_of(context),
            chosen_environment(self.environment),
            apart=True,
            on_verdict=self._tell,
            on_left_behind=lambda name: self.log.warning("dropped %s, which a killed run had left", name),
        )
        found = verify(asked, MigrationHook(self.conn_id).get_conn, only=only, jobs=self.jobs)
        taken = {verdict.version for verdict in found.verdicts if accepted(texts, written, verdict)}
        open_ = [f"{verdict.version}_{verdict.name} ({verdict.grade.words})" for verdict in found.unproven(taken)]
        return found.document(taken), open_

    def _tell(self, verdict: Verdict) -> None:
        self.log.info("%s_%s: %s", verdict.version, verdict.name, verdict.grade.words)
        for line in verdict.lines():
            self.log.info("  %s", line)
