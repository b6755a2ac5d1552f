"""What is told of an `up` or `down`, whether or not there was something to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airflow_provider_wmigrate.engine.model import Direction, Finding, Plan

from .call import Call

VERB: dict[Direction, str] = {"apply": "apply", "rollback": "roll back"}


def nothing_to_do(call: Call, made: Plan) -> str:
    """What is told of an `up` or `down` without a step."""
    return f"Nothing to {VERB[made.direction]} on {call.target}."


def run_document(call: Call, made: Plan, findings: Sequence[Finding]) -> dict[str, Any]:
    """An `up` or `down` as programs get it, before anything is done."""
    return {
        "target": call.target_document(),
        "direction": made.direction,
        "dry_run": bool(call.arguments.dry_run),
        "records": [],
        "by_another_runner": [],
        "left_out": made.left_out,
        "not_tried": [],
        "findings": [asdict(finding) for finding in findings],
    }
