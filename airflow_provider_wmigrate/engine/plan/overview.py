"""The whole picture of a target: where each migration stands, and why. One answer for command line, API and page."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Entry, LastEvent, LatePolicy, Migration, Plan, State, Status

from .planner import plan_apply


class Standing(Struct, frozen=True):
    """One migration on one target. At least one of `migration` and `entry` is there."""

    version: str
    status: Status
    migration: Migration | None
    entry: Entry | None
    reason: str
    """Why `up` will not run it here; empty: no such reason."""
    failure: LastEvent | None
    """Its last attempt, which failed and which nothing has settled."""

    @property
    def name(self) -> str:
        """As the folder has it, else the ledger."""
        known = self.migration or self.entry
        assert known is not None
        return known.name


class Overview(Struct, frozen=True):
    """Every migration of a folder and a ledger, in numeric order, with the plan that `up` would follow."""

    plan: Plan
    standings: tuple[Standing, ...]
    ledger_version: int | None
    """None: the database has no ledger yet."""

    @property
    def counts(self) -> dict[Status, int]:
        """How many of each status there are, those with none left out."""
        found = [standing.status for standing in self.standings]
        return {status: found.count(status) for status in Status if status in found}


def overview(
    migrations: Sequence[Migration],
    graph: Graph,
    state: State,
    *,
    to: str | None = None,
    late: LatePolicy = "apply",
) -> Overview:
    """See `plan_apply` for the arguments."""
    plan = plan_apply(migrations, graph, state, to=to, late=late)
    files = {m.version: m for m in migrations}
    rows = {e.version: e for e in state.entries}
    standings = tuple(
        Standing(v, status, files.get(v), rows.get(v), plan.left_out.get(v, ""), plan.failures.get(v))
        for v, status in plan.statuses.items()
    )
    return Overview(plan, standings, state.ledger_version)
