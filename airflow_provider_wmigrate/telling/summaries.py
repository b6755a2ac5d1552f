"""The plan and the report of a run as people read them, and a run's results as XCom keeps them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.foreseen import Forecast
    from airflow_provider_wmigrate.engine.ledger.ledger import AuditRow
    from airflow_provider_wmigrate.engine.model import Direction, Finding, Plan, Step
    from airflow_provider_wmigrate.engine.record import Record


APPLY, IN_WINDOW, REJECT, NO_ANSWER = "apply", "apply in the window", "reject", "no answer in time"
"""What becomes of a request for approval. `apply` is at once, whatever the window of the environment says."""


def answer_line(answer: Mapping[str, Any]) -> str:
    """`rejected by bob at 2026-01-31 12:00 UTC`."""
    if answer["user"] is None:
        return "the plan was not approved: nobody has answered in time"
    what = "rejected" if answer["answer"] == REJECT else "approved"
    return f"{what} by {answer['user']['name']} at {answer['at'][:16].replace('T', ' ')} UTC"


_NO_BACKUPS: Mapping[str, str] = {}


def plan_lines(
    plan: Plan,
    findings: Sequence[Finding],
    foreseen: Sequence[Forecast] = (),
    backups: Mapping[str, str] = _NO_BACKUPS,
) -> list[str]:
    """The plan as a log shows it.

    :param backups: by version, why it needs a backup before it.
    """
    locks = {forecast.version: forecast for forecast in foreseen}
    return [
        f"plan: {_what(plan)}",
        *(line for step in plan.steps for line in _step_lines(step, locks.get(step.version), backups)),
        *(f"  {_STAYING[plan.direction]}: {version} ({reason})" for version, reason in plan.left_out.items()),
        *(f"{finding.severity}: {finding}" for finding in findings),
    ]


def _step_lines(step: Step, forecast: Forecast | None, backups: Mapping[str, str]) -> list[str]:
    foreseen = _foreseen(step, forecast, backups)
    return [f"  {step.version}_{step.name}{_about(step)}", *(f"    {line}" for line in foreseen)]


def _foreseen(step: Step, forecast: Forecast | None, backups: Mapping[str, str]) -> list[str]:
    need = [f"needs a backup: {backups[step.version]}"] if step.version in backups else []
    return [*need, *(forecast.lines() if forecast else ())]


def plan_markdown(
    plan: Plan,
    findings: Sequence[Finding],
    foreseen: Sequence[Forecast] = (),
    backups: Mapping[str, str] = _NO_BACKUPS,
) -> str:
    """The plan as a page shows it, with who would wait.

    :param backups: as for `plan_lines`.
    """
    lines, locks = [f"### Plan: {_what(plan)}", ""], {forecast.version: forecast for forecast in foreseen}
    for i, step in enumerate(plan.steps, 1):
        number = f"{i}. "
        lines.append(f"{number}{_VERB[plan.direction]} `{step.version}_{step.name}`{_about(step)}")
        for line in _foreseen(step, locks.get(step.version), backups):
            lines.append(" " * len(number) + f"- {_SPECIAL.sub(_escaped, line)}")
    lines += [f"- {_STAYING[plan.direction]}: `{version}` ({reason})" for version, reason in plan.left_out.items()]
    if findings:
        lines += ["", findings_markdown(findings)]
    return "\n".join(lines)


def findings_markdown(findings: Sequence[Finding]) -> str:
    """Findings as a table; of none nothing."""
    lines = ["| finding | where | what | next |", "| --- | --- | --- | --- |"] if findings else []
    for f in findings:
        where = ":".join(str(part) for part in (f.file or f.version, f.line, f.column) if part)
        cells = (f"{f.severity} {f.code}", where, f.message, f.next_step)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


_SPECIAL = re.compile(r"[\\`*<\[]")
"""What Markdown would take for its own in the name of a table."""


def _escaped(found: re.Match[str]) -> str:
    return "\\" + found[0]


_VERB: dict[Direction, str] = {"apply": "apply", "rollback": "roll back"}
_STAYING: dict[Direction, str] = {"apply": "left out", "rollback": "stays"}


def _what(plan: Plan) -> str:
    to = f" (to {plan.to})" if plan.to else ""
    return f"{_VERB[plan.direction]} {len(plan.steps)} of {len(plan.statuses)} migrations{to}"


def _about(step: Step) -> str:
    return f", about {step.estimated_duration_seconds:g} s" if step.estimated_duration_seconds else ""


def dry_run_markdown(records: Sequence[Record]) -> str:
    """What a dry run of a plan found, as a page shows it: each lock once, beside the migration that took it."""
    from airflow_provider_wmigrate.engine.record import taken_first

    lines = [
        "### Dry run: everything was rolled back",
        "",
        "| migration | result | time | rows | locks | written anew |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    locks = taken_first(records)
    for record in records:
        result, tried = _result(record), record.reason is None
        cells = (
            f"`{record.version}_{record.name}`",
            _SPECIAL.sub(_escaped, result),
            f"{record.duration_ms} ms" if tried else "",
            str(record.rows) if tried else "",
            _SPECIAL.sub(_escaped, ", ".join(map(str, locks.get(record.version, ())))),
            _SPECIAL.sub(_escaped, ", ".join(record.rewritten)),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _result(record: Record) -> str:
    if record.reason is None:
        return record.outcome.value.replace("_", " ")
    return f"not tried: {record.reason}" + (f"; {record.on_scratch}" if record.on_scratch else "")


def records_of(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def untried_reason(record: Mapping[str, Any]) -> str:
    """Why a dry run did not try a migration, and what became of it on a scratch database."""
    there = record.get("on_scratch")
    return str(record["reason"]) + (f"; {there['told']}" if there else "")


def skipped_by(plan: Mapping[str, Any]) -> dict[str, str]:
    """Version -> why a plan, as its task leaves it, has nothing to do of it: its status, or why it is left out."""
    steps = {step["version"] for step in plan.get("steps", ())}
    statuses = {version: status for version, status in plan.get("statuses", {}).items() if version not in steps}
    return {**statuses, **plan.get("left_out", {})}


def summarise(
    rows: Sequence[AuditRow],
    records: Sequence[dict[str, Any]],
    plan: Mapping[str, Any],
    failed: Sequence[str],
    idle: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """What an attempt did, as plain values: the report that outlives the database.

    :param rows: of the audit log, of this attempt: what was applied and rolled back, in this order.
    :param records: what its tasks left, for what leaves no such row: dry runs, and what was done before.
    :param idle: steps of the plan that were skipped all the same, and why.
    """
    done = {event: [r.version for r in rows if r.event == event] for event in ("applied", "rolled_back")}
    left = [r for r in records if r["outcome"] not in done]
    return {
        **done,
        **{o: [r["version"] for r in left if r["outcome"] == o] for o in ("dry_run", "already_applied")},
        "not_tried": {r["version"]: untried_reason(r) for r in left if r["outcome"] == "not_tried"},
        "failed": list(failed),
        "skipped": {**skipped_by(plan), **idle},
        "duration_ms": sum(r.duration_ms or 0 for r in rows) + sum(r["duration_ms"] for r in left),
        "audit_head": None,
    }


def report_lines(summary: Mapping[str, Any]) -> list[str]:
    """The report as a log shows it."""
    outcomes = [name for name in ("applied", "rolled_back", "dry_run", "already_applied", "failed") if summary[name]]
    lines = [f"{name.replace('_', ' ')}: {', '.join(summary[name])}" for name in outcomes]
    lines += [f"not tried: {version}: {reason}" for version, reason in summary["not_tried"].items()]
    lines += [f"backup: {summary['backup']['place']}"] if summary.get("backup") else []
    if summary.get("approval"):
        lines = [answer_line(summary["approval"]), *(lines or ["nothing was applied"])]
    lines = [*(lines or ["nothing to do"]), f"{summary['duration_ms']} ms on the server"]
    return ["report:", *(f"  {line}" for line in lines)]
