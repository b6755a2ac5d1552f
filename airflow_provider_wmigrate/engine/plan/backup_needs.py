"""Which scripts need a backup before them, and whether a backup that was made is one for them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts
from airflow_provider_wmigrate.engine.foreseen import Loss
from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.model import Finding, Identity, Plan

from .forecast import Ahead
from .lock_scope import Scope
from .locks_needed import locks_needed
from .losses import Lost

BACKED_UP, PLANNED, REMOVED = "backed_up", "planned", "backup_removed"
"""Events of the audit log."""


class Need(Struct, frozen=True):
    """That a script needs a backup before it runs.

    :param why: in plain words.
    :param checksum: of the script.
    :param relations: that it touches, quoted as in SQL; None: nobody can see all of them.
    """

    version: str
    why: str
    checksum: str
    relations: tuple[str, ...] | None = None


Needs = Mapping[str, Need]
"""By version."""


def needs(
    plan: Plan,
    asked: Callable[[str], bool | None],
    losses: Mapping[str, Sequence[Loss]],
    relations: Mapping[str, tuple[str, ...] | None],
    checksums: Mapping[str, str],
) -> dict[str, Need]:
    """:param asked: what the config says of a version: it needs one, it needs none, or None: the losses decide.
    :param losses: of each script that can be read.
    :param relations: that each of these touches; None: nobody can see all of them.
    """
    found: dict[str, Need] = {}
    for version in (step.version for step in plan.steps):
        why = _why(asked(version) if plan.direction == "apply" else None, losses.get(version))
        if why:
            found[version] = Need(version, why, checksums.get(version, ""), relations.get(version))
    return found


def _why(asked: bool | None, losses: Sequence[Loss] | None) -> str:
    if asked is not None:
        return "the config asks for it" if asked else ""
    if losses is None:
        return "its script cannot be read"
    more = f" (and {len(losses) - 1} more)" if len(losses) > 1 else ""
    return f"it {losses[0].told}{more}" if losses and losses[0].what else losses[0].told if losses else ""


def touched(
    scripts: Iterable[Ahead], facts: RelationFacts, lost: Mapping[str, Iterable[Lost]]
) -> dict[str, tuple[str, ...] | None]:
    """What each script takes away or locks so that nobody else can write it, of what is there before the first one."""
    scope, found = Scope(facts), dict[str, tuple[str, ...] | None]()
    for script in scripts:
        scope.begin_script()
        sets = [locks_needed(script.analysis, facts, scope, part) for part in script.parts]
        gone = [*lost[script.version]]
        if any(one.why for one in gone) or any(each.unforeseen for each in sets):
            found[script.version] = None
            continue
        oids = [one.relation for one in gone]
        oids += [n.oid for each in sets for n in each.needs if n.mode > LockMode.ROW_SHARE and n.kind in "rpmvf"]
        names = {facts.relations[oid].quoted: None for oid in oids if facts.relations[oid].schema != "pg_temp"}
        found[script.version] = tuple(names)
    return found


def as_planned(found: Needs, plan: Plan) -> dict[str, Any]:
    """What the plan's row in the audit log says of backups."""
    return {
        "needed": {version: need.why for version, need in found.items()},
        "checksums": {step.version: step.checksum for step in plan.steps},
    }


class Asked(Struct, frozen=True):
    """A row of the audit log, as far as it counts here."""

    event: str
    identity: Identity
    details: Mapping[str, Any]


def planned_needs(row: Asked | None, checksums: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """What the plan of an attempt has decided: the versions that it knows as they are now, and those that need one.

    :param row: the first one of the attempt; None: there is none.
    :param checksums: of the scripts that are about to run.
    """
    if row is None or row.event != PLANNED or "backup" not in row.details:
        return set(), set()
    decided = row.details["backup"]
    same = {v for v, known in decided["checksums"].items() if checksums.get(v, known) == known}
    return same, same & {*decided["needed"]}


def without_backup(needing: Iterable[Need], rows: Iterable[Asked], who: Identity) -> list[Need]:
    """Those for which this attempt has made none.

    :param rows: of the audit log behind the plan.
    :param who: acts; another run's backup may be older than what this one has done.
    """
    made = [row.details for row in rows if row.event == BACKED_UP and _same_run(row.identity, who)]
    return [need for need in needing if not any(_covers(each, need) for each in made)]


def _same_run(one: Identity, other: Identity) -> bool:
    return (one.actor, one.dag_id, one.run_id) == (other.actor, other.dag_id, other.run_id)


def _covers(backup: Mapping[str, Any], need: Need) -> bool:
    known = backup["versions"].get(need.version)
    return known is not None and (backup["scope"] == "database" or known == need.checksum)


def missing(need: Need) -> Finding:
    """Of a migration that was about to run."""
    return Finding(
        "backup_missing",
        f"{need.version} needs a backup before it ({need.why}), and this run has none",
        "clear the run's backup task with its downstream, or run `wmigrate up`, which makes one;"
        f" `backup: false` for {need.version} in the config says that it needs none",
        version=need.version,
    )
