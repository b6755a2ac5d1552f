"""plan, up and down: what would be done. What does it, `run`, is loaded where there is something to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.model import Finding, Plan

from .call import Answer, Call
from .confirm import VERB
from .failure import DONE, FOUND, UsageError
from .screen import Screen, plural, show_findings

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.blast import Elsewhere
    from airflow_provider_wmigrate.engine.foreseen import Forecast
    from airflow_provider_wmigrate.engine.looking_ahead import LookingAhead


def plan(call: Call) -> Answer:
    """What `up` would do. Findings that would stop it make the exit code 3."""
    planning = call.planning()
    made = planning.plan(to=call.arguments.to)
    forecasts, to_split = planning.forecast(made, call.analysed, _elsewhere(call)) if made.steps else ((), ())
    closed = planning.window_findings(made)
    findings = [*made.findings, *closed, *planning.in_files(made, call.analysed), *to_split]
    needs = planning.backup_needs(made, call.analysed) if made.steps else {}
    foreseen = {forecast.version: forecast for forecast in forecasts}
    data = {
        "target": call.target_document(),
        **_plan_document(made, findings),
        "forecast": [forecast.as_dict() for forecast in foreseen.values()],
        "backup_needed": {version: need.why for version, need in needs.items()},
    }

    def show(screen: Screen) -> None:
        screen.title(f"Plan for {call.target}: apply {len(made.steps)} of {plural(len(made.statuses), 'migration')}")
        for step in made.steps:
            screen.line(f"  {step.version}_{step.name}")
            for line in foreseen[step.version].lines() if step.version in foreseen else ():
                screen.line(f"      {line}")
            if step.version in needs:
                screen.line(f"      needs a backup: {needs[step.version].why}")
        for version, reason in made.left_out.items():
            screen.line(f"  left out: {version} ({reason})")
        show_findings(screen, findings)

    return Answer(data, show, FOUND if _errors(findings) else DONE)


def _elsewhere(call: Call) -> Elsewhere | None:
    """Where `--dags` says that others have their SQL."""
    if call.arguments.dags is None:
        return None
    folder = Path(call.arguments.dags)
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder", hint="give --dags the folder with the DAG files")
    from airflow_provider_wmigrate.dag_sql.files import in_files

    # Which database a connection's id means, Airflow knows and a folder does not.
    return in_files(folder, migrations=call.folder_path, sure=lambda conn_id: "likely")


def up(call: Call) -> Answer:
    """Apply what is pending."""
    _refuse_unused_scratch(call)
    if call.arguments.dry_run and call.arguments.jobs > 1:
        raise UsageError("--jobs does not go with --dry-run", hint="a dry run is one transaction: leave --jobs out")
    planning = call.planning()
    made = planning.plan(to=call.arguments.to)
    findings = [*made.findings, *_closed(call, planning, made), *planning.in_files(made, call.analysed)]
    return _carried_out(call, planning, made, findings)


def down(call: Call) -> Answer:
    """Roll back everything above a version, the last few migrations, or one alone."""
    given = call.arguments
    _refuse_unused_scratch(call)
    if [given.version, given.steps, given.only].count(None) != 2:
        hint = "`down 003` rolls back everything above 003, `down --steps 2` the last two, `down --only 003` 003 alone"
        raise UsageError("give one of these: the version to go back to, --steps or --only", hint=hint)
    if given.version is not None and re.fullmatch("-[0-9]+", given.version):
        steps = given.version.lstrip("-")
        raise UsageError(f"{given.version} is not a version", hint=f"for the last ones write `down --steps {steps}`")
    planning = call.planning()
    if given.only is not None:
        made = planning.plan_rollback_of(given.only)
    elif given.steps is not None:
        made = _last(planning, given.steps)
    else:
        made = planning.plan_rollback(to=given.version)
    if not made.steps:
        return _carried_out(call, planning, made, list(made.findings))
    findings = [*made.findings, *_closed(call, planning, made), *planning.in_files(made, call.analysed)]
    foreseen: Iterable[Forecast] = ()
    if not _errors(findings):
        foreseen, more = planning.forecast(made, call.analysed)
        findings += more
    return _carried_out(call, planning, made, findings, foreseen)


def _closed(call: Call, planning: LookingAhead, made: Plan) -> Iterable[Finding]:
    """A dry run leaves nothing behind, so no window holds for it."""
    return () if call.arguments.dry_run else planning.window_findings(made)


def _refuse_unused_scratch(call: Call) -> None:
    if call.arguments.scratch is not None and not call.arguments.dry_run:
        raise UsageError("--scratch belongs to --dry-run", hint="give it too, or leave --scratch out")


def _last(planning: LookingAhead, steps: int) -> Plan:
    made = planning.plan_rollback_steps(steps)
    there = len(made.steps)
    if 0 < there < steps:
        are = "is" if there == 1 else "are"
        hint = f"give --steps {there} to roll back everything"
        raise UsageError(f"--steps {steps} is too many: {plural(there, 'migration')} {are} applied", hint=hint)
    return made


def _carried_out(
    call: Call, planning: LookingAhead, made: Plan, findings: list[Finding], foreseen: Iterable[Forecast] = ()
) -> Answer:
    if _errors(findings):
        raise HistoryError(_errors(findings))
    document = _run_document(call, made, findings)
    foreseen = [*foreseen]
    losses = {each.version: (*(loss.told for loss in each.losses), *each.gives_back) for each in foreseen}
    if made.direction == "rollback":
        document["losses"] = {each.version: each.losses for each in foreseen}
        document["gives_back"] = {each.version: each.gives_back for each in foreseen if each.gives_back}
    idle = f"Nothing to {VERB[made.direction]} on {call.target}."
    if made.steps or made.failures or findings:
        from .run import Run

        backs_up = made.steps and not call.arguments.dry_run
        needs = planning.backup_needs(made, call.analysed) if backs_up else {}
        return Run(call, made, findings, document, idle, losses, needs).answer()
    return Answer(document, lambda screen: screen.line(idle))


def _run_document(call: Call, made: Plan, findings: Sequence[Finding]) -> dict[str, Any]:
    """An `up` or `down` as programs get it, before anything is done."""
    return {
        "target": call.target_document(),
        "direction": made.direction,
        "dry_run": bool(call.arguments.dry_run),
        "backup": None,
        "records": [],
        "by_another_runner": [],
        "left_out": made.left_out,
        "not_tried": [],
        "findings": findings,
    }


def _errors(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _plan_document(made: Plan, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "direction": made.direction,
        "to": made.to,
        "steps": made.steps,
        "statuses": {version: status.value for version, status in made.statuses.items()},
        "left_out": made.left_out,
        "findings": findings,
    }
