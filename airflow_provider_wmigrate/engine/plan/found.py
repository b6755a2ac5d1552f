"""What was found before a plan was made, and how much of it concerns that plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.model import Finding, Plan

OF_DRIFT = ("drift", "entry_forged", "append_only_off")
"""Codes of what `settings.drift` decides about."""


def with_found(found: Sequence[Finding], plan: Plan) -> Plan:
    """The plan with what was found before it; rights that are missing matter only where there is something to do, and
    what a script would do only where it is to run. Drift never keeps anybody from rolling back."""
    steps = {step.version for step in plan.steps if step.action == "apply"}
    findings = [f for f in found if plan.steps or f.code != "ledger_rights"]
    findings = [f for f in findings if f.code != "refresh_unbounded" or f.version in steps]
    if plan.direction == "rollback":
        findings = [replace(f, severity="warning") if f.code in OF_DRIFT else f for f in findings]
    return replace(plan, findings=(*findings, *plan.findings))
