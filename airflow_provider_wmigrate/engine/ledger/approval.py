"""What the audit log says of a plan that needs approval: a person's answer, and what was done since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timezone

from airflow_provider_wmigrate.engine.model import Finding, Identity
from airflow_provider_wmigrate.engine.plan.proposal import Proposal, not_as_approved

from .trail import AuditRow, settles

APPROVED, REJECTED = "approved", "rejected"
"""The events of an answer."""


def of_ledger(proposal: Proposal, rows: Iterable[AuditRow], identity: Identity) -> Iterator[Finding]:
    """Why it is not approved in this run, and what others have done since it was made.

    :param rows: of the audit log behind the proposal's head.
    :param identity: of the run.
    """
    answer: AuditRow | None = None
    for row in rows:
        if row.event in (APPROVED, REJECTED) and _same_run(row, identity):
            answer = row
        elif _acts(row) and not _is_own(row, proposal, identity):
            who = f"{row.actor} in run {row.run_id}" if row.run_id else row.actor
            what = f"{row.event.replace('_', ' ')} {row.version}"
            yield not_as_approved(f"{what} by {who} at {_at(row)}, after the plan that was approved", row.version)
    if answer is None:
        yield not_as_approved("nobody has approved this plan in this run")
    elif answer.event == REJECTED:
        yield not_as_approved(f"this plan was rejected by {answer.actor} at {_at(answer)}")
    elif answer.details.get("digest") != proposal.digest:
        yield not_as_approved(f"what {answer.actor} approved at {_at(answer)} is another plan than this one")


def has_begun(proposal: Proposal, rows: Iterable[AuditRow], identity: Identity) -> bool:
    """Whether the run itself has changed the schema since, so that it cannot be the one that was approved."""
    return any(_acts(row) and _is_own(row, proposal, identity) for row in rows)


def _is_own(row: AuditRow, proposal: Proposal, identity: Identity) -> bool:
    return _same_run(row, identity) and row.version in proposal.versions


def _same_run(row: AuditRow, identity: Identity) -> bool:
    return (row.dag_id, row.run_id) == (identity.dag_id, identity.run_id)


def _acts(row: AuditRow) -> bool:
    return row.event == "started" or settles(row.event, row.version, None)


def _at(row: AuditRow) -> str:
    return f"{row.at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
