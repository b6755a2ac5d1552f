"""The decision alone: which steps lead from what the ledger says to what the folder says. Pure, and acts on nothing.

A contradiction between folder and ledger is never an exception here but a `Finding` in the plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timezone

from airflow_provider_wmigrate.engine.catalog.extensions import Lack, extension_finding, lacks, updates
from airflow_provider_wmigrate.engine.catalog.server import standby_finding
from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.extension import RequiredExtension
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import (
    Entry,
    Finding,
    LatePolicy,
    Migration,
    Plan,
    State,
    Status,
    Step,
    finding_in,
    version_key,
)

from .squashing import squashed_in_part
from .statuses import open_failures, status_of, statuses, told, with_decisions

_Files = Mapping[str, Migration]


def plan_apply(
    migrations: Sequence[Migration],
    graph: Graph,
    state: State,
    *,
    to: str | None = None,
    late: LatePolicy = "apply",
) -> Plan:
    """Steps that apply what is pending, up to and with version `to` and whatever that one needs.

    :param to: a version of the folder in canonical form, or None for everything.
    """
    files = {m.version: m for m in migrations}
    known = with_decisions(statuses(migrations, state.entries), state)
    graph = as_applied(graph, files, state.entries)
    wanted = _wanted(graph, to)
    begun = {e.version for e in state.entries if e.status == "incomplete" and e.direction == "apply"}
    pending = [v for v in graph.order if known[v] is Status.PENDING or v in begun]
    left_out = {v: f"beyond the target {to}" for v in pending if v not in wanted}
    lacking = _lacking([v for v in pending if v in wanted], files, graph, state)
    left_out |= _left_out_for(lacking, graph)
    steps = tuple(_step(files[v]) for v in pending if v not in left_out)
    findings = [
        *([standby_finding()] if steps and state.standby else []),
        *_contradictions(known, files, state.entries),
        *squashed_in_part(migrations, {e.version: e for e in state.entries}),
        *(extension_finding(files[s.version], *found) for s in steps for found in lacking[s.version]),
        *_unmet(steps, graph, known, files),
        *_applied_before_dependency(graph, known, files),
        *_late(steps, known, late, files),
        *_over_budget([files[s.version] for s in steps]),
    ]
    failures = open_failures(known, state)
    return Plan("apply", to, steps, told(known, left_out, failures), tuple(findings), left_out, failures)


def as_applied(graph: Graph, files: Mapping[str, Migration], entries: Iterable[Entry]) -> Graph:
    """The dependencies with those of the ledger where nobody declared any: one merged late stands before others that
    were applied without it, and nobody said that they need it."""
    rows = {e.version: e for e in entries}
    taken = {
        v: tuple(d for d in rows[v].dependencies if d in files)
        for v, migration in files.items()
        if migration.dependencies_implied and v in rows
    }
    if all(graph.parents[v] == needs for v, needs in taken.items()):
        return graph
    try:
        return Graph({**graph.parents, **taken})
    except FolderError:  # what was declared when they were applied contradicts what is declared now
        return graph


def refusals(
    migration: Migration, entries: Mapping[str, Entry], *, assume: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Why this one migration cannot be applied now, decided again under its lock.

    :param entries: by version; its own, and those of what it depends on and what it squashes.
    :param assume: versions that the same transaction applies before it (a dry run).
    """
    found, mine = squashed_in_part([migration], entries), entries.get(migration.version)
    if mine is not None:
        known = {migration.version: status_of(migration, mine)}
        found += [f for f in _contradictions(known, {migration.version: migration}, [mine]) if f.severity == "error"]
    found += [
        finding_in(
            "dependency_unmet",
            migration,
            f"migration {migration.version} needs {parent}, which is not applied",
            f"apply {parent} first: `wmigrate up --to {parent}`",
        )
        for parent in migration.dependencies
        if parent not in assume and (parent not in entries or entries[parent].status != "applied")
    ]
    return tuple(found)


def _step(migration: Migration) -> Step:
    estimate = migration.estimated_duration_seconds
    return Step("apply", migration.version, migration.name, migration.script.checksum, estimate)


def _over_budget(migrations: Iterable[Migration]) -> list[Finding]:
    """What would probably be cancelled."""
    return [
        finding_in(
            "estimate_over_budget",
            m,
            f"migration {m.version} should take {m.estimated_duration_seconds:g} s, more than its budget of"
            f" {m.timeout_seconds:g} s",
            "raise its timeout_seconds, or correct the estimate",
            "warning",
        )
        for m in migrations
        if m.estimated_duration_seconds and m.timeout_seconds and m.estimated_duration_seconds > m.timeout_seconds
    ]


def _wanted(graph: Graph, to: str | None) -> set[str]:
    if to is None:
        return set(graph.order)
    reached = {v for v in graph.order if version_key(v) <= version_key(to)}
    return reached | graph.ancestors(reached)


def _lacking(
    versions: Sequence[str], files: _Files, graph: Graph, state: State
) -> dict[str, tuple[tuple[RequiredExtension, Lack], ...]]:
    """What each needs and the server has not. Applied migrations have done all they will."""
    extensions = state.extensions
    if extensions is None or not any(files[v].requires_extensions for v in versions):
        return dict.fromkeys(versions, ())
    there = {entry.version for entry in state.entries if entry.status == "applied"}
    updated: dict[str, frozenset[str]] = {}
    for version in graph.order:
        own = frozenset() if version in there else updates(files[version])
        updated[version] = own.union(*(updated[parent] for parent in graph.parents[version]))
    return {v: tuple(lacks(files[v], extensions, updated=updated[v])) for v in versions}


def _left_out_for(lacking: Mapping[str, Sequence[tuple[RequiredExtension, Lack]]], graph: Graph) -> dict[str, str]:
    """What is left out because an extension is not available, and with it whatever depends on it."""
    left_out = {
        version: f"extension {needed.name} {found.brief}"
        for version, found_ones in lacking.items()
        for needed, found in found_ones
        if needed.when_missing == "skip"
    }
    if not left_out:
        return {}
    place = {version: number for number, version in enumerate(graph.order)}
    first: dict[str, str] = {}
    for version in graph.order:
        above = [first[parent] for parent in graph.parents[version] if parent in first]
        if above and version in lacking:
            left_out.setdefault(version, f"needs {min(above, key=place.__getitem__)}, which is left out")
        if version in left_out or above:
            first[version] = min([*above, version], key=place.__getitem__)
    return left_out


def _contradictions(
    known: Mapping[str, Status], files: Mapping[str, Migration], entries: Sequence[Entry]
) -> list[Finding]:
    rows = {e.version: e for e in entries}
    own = f"; {_OWN_LEDGER}" if _is_of_another_folder(files, rows) else ""
    found = []
    for version, status in known.items():
        file = files[version].script.file if version in files else None
        if status is Status.CHANGED:
            applied_at = rows[version].applied_at.astimezone(timezone.utc)
            message = f"was edited after it was applied on {applied_at:%Y-%m-%d %H:%M} UTC"
            nxt = (
                "restore the file and write a new migration instead; or, if the database is as the file says now:"
                f" `wmigrate repair {version} --accept`{own}"
            )
            found.append(Finding("changed", message, nxt, version=version, file=file))
        elif status is Status.MISSING:
            message = f"migration {version}_{rows[version].name} is applied but its file is gone"
            nxt = f"restore the file; or, if it was deleted on purpose: `wmigrate repair {version} --forget`{own}"
            found.append(Finding("missing", message, nxt, version=version, file=file))
        elif status is Status.INCOMPLETE:
            found.append(_incomplete(rows[version], file))
    return found


_OWN_LEDGER = "or, if another folder was applied here: give each folder a ledger of its own (settings.ledger.schema)"


def _is_of_another_folder(files: Mapping[str, Migration], rows: Mapping[str, Entry]) -> bool:
    """Whether the ledger may be the history of another folder: nothing of it is here, or a number stands for two
    migrations."""
    both = [(files[v], entry) for v, entry in rows.items() if v in files]
    alike = [m.name == entry.name or m.script.checksum == entry.checksum for m, entry in both]
    return bool(files and rows) and not (alike and all(alike))


def _incomplete(entry: Entry, file: str | None) -> Finding:
    """An interrupted apply goes on by itself; an interrupted rollback must be finished before anything else."""
    done = f"{entry.statements_done} of {entry.statements_total} statements done"
    name = f"{entry.version}_{entry.name}"
    by_hand = f"`wmigrate repair {entry.version} --undone` or `--done`"
    back = f"`wmigrate down --only {entry.version}`"
    if entry.direction == "rollback":
        message = f"the rollback of {name} was started outside a transaction and is not finished ({done})"
        nxt = f"finish it: {back}; or, if it was finished by hand: {by_hand}"
        return Finding("incomplete", message, nxt, version=entry.version, file=file)
    message = f"migration {name} was started outside a transaction and is not finished ({done})"
    nxt = "`wmigrate up` goes on where it stopped"
    if file is None:
        message += ", and its file is gone"
        nxt = f"restore the file; or roll it back: {back}; or, if it was undone or finished by hand: {by_hand}"
    elif len(entry.statement_hashes) > entry.statements_done:
        message += f", and whether statement {entry.statements_done + 1} ran to its end is not known"
        nxt = "`wmigrate up` finds out whether it ran, and asks you where the database cannot tell"
    return Finding("incomplete", message, nxt, severity="warning", version=entry.version, file=file)


def _unmet(steps: Sequence[Step], graph: Graph, known: Mapping[str, Status], files: _Files) -> list[Finding]:
    """Steps whose dependency is neither applied nor a step: only possible when that dependency is incomplete."""
    coming = {s.version for s in steps}
    return [
        finding_in(
            "dependency_unmet",
            files[s.version],
            f"migration {s.version} needs {parent}, which is {known[parent].value}",
            f"finish the rollback of {parent} first: `wmigrate down --only {parent}`",
        )
        for s in steps
        for parent in graph.parents[s.version]
        if parent not in coming and known[parent] in (Status.PENDING, Status.INCOMPLETE)
    ]


def _applied_before_dependency(graph: Graph, known: Mapping[str, Status], files: _Files) -> list[Finding]:
    return [
        finding_in(
            "dependency_pending",
            files[version],
            f"migration {version} is applied but {parent}, on which it depends, is pending",
            f"apply {parent} with `wmigrate up`, or correct the dependencies of {version} in the config",
            "warning",
        )
        for version in graph.order
        if known[version] is not Status.PENDING
        for parent in graph.parents[version]
        if known[parent] is Status.PENDING
    ]


def _late(steps: Sequence[Step], known: Mapping[str, Status], policy: LatePolicy, files: _Files) -> list[Finding]:
    newest = max((version_key(v) for v, s in known.items() if s is not Status.PENDING), default=0)
    if policy == "apply":
        return []
    return [
        finding_in(
            "late",
            files[s.version],
            f"migration {s.version} is pending although {newest:03d} is applied: it was merged late or left behind",
            f"give its files a number above {newest:03d}, or set settings.execution.late_migrations to apply",
            "error" if policy == "error" else "warning",
        )
        for s in steps
        if version_key(s.version) < newest
    ]
