"""check: every mistake that can be found without running a migration. Meant for CI, with or without a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.errors import ConfigError
from airflow_provider_wmigrate.engine.model import Finding, Migration, Plan

from .call import Answer, Call
from .failure import DONE, FOUND
from .screen import Screen, plural, show_findings

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.folder.folder import Folder


def check(call: Call) -> Answer:
    """Findings in folder, config and SQL; with a target also between folder and ledger, and in the audit chain."""
    from airflow_provider_wmigrate.engine.plan.proven import unproven

    folder, findings = in_files(call)
    since = call.arguments.since
    if folder is not None:
        findings += in_repository(call, folder)[0]
    readable = folder is not None and not folder.wrong
    asked = readable and not call.arguments.offline and call.optional_target is not None
    if asked and folder:
        plan, of_ledger = _in_database(call)
        findings += [*unproven(folder, {step.version for step in plan.steps}), *plan.findings, *of_ledger]
    elif readable and folder:  # any database may lack any of them
        findings += unproven(folder, {m.version for m in folder.migrations})
    wrong = [f for f in findings if call.arguments.strict or f.severity == "error"]
    data = {
        "folder": str(call.folder_path),
        "migrations": len(folder.migrations) if folder else None,
        "target": call.target_document() if asked else None,
        "since": since,
        "ok": not wrong,
        "findings": findings,
    }

    def show(screen: Screen) -> None:
        show_findings(screen, findings)
        errors = sum(f.severity == "error" for f in findings)
        told = f"{plural(errors, 'error')}, {plural(len(findings) - errors, 'warning')}"
        files = f"{plural(len(folder.migrations), 'migration')} in {call.folder_path}" if folder else "the config"
        against = f" against {since}" if since and folder else ""
        where = f" and {call.target}" if asked else "; no database was asked"
        screen.line(f"Checked {files}{against}{where}: {told}.")

    return Answer(data, show, FOUND if wrong else DONE)


def in_files(call: Call) -> tuple[Folder | None, list[Finding]]:
    """The folder as far as it can be read, and everything that is wrong in the files."""
    from airflow_provider_wmigrate.engine.plan.folder_rules import folder_findings
    from airflow_provider_wmigrate.engine.plan.script_rules import script_findings

    try:
        folder = call.seen_folder
    except ConfigError as error:
        return None, list(error.findings)
    migrations = folder.under(folder.config.settings_for(call.environment))
    readable = {m.version for m in folder.readable}
    return folder, [
        *folder.wrong,
        *(() if folder.wrong else folder_findings(folder)),
        *script_findings([m for m in migrations if m.version in readable], folder.config),
    ]


def in_repository(call: Call, folder: Folder) -> tuple[list[Finding], list[Migration]]:
    """What the folder does to migrations that are released, and those that it adds; with `--since` alone."""
    from airflow_provider_wmigrate.engine.plan.released_rules import released_findings

    from .released import released

    if not call.arguments.since:
        return [], []
    migrations = folder.under(call.settings)
    with released(call.folder_path, call.arguments.since, call.environ) as known:
        found = released_findings(migrations, known, call.settings.execution.late_migrations)
        before = {m.version for m in known.base}
        return list(found), [m for m in migrations if m.version not in before]


def _in_database(call: Call) -> tuple[Plan, Sequence[Finding]]:
    """What is to be done there, and what is wrong with its ledger."""
    plan = call.planning().plan()
    with call.session() as session:
        return plan, call.ledger.verify(session.conn)
