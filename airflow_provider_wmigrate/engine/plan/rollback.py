"""What a rollback takes back, in which order, and what stands in its way. Pure.

Everything here goes by the ledger, by the dependencies **as applied**, so that an older checkout can still do it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

from airflow_provider_wmigrate.engine.catalog.server import standby_finding
from airflow_provider_wmigrate.engine.folder.graph import reached, topological
from airflow_provider_wmigrate.engine.model import Entry, Finding, Migration, Plan, Script, State, Step, version_key

from .statuses import open_failures, statuses, told, with_decisions

RollbackSource = Literal["folder", "ledger"]
"""Where a rollback script is read."""


def plan_rollback(
    migrations: Sequence[Migration], state: State, *, to: str | None, choice: RollbackSource | None = None
) -> Plan:
    """Steps that roll back every applied version above `to` (None: all of them), in the order of `rollback_order`.

    :param choice: as for `rollback_of`.
    """
    going = {e.version for e in state.entries if to is None or version_key(e.version) > version_key(to)}
    return _plan(migrations, state, to, going, f"not above the target {to}", choice)


def plan_rollback_steps(
    migrations: Sequence[Migration], state: State, steps: int, choice: RollbackSource | None = None
) -> Plan:
    """Steps that roll back the `steps` applied migrations with the highest versions; all, if there are no more.

    By version, as `plan_rollback` goes, and not by time: migrations that were applied side by side, or late, have no
    order that a person could know.
    """
    newest_first = sorted((e.version for e in state.entries), key=version_key, reverse=True)
    to = newest_first[steps] if len(newest_first) > steps else None
    return _plan(migrations, state, to, set(newest_first[:steps]), f"not among the last {steps}", choice)


def plan_rollback_of(
    migrations: Sequence[Migration], state: State, version: str, choice: RollbackSource | None = None
) -> Plan:
    """The one step that rolls back this version alone, or what stands in its way; no step when it is not applied."""
    going = {e.version for e in state.entries} & {version}
    return _plan(migrations, state, version, going, f"only {version} is meant", choice)


def _plan(
    migrations: Sequence[Migration],
    state: State,
    to: str | None,
    going: Collection[str],
    stays_because: str,
    choice: RollbackSource | None,
) -> Plan:
    files = {m.version: m for m in migrations}
    rows = {e.version: e for e in state.entries}
    known = with_decisions(statuses(migrations, state.entries), state)
    order = rollback_order([e for e in state.entries if e.version in going])
    steps = tuple(Step("rollback", v, rows[v].name, rows[v].checksum) for v in order)
    numeric = sorted(going, key=version_key)
    findings = [
        *([standby_finding()] if steps and state.standby else []),
        *all_dependents(numeric, state.entries, leaving=going),
        *(f for v in numeric for f in _of_script(files.get(v), rows[v], choice)),
    ]
    staying = dict.fromkeys((v for v in rows if v not in going), stays_because)
    failures = open_failures(known, state)
    return Plan("rollback", to, steps, told(known, (), failures), tuple(findings), staying, failures)


def rollback_order(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Dependents first; among those that do not depend on one another the last applied one, for it may stand on what
    was there before it without having declared it."""
    rows = sorted(entries, key=lambda e: (e.applied_at, version_key(e.version)), reverse=True)
    place = {e.version: i for i, e in enumerate(rows)}
    children = _children(rows)
    order = topological({v: [c for c in children.get(v, ()) if c in place] for v in place}, place.__getitem__)
    circle = place.keys() - order if len(order) < len(place) else ()  # only a ledger written by hand has one
    return (*order, *sorted(circle, key=place.__getitem__))


def dependents(version: str, entries: Sequence[Entry], *, leaving: Collection[str] = ()) -> tuple[Finding, ...]:
    """Why this one migration cannot be rolled back now: applied migrations that declared it when they were applied.

    What to roll back first is told in the order in which it can go.
    """
    names = [e.version for e in entries if version in e.dependencies and e.version not in leaving]
    if not names:
        return ()
    message = f"migration {version} cannot be rolled back: {', '.join(names)} depend{'s' * (len(names) == 1)} on it"
    chain = [v for v in applied_chain([version], entries) if v != version and v not in leaving]
    first = [f"`wmigrate down --only {v}`" for v in chain]
    more = f", and so on ({len(first) - 3} more)" if len(first) > 3 else ""
    return (Finding("depended_on", message, f"roll back first: {', '.join(first[:3])}{more}", version=version),)


def all_dependents(versions: Iterable[str], entries: Sequence[Entry], *, leaving: Collection[str]) -> Iterator[Finding]:
    """The same for many, whose entries are gone through once."""
    children = _children(entries)
    for version in versions:
        if any(child not in leaving for child in children.get(version, ())):
            yield from dependents(version, entries, leaving=leaving)


def applied_chain(versions: Iterable[str], entries: Sequence[Entry]) -> tuple[str, ...]:
    """Versions and every applied one that needs them, in the order in which they can be rolled back."""
    versions = [*versions]
    going = reached(versions, _children(entries)).union(versions)
    return rollback_order(e for e in entries if e.version in going)


def _children(entries: Iterable[Entry]) -> dict[str, list[str]]:
    """Version -> those that depend on it, as applied."""
    children: dict[str, list[str]] = {}
    for entry in entries:
        for parent in entry.dependencies:
            children.setdefault(parent, []).append(entry.version)
    return children


def rollback_of(
    migration: Migration | None, entry: Entry, choice: RollbackSource | None = None
) -> RollbackSource | None:
    """Where the rollback script is that fits what is in the database; None: there is none.

    The one in the ledger was recorded when the migration was applied. The folder's alone counts only if the migration
    was not edited since: else it may undo something else.

    :param choice: of a person, where both have one and they differ; without it `refusal` stops that.
    """
    script = migration.rollback if migration else None
    recorded = entry.rollback_checksum
    if script is not None and (
        script.checksum == recorded or choice == "folder" or (recorded is None and _unchanged(migration, entry))
    ):
        return "folder"
    return "ledger" if recorded is not None else None


def refusal(migration: Migration | None, entry: Entry, choice: RollbackSource | None = None) -> Finding | None:
    """Why no rollback script of this one may be run; None: one may."""
    if migration is not None and migration.rollback_supported is False:
        return _irreversible(migration)
    if rollback_of(migration, entry, choice) is None:
        return no_rollback(migration, entry)
    script = migration.rollback if migration else None
    if choice or script is None or entry.rollback_checksum in (None, script.checksum):
        return None
    too = "" if _unchanged(migration, entry) else ", and the migration was edited too"
    return Finding(
        "rollback_differs",
        f"the rollback script of {entry.version} is not the one recorded when it was applied{too}",
        "read both, and choose: `wmigrate down` with `--script folder` or `--script ledger`",
        version=entry.version,
        file=script.file,
    )


def _unchanged(migration: Migration | None, entry: Entry) -> bool:
    return migration is not None and migration.script.checksum == entry.checksum


def _irreversible(migration: Migration) -> Finding:
    return Finding(
        "irreversible",
        f"migration {migration.stem} is declared irreversible (rollback_supported: false)",
        "write a new migration, or restore a backup; if it can be undone all the same,"
        f" write {migration.stem}.rollback.sql and remove that line",
        version=migration.version,
        file=migration.script.file,
    )


def stand_in(entry: Entry) -> Migration:
    """For a migration whose file is gone what the ledger still knows of it."""
    script = Script(f"{entry.version}_{entry.name}.sql", "", entry.checksum)
    return Migration(entry.version, entry.name, script, dependencies=entry.dependencies)


def no_rollback(migration: Migration | None, entry: Entry) -> Finding:
    """The finding for one that has no rollback script that fits what is in the database."""
    name = f"{entry.version}_{entry.name}"
    message = f"migration {name} has no rollback script, neither in the folder nor in the ledger"
    write = f"write {migration.stem if migration else name}.rollback.sql"
    if migration is None:
        nxt = f"restore its file and {write}"
    elif migration.script.checksum == entry.checksum:
        nxt = write
    else:
        message = f"migration {name} was edited after it was applied, and the ledger has no rollback script of what was"
        accept = f"`wmigrate repair {entry.version} --accept`"
        nxt = f"restore its file and {write}; or, if the database is as the file says now: {accept}"
    nxt += "; or restore a backup"
    return Finding(
        "no_rollback", message, nxt, version=entry.version, file=migration.script.file if migration else None
    )


def _of_script(migration: Migration | None, entry: Entry, choice: RollbackSource | None) -> Iterator[Finding]:
    refused = refusal(migration, entry, choice)
    if refused is not None:
        yield refused
    elif entry.rollback_checksum is None and migration is not None and migration.rollback is not None:
        yield Finding(
            "rollback_differs",
            f"the ledger has no rollback script of {entry.version}; the folder's is run, which is younger",
            "read it before you continue",
            severity="warning",
            version=entry.version,
            file=migration.rollback.file,
        )
