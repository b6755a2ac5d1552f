"""check: every mistake that can be found without running a migration. Meant for CI, with or without a database."""

from __future__ import annotations

from dataclasses import asdict

from airflow_provider_wmigrate.engine.errors import ConfigError, FolderError
from airflow_provider_wmigrate.engine.model import Finding

from .act import show_findings
from .call import Answer, Call
from .failure import DONE, FOUND
from .screen import Screen, plural


def check(call: Call) -> Answer:
    """Findings in folder, config and SQL; with a target also between folder and ledger, and in the audit chain."""
    findings = _in_files(call)
    readable = not any(f.code in ("folder_error", "config_error") for f in findings)
    asked = readable and not call.arguments.offline and call.optional_target is not None
    if asked:
        findings += _in_database(call)
    wrong = [f for f in findings if call.arguments.strict or f.severity == "error"]
    data = {
        "folder": str(call.folder_path),
        "migrations": len(call.folder.migrations) if readable else None,
        "target": call.target_document() if asked else None,
        "ok": not wrong,
        "findings": [asdict(finding) for finding in findings],
    }

    def show(screen: Screen) -> None:
        show_findings(screen, findings)
        errors = sum(f.severity == "error" for f in findings)
        told = f"{plural(errors, 'error')}, {plural(len(findings) - errors, 'warning')}"
        files = f"{plural(len(call.folder.migrations), 'migration')} in {call.folder_path}" if readable else "files"
        where = f" and {call.target}" if asked else "; no database was asked"
        screen.line(f"Checked {files}{where}: {told}.")

    return Answer(data, show, FOUND if wrong else DONE)


def _in_files(call: Call) -> list[Finding]:
    from airflow_provider_wmigrate.engine.plan.rules import folder_findings, script_findings

    try:
        folder = call.folder
    except FolderError as error:
        return [Finding("folder_error", error.reason, error.hint or "mend it", file=error.file, line=error.line)]
    except ConfigError as error:
        message = f"{error.key + ': ' if error.key else ''}{error.reason}"
        return [Finding("config_error", message, error.hint or "mend it", file=error.file, line=error.line)]
    migrations = folder.under(folder.config.settings_for(call.environment))
    return [*folder_findings(folder), *script_findings(migrations, folder.config)]


def _in_database(call: Call) -> list[Finding]:
    plan = call.migrator().plan()
    with call.session() as session:
        return [*plan.findings, *call.ledger.verify(session.conn)]
