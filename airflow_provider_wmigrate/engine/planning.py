"""What has to be done, read and planned: looks at the target and the folder, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .folder.folder import Folder, normalise_version, version_that_stays
from .folder.graph import Graph
from .folder.scripts import of_timescaledb
from .ledger.access import LedgerAccess
from .ledger.ledger import Ledger
from .model import Finding, Identity, Plan, State
from .plan.found import with_found
from .plan.overview import Overview, overview
from .session.session import Connect, Session

if TYPE_CHECKING:
    from .events import Listener
    from .plan.rollback import RollbackSource


def _ignore(_: object) -> None:
    return None


class Planning:
    """Reads and plans the migrations of one folder in one database.

    :param connect: opens a new psycopg connection to the target; called once per call and migration.
    :param folder: the folder, already read.
    :param identity: who acts, for the ledger.
    :param environment: name of an environment of the config, or None.
    :param on_event: told every event, one at a time; not always in the thread that called.
    :param rollback_script: which one is run where ledger and folder have different ones. None: that is refused.
    :param outside_window: why migrations may begin although the window of the environment is closed, for the audit log;
        empty: they may not.
    """

    now: Callable[[], datetime] = staticmethod(partial(datetime.now, timezone.utc))
    """The time, with its zone, for windows."""

    def __init__(
        self,
        connect: Connect,
        folder: Folder,
        *,
        identity: Identity,
        environment: str | None = None,
        on_event: Listener = _ignore,
        rollback_script: RollbackSource | None = None,
        outside_window: str = "",
    ) -> None:
        self.rollback_script = rollback_script
        self.outside_window = outside_window
        self.environment = environment
        self.settings = folder.config.settings_for(environment)
        self.graph: Graph = folder.graph
        self.migrations = {m.version: m for m in folder.under(self.settings)}
        self._folder = folder
        wait = self.settings.execution.lock_wait_seconds
        ledger = Ledger(self.settings.ledger.schema_name)
        self._access = LedgerAccess(connect, ledger, identity, on_event, wait_seconds=wait)

    @property
    def ledger(self) -> Ledger:
        """The ledger of the target."""
        return self._access.ledger

    def read(self) -> State:
        """What the database remembers. Changes nothing, creates nothing."""
        with self._access.open("read") as session, self._access.reaching(session):
            return self.ledger.state(session.conn)

    def head(self) -> str | None:
        """`count:hash` of the audit log's last row, read from the database; None: it has no ledger."""
        with self._access.open("read") as session, self._access.reaching(session):
            return self.ledger.head(session.conn)

    def plan(self, *, to: str | None = None, known_head: str | None = None) -> Plan:
        """What `apply` would have to do.

        :param known_head: head of the audit log as it was last seen, kept outside the database; a log that is not
            that one continued is a finding.
        """
        return self.overview(to=to, known_head=known_head).plan

    def overview(self, *, to: str | None = None, known_head: str | None = None) -> Overview:
        """Where every migration stands, with the plan of what `apply` would have to do.

        :param known_head: as for `plan`.
        """
        target = normalise_version(to, self.migrations) if to else None
        late = self.settings.execution.late_migrations
        state, found = self._read_and_compare(known_head)
        made = overview(list(self.migrations.values()), self.graph, state, to=target, late=late)
        return replace(made, plan=with_found(found, made.plan))

    def window_findings(self, plan: Plan) -> Iterator[Finding]:
        """Why the steps of a plan may not begin now, by the window of the environment."""
        if self.settings.window.open and not self.outside_window:
            from .plan.window import window_findings  # most folders have none

            yield from window_findings(self.settings.window, self.now(), plan.steps)

    def plan_rollback(self, *, to: str | None, known_head: str | None = None) -> Plan:
        """What must be rolled back to leave nothing above version `to`; None or `nothing` means everything.

        :param known_head: as for `plan`.
        """
        state, found = self._read_and_compare(known_head)
        from .plan.rollback import plan_rollback

        target = version_that_stays(to, self._known(state))
        return with_found(
            found, plan_rollback(list(self.migrations.values()), state, to=target, choice=self.rollback_script)
        )

    def plan_rollback_steps(self, steps: int) -> Plan:
        """What must be rolled back to take away the last `steps` applied migrations, or all if there are no more."""
        state, found = self._read_and_compare(None)
        from .plan.rollback import plan_rollback_steps

        return with_found(
            found, plan_rollback_steps(list(self.migrations.values()), state, steps, self.rollback_script)
        )

    def plan_rollback_of(self, version: str, *, known_head: str | None = None) -> Plan:
        """What rolling back this one migration alone means, and what stands in its way.

        :param known_head: as for `plan`.
        """
        state, found = self._read_and_compare(known_head)
        from .plan.rollback import plan_rollback_of

        version = normalise_version(version, self._known(state), where="this folder or the ledger")
        return with_found(found, plan_rollback_of(list(self.migrations.values()), state, version, self.rollback_script))

    def _known(self, state: State) -> set[str]:
        return {*self.migrations, *(e.version for e in state.entries)}

    def _read_and_compare(self, known_head: str | None) -> tuple[State, tuple[Finding, ...]]:
        with self._access.open("read") as session, self._access.reaching(session):
            found = self.ledger.continues(session.conn, known_head) if known_head else None
            drift = self.settings.drift
            state, lacking = self.ledger.state_and_rights(session.conn, keeps=drift != "ignore")
            applied = {entry.version for entry in state.entries if entry.status == "applied"}
            looks = any(of_timescaledb(m.script) for m in self.migrations.values())
            more = self._of_timescaledb(session, applied) if looks else ()
            changed: Sequence[Finding] = ()
            if drift != "ignore" and state.ledger_version is not None:
                from .ledger.known_schema import changed_by_others  # most do not pay for it

                changed = changed_by_others(session.conn, self.ledger.schema, state.ledger_version, drift)
            return state, (*([found] if found else []), *changed, *lacking, *more)

    def _of_timescaledb(self, session: Session, applied: Collection[str]) -> Iterator[Finding]:
        from .catalog import refreshes  # reads SQL; most folders do not pay for it
        from .catalog.timescale_state import lost

        yield from lost(session.conn, (m.script for m in self.migrations.values() if m.version in applied))
        for migration in self.migrations.values():
            if migration.version not in applied:
                yield from refreshes.findings(session.conn, migration)
