"""What stands in the way of a plan's scripts, as far as the catalogs of the target show it before they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from airflow_provider_wmigrate.engine.catalog.keepable import keepable
from airflow_provider_wmigrate.engine.catalog.object_names import object_names
from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts
from airflow_provider_wmigrate.engine.ledger.kept import all_kept, kept_of, kept_places
from airflow_provider_wmigrate.engine.model import Finding, Migration, Plan
from airflow_provider_wmigrate.engine.plan.forecast import Ahead
from airflow_provider_wmigrate.engine.plan.giving_back import kept_gone
from airflow_provider_wmigrate.engine.plan.keep_tables import hidden_losses, keep_findings_of_tables
from airflow_provider_wmigrate.engine.plan.through_cascade import Named, drops_of_others, falling
from airflow_provider_wmigrate.engine.record import Kept
from airflow_provider_wmigrate.engine.session.session import Session

Scripts = Callable[[], Iterator[Ahead]]


def findings_of_apply(
    session: Session, migrations: Mapping[str, Migration], scripts: Scripts, facts: RelationFacts
) -> tuple[Finding, ...]:
    """What migrations with `keep: true` destroy and cannot keep."""
    going = [(migrations[script.version], script.analysis) for script in scripts()]
    keeping = [migration for migration, _ in going if migration.keep]
    if not keeping:
        return ()
    seen = tuple(keep_findings_of_tables(going, partial(keepable, session.conn)))
    told = {(finding.version, finding.line) for finding in seen}
    hidden = hidden_losses(keeping, scripts(), facts)
    return (*seen, *(finding for finding in hidden if (finding.version, finding.line) not in told))


def findings_of_rollback(
    session: Session,
    schema: str,
    migrations: Mapping[str, Migration],
    plan: Plan,
    scripts: Scripts,
    facts: RelationFacts,
) -> Iterator[Finding]:
    """What was kept and is gone, and what CASCADE would take of others.

    :param schema: of the ledger.
    """
    going = {step.version: migrations[step.version] for step in plan.steps if step.version in migrations}
    there = kept_places(session.conn)
    for version, migration in going.items():
        if migration.keep:
            yield from kept_gone(migration, kept_of(session.conn, schema, version), there)
    found = falling(scripts(), facts)
    names = object_names(session.conn, (each.thing for each in found))
    yield from drops_of_others(found, {thing: Named(*of) for thing, of in names.items()}, going)


def kept_by_version(session: Session, schema: str) -> dict[str, tuple[Kept, ...]]:
    """What rollbacks would give back.

    :param schema: of the ledger.
    """
    found: dict[str, tuple[Kept, ...]] = {}
    for version, _, kept in all_kept(session.conn, schema):
        found[version] = (*found.get(version, ()), kept)
    return found
