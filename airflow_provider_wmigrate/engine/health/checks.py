"""The answers of a look at a target, as values, and the pure functions that decide them: one per check."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.server import STANDBY
from airflow_provider_wmigrate.engine.errors import ConnectionFailed, WMigrateError
from airflow_provider_wmigrate.engine.ledger.ledger import LEDGER_VERSION
from airflow_provider_wmigrate.engine.model import Finding, LastEvent, Plan, State, Status
from airflow_provider_wmigrate.engine.plain import Plain

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.folder.config.settings import DriftPolicy
    from airflow_provider_wmigrate.engine.plan.drift import Drift

HealthStatus = Literal["healthy", "degraded", "unhealthy"]
CheckStatus = Literal["healthy", "degraded", "unhealthy", "unknown"]
"""`unknown`: not looked at, because something before it was not in order."""

CHECKS = ("connection", "ledger", "checksums", "failures", "pending", "locks", "audit_chain")
"""Names of the checks, in the order in which they are made."""

DRIFT = "drift"
"""The last one, which is made where `settings.drift` is not `ignore`."""


class Check(Plain, frozen=True):
    """One question and its answer: what is so, and what to do next if it should not be."""

    name: str
    status: CheckStatus
    reason: str
    next_step: str = ""


class Health(Plain, frozen=True):
    """The answer to all of them: as bad as the worst."""

    status: HealthStatus
    checks: tuple[Check, ...]
    checked_at: datetime
    duration_ms: int
    pending: int | None = None
    """How many migrations the next run would apply; None: nobody could tell."""
    audit_head: str | None = None
    """`count:hash` of the audit log; given to the next look, it finds a tail that was cut off."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each check that is not in order; what was not looked at has none."""
        wrong = [c for c in self.checks if c.status in ("degraded", "unhealthy")]
        return tuple(f"{c.name}: {c.reason}" + (f"; {c.next_step}" if c.next_step else "") for c in wrong)

    def as_dict(self) -> dict[str, Any]:
        return Plain.as_dict(self) | {"reasons": list(self.reasons)}


class LockHolder(Struct, frozen=True):
    """A session that holds advisory locks of this ledger now: a runner at work, or what is left of one."""

    pid: int
    application: str | None
    versions: tuple[str, ...]
    """Versions it holds exclusively: what it applies or rolls back. Empty: it holds the ledger alone."""
    seconds: float
    """Since its transaction began, or else its last statement."""
    waiting: tuple[int, ...]
    """Sessions that wait for a lock it holds, on a table or anything else."""


# One function per check: values in, a check out


def connection(server_version: int, is_standby: bool, took_ms: int) -> Check:
    major, minor = divmod(server_version, 10_000)
    if is_standby:
        return Check("connection", "degraded", STANDBY, "let the connection lead to the primary")
    return Check("connection", "healthy", f"PostgreSQL {major}.{minor} answered in {took_ms} ms")


def ledger(state: State, schema: str) -> Check:
    if state.ledger_version is None:
        reason = f"there is no ledger in schema {schema}: nothing has been applied here yet"
        return Check("ledger", "degraded", reason, "run the migrations")
    if state.ledger_version < LEDGER_VERSION:
        reason = f"the ledger has version {state.ledger_version}, this wmigrate writes {LEDGER_VERSION}"
        return Check("ledger", "degraded", reason, "the next run upgrades it")
    return Check(
        "ledger", "healthy", f"version {state.ledger_version}, {_count(len(state.entries), 'entry', 'entries')}"
    )


def checksums(plan: Plan, wrong: Sequence[Finding] = ()) -> Check:
    """:param wrong: what keeps the folder from being used at all."""
    found = [*wrong, *(f for f in plan.findings if f.code in ("changed", "missing"))]
    if found:
        reason = _several([f"{f.file}: {f.message}" if f.file else f.message for f in found])
        return Check("checksums", "unhealthy", reason, found[0].next_step)
    applied = sum(status is Status.APPLIED for status in plan.statuses.values())
    return Check("checksums", "healthy", f"{_count(applied, 'applied migration')} as in the folder")


def failures(plan: Plan, lost: Sequence[Finding] = ()) -> Check:
    """Incomplete migrations, and those whose last attempt failed with nothing after it that settled it.

    :param lost: what applied migrations made and TimescaleDB's catalogs do not have any more.
    """
    incomplete = [f for f in plan.findings if f.code == "incomplete"]
    told = {f.version for f in incomplete}
    failed = [a for version, a in plan.failures.items() if version not in told]
    reasons = [f.message for f in incomplete] + [_failed(a) for a in failed]
    if not reasons and lost:
        return Check("failures", "unhealthy", _several([f.message for f in lost]), lost[0].next_step)
    if not reasons:
        return Check("failures", "healthy", "no last attempt failed")
    rollbacks = any(a.direction == "rollback" for a in failed)
    if incomplete:
        return Check("failures", "unhealthy", _several(reasons), incomplete[0].next_step)
    nxt = "fix the rollback script and roll back again" if rollbacks else "fix the migration and run it again"
    over = f"or say that it is over: `wmigrate repair {failed[0].version} --settle`"
    return Check("failures", "unhealthy", _several(reasons), f"{nxt}, {over}")


def _failed(attempt: LastEvent) -> str:
    verb = "rollback" if attempt.direction == "rollback" else "apply"
    at = attempt.at.astimezone(timezone.utc)
    return f"the last {verb} of {attempt.version} failed on {at:%Y-%m-%d %H:%M} UTC: {attempt.error}"


def pending(plan: Plan, lacking: Sequence[Finding] = ()) -> Check:
    """:param lacking: rights on the ledger that a run would need."""
    left_out = [f"{v}: {why}" for v, why in plan.left_out.items() if plan.statuses[v] is Status.LEFT_OUT]
    more = f"; left out: {_several(left_out)}" if left_out else ""
    if not plan.steps:
        return Check("pending", "healthy", f"nothing is pending{more}")
    versions = ", ".join(_named(s.version, plan) for s in plan.steps[:5]) + (" ..." if len(plan.steps) > 5 else "")
    reason = f"{_count(len(plan.steps), 'migration')} pending: {versions}"
    stops = [*(f for f in plan.errors if f.code not in ("changed", "missing", "incomplete")), *lacking]
    if stops:
        return Check("pending", "degraded", f"{reason}; {stops[0].message}{more}", stops[0].next_step)
    return Check("pending", "degraded", f"{reason}{more}", "run the migrations")


def _named(version: str, plan: Plan) -> str:
    """A version, and what its status says beyond that it is pending."""
    status = plan.statuses[version]
    return version if status is Status.PENDING else f"{version} ({status.words})"


def locks(holders: Sequence[LockHolder], budget_seconds: float) -> Check:
    if not holders:
        return Check("locks", "healthy", "nobody holds a lock of this ledger")
    reason = _several([_held(holder) for holder in holders])
    blocking = [h for h in holders if h.waiting]
    if blocking:
        waiting = ", ".join(str(pid) for h in blocking for pid in h.waiting[:5])
        nxt = f"wait, or end it: SELECT pg_cancel_backend({blocking[0].pid})"
        return Check("locks", "degraded", f"{reason}; waiting for it: pid {waiting}", nxt)
    old = [h for h in holders if h.seconds > budget_seconds]
    if old:
        nxt = f"look at pg_stat_activity; if nobody works there: SELECT pg_terminate_backend({old[0].pid})"
        return Check("locks", "degraded", f"{reason}: longer than any migration may take", nxt)
    return Check("locks", "healthy", reason)


def _held(holder: LockHolder) -> str:
    what = f"migration {', '.join(holder.versions)}" if holder.versions else "the ledger"
    who = f" ({holder.application})" if holder.application else ""
    return f"pid {holder.pid}{who} holds {what} since {holder.seconds:.0f} s"


def drift(found: Drift, policy: DriftPolicy) -> Check:
    wrong = found.finding(policy)
    if wrong is None:
        assert found.known is not None
        return Check(DRIFT, "healthy", f"the schema is as it was known {found.known.since}")
    return Check(DRIFT, "unhealthy" if wrong.severity == "error" else "degraded", wrong.message, wrong.next_step)


def refused(name: str, error: Exception) -> Check:
    """The check during which the database said no, or the connection broke."""
    hint = error.hint if isinstance(error, WMigrateError) else ""
    message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    message = message.removesuffix(f"; {hint}")
    if isinstance(error, ConnectionFailed):
        return Check(
            name, "unhealthy", message, hint or "check that the server runs and that the connection points to it"
        )
    if hint:
        return Check(name, "unhealthy", message, hint)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Check(name, "unhealthy", message, "grant the role SELECT on the ledger's tables")
    return Check(name, "unhealthy", message, "look at the server's log")


def unanswered(name: str, limit: float) -> Check:
    nxt = "see what the server does; the limit is monitoring.health_check.timeout_seconds"
    return Check(name, "unhealthy", f"no answer within {limit:g} s", nxt)


def worst(checks: Sequence[Check]) -> HealthStatus:
    found = {check.status for check in checks}
    return "unhealthy" if "unhealthy" in found else "degraded" if "degraded" in found else "healthy"


def _several(sentences: Sequence[str]) -> str:
    more = f" (and {len(sentences) - 3} more)" if len(sentences) > 3 else ""
    return "; ".join(sentences[:3]) + more


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
