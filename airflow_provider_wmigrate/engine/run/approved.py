"""Whether what a migration is about to do is what a person has approved: looked at under its lock, before it acts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.ledger.access import LedgerAccess
from airflow_provider_wmigrate.engine.ledger.approval import has_begun, of_ledger
from airflow_provider_wmigrate.engine.ledger.trail import AuditRow, position
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.plan.proposal import Proposal
from airflow_provider_wmigrate.engine.session.session import Session


def not_as_approved(
    session: Session, access: LedgerAccess, proposal: Proposal, edited: Iterable[Finding]
) -> tuple[Finding, ...]:
    """What differs from the approved plan. The schema is compared as long as the run itself has not changed it.

    :param session: that of the run; nothing of it may have changed the schema in its transaction.
    :param edited: what differs in the folder.
    """
    found = (*_of_ledger(session, access, proposal), *edited)
    if found or _has_begun(session, access, proposal):
        return found
    with access.open("compare with approval") as other:  # a snapshot needs a transaction of its own
        differing = tuple(proposal.of_schema(take(other.conn)))
    # A task of the same run beside this one may have applied its own while the schema was read.
    return () if differing and _has_begun(session, access, proposal) else differing


def _of_ledger(session: Session, access: LedgerAccess, proposal: Proposal) -> Iterator[Finding]:
    broken = access.ledger.continues(session.conn, proposal.head) if proposal.head else None
    if broken:
        yield broken
    yield from of_ledger(proposal, _rows(session, access, proposal), access.identity)


def _has_begun(session: Session, access: LedgerAccess, proposal: Proposal) -> bool:
    return has_begun(proposal, _rows(session, access, proposal), access.identity)


def _rows(session: Session, access: LedgerAccess, proposal: Proposal) -> tuple[AuditRow, ...]:
    with access.reaching(session):
        return tuple(access.ledger.log.rows(session.conn, after=position(proposal.head or "") or 0))
