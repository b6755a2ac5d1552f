"""lint: what is likely to hurt, by rules of our own, those of `check` for scripts, and squawk's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.model import Finding, Migration, Plan, Script

from .call import Answer, Call
from .failure import DONE, FOUND, UsageError
from .screen import Screen, plural

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.sql.script import Analysis


class _Looked(Struct, frozen=True):
    """:param migrations: those that were looked at. :param analyses: by file. :param untried: what could not be."""

    migrations: Sequence[Migration]
    analyses: Mapping[str, Analysis]
    findings: list[Finding]
    untried: list[str]


def lint(call: Call) -> Answer:
    """Findings in the scripts of the pending migrations, or of all."""
    given = call.arguments
    if given.json and given.format != "text":
        raise UsageError("--json and --format contradict each other", hint="leave one out")
    asked = not given.offline and call.optional_target is not None
    plan = call.planning().plan() if asked else None
    looked = look(call, plan, _wanted(call, plan))
    if given.write_baseline:
        return _write_baseline(looked, Path(given.write_baseline))
    findings = _unknown(looked, given.baseline)
    wrong = [f for f in findings if given.strict or f.severity == "error"]
    data = {
        "folder": str(call.folder_path),
        "migrations": [migration.version for migration in looked.migrations],
        "not_tried": looked.untried,
        "known": len(looked.findings) - len(findings),
        "findings": findings,
    }

    def show(screen: Screen) -> None:
        if given.format != "text":
            _show_for_programs(screen, findings, call, given.format)
            return
        for finding in findings:
            place = ":".join(str(part) for part in (finding.file, finding.line, finding.column) if part)
            screen.line(f"{place}: {finding.severity}: {finding.message}; {finding.next_step} ({finding.code})")
        for line in looked.untried:
            screen.line(f"not tried: {line}")
        told = f"{plural(len(findings), 'finding')}" + (f", {data['known']} known before" if data["known"] else "")
        screen.line(f"Looked at {plural(len(looked.migrations), 'migration')} in {call.folder_path}: {told}.")

    return Answer(data, show, FOUND if wrong else DONE)


def _show_for_programs(screen: Screen, findings: Sequence[Finding], call: Call, form: str) -> None:
    from .lint_formats import github, sarif

    folder = Path(os.path.relpath(call.folder_path)).as_posix().removeprefix(".")
    for line in [sarif(findings, folder)] if form == "sarif" else github(findings, folder):
        screen.text(line)


def look(call: Call, plan: Plan | None, migrations: Sequence[Migration]) -> _Looked:
    """What lint finds in scripts of the folder.

    :param plan: for a target; None: no database is asked.
    """
    from airflow_provider_wmigrate.engine.plan.lint_rules import NEED_ROWS, in_files
    from airflow_provider_wmigrate.engine.plan.lint_silence import allowances, told
    from airflow_provider_wmigrate.engine.plan.script_rules import script_findings

    from .squawk import SQUAWK, program

    scripts = [script for m in migrations for script in (m.script, m.rollback) if script]
    analyses = dict(_analysed(call, scripts))
    schema = call.settings.ledger.schema_name
    findings = list(script_findings(migrations, call.folder.config, call.folder.migrations, analysed=call.analysed))
    for migration in migrations:
        if (script := analyses.get(migration.script.file)) is not None:
            rollback = analyses.get(migration.rollback.file) if migration.rollback else None
            findings += in_files(migration, script, rollback, schema)
    untried: list[str] = []
    if plan is not None:
        findings += call.planning().evidence(plan, call.analysed)
    else:
        untried.append(f"{', '.join(NEED_ROWS)}: no database was asked how large its tables are")
    findings += _of_squawk(call, migrations, untried, asked=plan is not None)
    allowed = [each for analysis in analyses.values() for each in allowances(analysis)]
    found = told(findings, allowed, untried=[*NEED_ROWS, *(() if program() else (SQUAWK,))])
    found.sort(key=lambda finding: (finding.file or "", finding.line or 0, finding.code))
    return _Looked(migrations, analyses, found, untried)


def _wanted(call: Call, plan: Plan | None) -> list[Migration]:
    migrations = call.folder.under(call.settings)
    if plan is None or call.arguments.all:
        return list(migrations)
    pending = {step.version for step in plan.steps}
    return [migration for migration in migrations if migration.version in pending]


def _analysed(call: Call, scripts: Sequence[Script]) -> Iterator[tuple[str, Analysis]]:
    for script in scripts:
        try:
            yield script.file, call.analysed(script)
        except WMigrateError:  # the rules of scripts tell it
            continue


def _of_squawk(call: Call, migrations: Sequence[Migration], untried: list[str], *, asked: bool) -> Sequence[Finding]:
    from .squawk import INSTALL, program, squawk

    path = program()
    if path is None:
        untried.append(f"the rules of squawk: it is not installed ({INSTALL})")
        return ()
    files = {migration.script.file: migration.version for migration in migrations}
    if not files:
        return ()
    major = None
    if asked:
        with call.session() as session:
            major = session.conn.info.server_version // 10_000
    return list(squawk(path, files, call.folder_path, major=major))


# What was known before


def _unknown(looked: _Looked, file: str | None) -> list[Finding]:
    if file is None:
        return looked.findings
    from airflow_provider_wmigrate.engine.plan.lint_silence import known_as

    known = _read_baseline(file)
    return [finding for finding in looked.findings if known_as(finding, looked.analyses) not in known]


def _read_baseline(file: str) -> set[str]:
    hint = "write one with `lint --write-baseline FILE`"
    try:
        known = json.loads(Path(file).read_text(encoding="utf-8"))["known"]
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint=hint) from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{file} is no baseline of lint", hint=hint) from None
    return set(map(str, known))


def _write_baseline(looked: _Looked, file: Path) -> Answer:
    from airflow_provider_wmigrate.engine.plan.lint_silence import known_as

    known = sorted({known_as(finding, looked.analyses) for finding in looked.findings})
    file.write_text(json.dumps({"known": known}, indent=2) + "\n", encoding="utf-8")
    data = {"file": str(file), "known": len(known), "not_tried": looked.untried}
    return Answer(data, lambda screen: screen.line(f"{plural(len(known), 'finding')} in {file}: known from now on."))
