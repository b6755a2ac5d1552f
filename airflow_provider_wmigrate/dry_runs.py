"""A dry run of a whole plan: the plan task executes it once, and the tasks of the migrations tell what it found."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .attempts import DRY_RUN_KEY, pulled
from .engine.errors import ConnectionFailed, WMigrateError
from .hooks import MigrationHook
from .telling.summaries import dry_run_markdown

if TYPE_CHECKING:
    from .engine.migrator import Migrator
    from .engine.model import Migration, Plan
    from .engine.session.scratch import ScratchServer

log = logging.getLogger(__name__)


def scratch_server(conn_id: str, target: str) -> ScratchServer | None:
    """The server of a connection; None: none is named. Scripts may change all of it unless it is the target's."""
    if not conn_id:
        return None
    from .engine.session.scratch import ScratchServer

    return ScratchServer(MigrationHook(conn_id).get_conn, apart=conn_id != target)


def try_plan(context: Any, migrator: Migrator, plan: Plan, scratch: ScratchServer | None, *, above: str) -> None:
    """All steps in one transaction; if one fails, each task tries its own, so that the right one fails.

    :param above: the plan as Markdown, under which the result is put.
    """
    try:
        records = migrator.try_each([step.version for step in plan.steps], plan.direction, scratch=scratch)
    except ConnectionFailed:
        raise
    except WMigrateError as error:
        log.warning("the steps cannot be tried together, so each task tries its own: %s", error)
        return
    found = {
        record.version: {"record": record.as_dict(), "scripts": _scripts_of(migrator.migrations[record.version])}
        for record in records
    }
    context["ti"].xcom_push(key=DRY_RUN_KEY, value=found)
    context["ti"].xcom_push(key="markdown", value=f"{above}\n\n{dry_run_markdown(records)}")


def _scripts_of(migration: Migration) -> list[str | None]:
    """The checksums of its scripts."""
    return [script.checksum if script else None for script in (migration.script, migration.rollback)]


def found_by_plan(context: Any, plan_task_id: str | None, migrations: Iterable[Migration]) -> dict[str, dict[str, Any]]:
    """By version, the records of a dry run of the whole plan; without those whose files were edited since."""
    found = (pulled(context, plan_task_id, DRY_RUN_KEY) if plan_task_id else None) or {}
    mine = {m.version: _scripts_of(m) for m in migrations}
    return {version: told["record"] for version, told in found.items() if mine.get(version) == told["scripts"]}
