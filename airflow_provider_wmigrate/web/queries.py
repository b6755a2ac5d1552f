"""One function per question about a group. Each answers from the target if it may and can, else from what runs left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import convert
from msgspec.structs import replace

from airflow_provider_wmigrate.dag_sql.connections import same_database
from airflow_provider_wmigrate.engine.foreseen import Forecast
from airflow_provider_wmigrate.engine.ledger.history import ACTED, EventFilter, EventPage, events
from airflow_provider_wmigrate.engine.model import Finding, Plan, Script, State, Status, canonical_version

from . import access, migration_states, response_parts, schemas
from .choices import known_version
from .group_view import GroupView
from .happened import event_item, events_from_runs
from .problems import ProblemError
from .runs import runs
from .scripts import Reader

if TYPE_CHECKING:
    from .group_view import GroupView


_EVENTS_OF_ONE = 50
_TOLD = (*ACTED, "dry_run", "not_tried", "refused")
_COMPUTED = ("changed", "missing", "incomplete", "dependency_unmet", "dependency_pending", "late")
"""Findings that come from comparing versions and checksums, which can be done without the folder."""

_OF_EXTENSIONS = ("extension_missing", "extension_not_preloaded", "extension_too_old", "extension_license")
"""Findings that come from what the server has, which only a look at it can tell."""


def summary(view: GroupView) -> schemas.GroupSummary:
    """A group at a glance, without a look at its target."""
    known, source = view.states_from_runs(), view.source(None, live=False)
    last = next(iter(runs(view, 1)), None)
    return schemas.GroupSummary(
        group=view.described,
        state=_state(known, last) if source.kind != "none" else "unknown",
        migrations=len(view.group.steps),
        counts=_counts(known),
        schema_version=known.schema_version,
        last_run=last,
        source=source,
    )


def _state(known: migration_states.MigrationStates, last: schemas.Run | None) -> Any:
    found = set(known.statuses.values())
    if found & {Status.FAILED, Status.CHANGED, Status.MISSING, Status.INCOMPLETE} or (last and last.state == "failed"):
        return "attention"
    return "pending" if Status.PENDING in found else "current"


def _counts(known: migration_states.MigrationStates) -> schemas.Counts:
    return schemas.Counts(**{status.value: number for status, number in known.overview.counts.items()})


def status(view: GroupView, *, search: str | None = None, only: list[Any]) -> schemas.StatusAnswer:
    """Every migration with its status."""
    known, source, _ = view.states()
    word = (search or "").lower()
    found = [
        item
        for item in response_parts.migration_items(view, known)
        if word in f"{item.version}_{item.name} {item.description}".lower() and (not only or item.status in only)
    ]
    return schemas.StatusAnswer(
        group=view.described,
        counts=_counts(known),
        schema_version=known.schema_version,
        ledger_version=known.overview.ledger_version,
        migrations=found,
        last_run=next(iter(runs(view, 1)), None),
        source=source,
    )


def plan(view: GroupView, *, to: str | None = None) -> schemas.PlanAnswer:
    """What a run would do now."""
    known, source, _ = view.states(to=known_version(view.group, to) if to else None)
    made = known.overview.plan
    left = view.own_plan.value if view.own_plan else {}
    same = _as_planned(left, made)
    foreseen = [each for each in left.get("forecast") or () if each["version"] in same]
    forecast = with_tasks(view, convert(foreseen, list[Forecast]))
    return schemas.PlanAnswer(
        group=view.described,
        steps=list(made.steps),
        findings=[*made.findings, *_still_true(view, made, live=source.kind == "live")],
        left_out=made.left_out,
        forecast=forecast,
        blast={each.version: lines for each in forecast if each.blast and (lines := [*each.blast.lines()])},
        backup_needed={v: why for v, why in (left.get("backup_needed") or {}).items() if v in same},
        planned_at=view.own_plan.at if view.own_plan else None,
        planned_run_id=view.own_plan.key.run_id if view.own_plan else None,
        source=source,
    )


def _as_planned(left: Mapping[str, Any], made: Plan) -> set[str]:
    """Versions of the steps that are the same as in the last plan: what was foreseen for them still holds."""
    planned = {(step["action"], step["version"], step["checksum"]) for step in left.get("steps") or ()}
    return {step.version for step in made.steps if (step.action, step.version, step.checksum) in planned}


def _still_true(view: GroupView, made: Plan, *, live: bool) -> list[Finding]:
    """Findings of the last plan that nothing here can compute, as long as the file is the same and still pending."""
    left = view.own_plan.value if view.own_plan else {}
    files = {step.version: step.checksum for step in view.group.steps}
    planned = {step["version"]: step["checksum"] for step in left.get("steps") or ()}

    def holds(found: dict[str, Any]) -> bool:
        version, code = found.get("version"), found.get("code")
        if code in _COMPUTED or (live and code in _OF_EXTENSIONS):
            return False
        if version is None:
            return True
        if version not in files or planned.get(version, files[version]) != files[version]:
            return False
        return made.statuses[version].is_pending or not (version in planned or code in _OF_EXTENSIONS)

    return convert([found for found in left.get("findings") or () if holds(found)], list[Finding])


def history(view: GroupView, *, version: str | None, before: int | None, limit: int) -> schemas.HistoryAnswer:
    """Runs, and what happened to the migrations."""
    version = canonical(version)
    where = EventFilter(events=_TOLD, version=version, before=before)
    found, reason = view.live(lambda conn, ledger: events(conn, ledger, where, limit=limit))
    happened: list[schemas.HistoryEvent] = []
    if found is not None:
        happened = [event_item(view, row) for row in found.rows]
    if not happened and not before:  # a dry run makes no ledger, so that Airflow alone knows of it
        rows = events_from_runs(view)
        happened = [event for event in rows if version in (None, event.version)][:limit]
    return schemas.HistoryAnswer(
        group=view.described,
        runs=runs(view),
        events=happened,
        next_before=found.next_before if found else None,
        source=view.source(reason, live=found is not None),
    )


def migration(view: GroupView, version: str, *, from_line: int) -> schemas.MigrationAnswer:
    """One migration with its scripts, from a line on, and its events."""
    version = str(canonical(version))

    def ask(conn: Any, ledger: Any, state: State) -> tuple[Script | None, EventPage]:
        entry = next((e for e in state.entries if e.version == version), None)
        script = ledger.rollback_script(conn, entry) if entry else None
        return script, events(conn, ledger, EventFilter(version=version), limit=_EVENTS_OF_ONE)

    known, source, answer = view.states(more=ask)
    script, page = answer or (None, EventPage())
    happened = [event_item(view, row) for row in page.rows]
    if not happened:
        happened = [e for e in events_from_runs(view) if e.version == version][:_EVENTS_OF_ONE]
    items = response_parts.migration_items(view, known, version)
    if not items:
        raise ProblemError(404, "unknown_version", f"neither the folder nor the ledger has a migration {version}")
    step, entry = view.steps.get(version), known.entries.get(version)
    live = source.kind == "live"
    scripts = Reader(view.group, access.may_read_code(view.session, view.user, view.group.dag_id), from_line)
    return schemas.MigrationAnswer(
        group=view.described,
        migration=items[0],
        statements_done=entry.statements_done if entry else None,
        statements_total=entry.statements_total if entry else None,
        dependents=[each.version for each in view.group.steps if version in each.dependencies],
        sql=scripts.sql(step),
        rollback=scripts.rollback(step, script, live=live),
        folder_rollback=scripts.rollback(step, None, live=live) if items[0].rollback_differs else None,
        events=happened,
        source=source,
    )


def canonical(version: str | None) -> str | None:
    """A version as the ledger writes it."""
    return None if version is None else canonical_version(version)


def with_tasks(view: GroupView, forecast: Sequence[Forecast]) -> list[Forecast]:
    """The forecast of the last plan, which had no way to Airflow's own database, with what that says."""
    conn_id = view.target.conn_id
    if not any(one.blast for one in forecast) or conn_id is None:
        return [*forecast]
    from airflow.api_fastapi.app import get_auth_manager

    from airflow_provider_wmigrate.dag_sql.serialized import in_metadata
    from airflow_provider_wmigrate.engine.blast import users_elsewhere, words_around

    mine = get_auth_manager().get_authorized_dag_ids(user=view.user, method="GET", session=view.session)
    look = in_metadata(view.session, sure=same_database(conn_id), readable=mine)
    found = look(frozenset(word for one in forecast if one.blast for word in words_around(one.blast)))
    return [replace(one, blast=users_elsewhere(one.blast, found)) if one.blast else one for one in forecast]
