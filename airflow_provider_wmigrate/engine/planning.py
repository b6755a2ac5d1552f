"""What has to be done, read and planned: looks at the target and the folder, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from psycopg.errors import InsufficientPrivilege

from .folder.folder import Folder, normalise_version, version_that_stays
from .folder.graph import Graph
from .folder.scripts import of_timescaledb
from .ledger.access import LedgerAccess
from .ledger.ledger import Ledger
from .model import Finding, Identity, Migration, Plan, Script, State
from .plan.found import with_found
from .plan.overview import Overview, overview
from .session.message import ask, values
from .session.session import Connect, Session

if TYPE_CHECKING:
    from .blast import Elsewhere
    from .catalog.relations import RelationFacts
    from .events import Listener
    from .lock_modes import Forecast, Learnt
    from .plan.backup_needs import Need
    from .plan.forecast import Ahead, Foreseen
    from .plan.rollback import RollbackSource
    from .sql.script import Analysis

    Analysed = Callable[[Script], Analysis]


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

    def forecast(
        self, plan: Plan, analysed: Analysed, elsewhere: Elsewhere | None = None, *, lost: bool = False
    ) -> Foreseen:
        """What the steps of a plan will lock, and which should be split: one question of the catalogs for all of them,
        and one for what dry runs have shown.

        It says too who uses what they take away under its name, and of a rollback what that will take away. Left out
        are scripts that cannot be read: findings.

        :param analysed: analyses a script; it may be asked for one twice.
        :param elsewhere: gives who may use something outside of the database; asked only where something goes.
        :param lost: what they take away is wanted of an apply too.
        """
        if not plan.steps:  # to read SQL takes modules that nothing else needs
            return (), ()
        from .blast import with_blast
        from .plan.forecast import forecasts
        from .run.plan_findings import findings_of_apply, findings_of_rollback

        with self._access.open("read") as session:
            scripts, facts = self._ahead(session, plan, analysed)
            made, found = forecasts(scripts(), facts)
            if plan.direction == "apply":
                made = self._with_losses(session, made, scripts(), facts) if lost else made
                made = with_blast(session.conn, made, scripts, facts, elsewhere)
                return made, (*found, *findings_of_apply(session, self.migrations, scripts, facts))
            found += tuple(findings_of_rollback(session, self.ledger.schema, self.migrations, plan, scripts, facts))
            return self._with_losses(session, made, scripts(), facts), found

    def _with_losses(
        self, session: Session, made: Sequence[Forecast], scripts: Iterable[Ahead], facts: RelationFacts
    ) -> tuple[Forecast, ...]:
        from .catalog.row_counts import count_rows
        from .plan.losses import lost, to_count, told

        found = lost(scripts, facts)
        counted = count_rows(session.conn, to_count(found))
        return tuple(replace(each, losses=told(found[each.version], facts, counted)) for each in made)

    def backup_needs(self, plan: Plan, analysed: Analysed) -> dict[str, Need]:
        """The steps of a plan that need a backup before them, as the settings, the config and the database say.

        :param analysed: as for `forecast`.
        """
        settings = self.settings.backup
        if not plan.steps or not settings.before(plan.direction):
            return {}
        from .catalog.row_counts import count_rows
        from .plan.backup_needs import needs, touched
        from .plan.losses import lost, to_count, told

        with self._access.open("read") as session:
            scripts, facts = self._ahead(session, plan, analysed)
            found = lost(scripts(), facts)
            counted = count_rows(session.conn, to_count(found))
        losses = {version: told(each, facts, counted) for version, each in found.items()}
        relations = touched(scripts(), facts, found) if settings.backup_scope == "relations" else {}
        checksums = {script.version: script.analysis.script.checksum for script in scripts()}
        blocks = self._folder.config.migrations
        return needs(plan, lambda v: blocks[v].backup if v in blocks else None, losses, relations, checksums)

    def evidence(self, plan: Plan, analysed: Analysed) -> tuple[Finding, ...]:
        """What the steps of a plan do to tables of which the server knows how large they are: rules of `lint`."""
        if not plan.steps:
            return ()
        from .plan.lint_rules import with_rows

        with self._access.open("read") as session:
            scripts, facts = self._ahead(session, plan, analysed)
        return tuple(with_rows(scripts(), facts))

    def _ahead(
        self, session: Session, plan: Plan, analysed: Analysed
    ) -> tuple[Callable[[], Iterator[Ahead]], RelationFacts]:
        """The scripts of a plan's steps, one at a time, and what the catalogs know of all that they name."""
        from .catalog.relations import relation_facts, relations_message
        from .catalog.relations_sql import text
        from .catalog.relations_wanted import wanted_of_all
        from .lock_modes import KnownLock
        from .plan.forecast import ahead
        from .plan.giving_back import locks_of_kept
        from .plan.lock_order import names_of
        from .run.plan_findings import kept_by_version

        settings = self.settings.execution
        migrations = self.migrations if plan.direction == "apply" else self._rolling_back(session, plan)
        going = [migrations[step.version] for step in plan.steps if step.version in migrations]
        learnt = self._learnt(session, going) if plan.direction == "apply" else {}
        known = [KnownLock(*lock) for migration in going for lock in migration.locks]
        known += [lock for each in learnt.values() for lock in each.locks]
        kept = kept_by_version(session, self.ledger.schema) if plan.direction == "rollback" else {}
        known += [lock for each in kept.values() for lock in locks_of_kept(each)]
        scripts = partial(ahead, plan, migrations, analysed, settings, learnt, kept)
        asked = wanted_of_all((script.analysis for script in scripts()), names_of(known))
        question = relations_message(text(asked, session.conn.info.server_version))
        return scripts, relation_facts(values(ask(session.conn, question)[1])[0])

    def _rolling_back(self, session: Session, plan: Plan) -> dict[str, Migration]:
        """The migrations of a rollback's steps with the scripts that will run, also where only the ledger has one."""
        from .plan.rollback import rollback_of, stand_in

        found: dict[str, Migration] = {}
        versions = [step.version for step in plan.steps]
        with self._access.reaching(session):
            for entry in self.ledger.entries(session.conn, versions):
                migration = self.migrations.get(entry.version)
                known = migration or stand_in(entry)
                if rollback_of(migration, entry, self.rollback_script) == "ledger":
                    known = replace(known, rollback=self.ledger.rollback_script(session.conn, entry))
                found[entry.version] = known
        return found

    def _learnt(self, session: Session, going: Sequence[Migration]) -> dict[str, Learnt]:
        """From dry runs, as far as this role may read of them."""
        from .ledger.last_dry_run import learnt_from_dry_runs

        if self.ledger.version(session.conn) is None:
            return {}
        scripts = {migration.version: migration.script.checksum for migration in going}
        with suppress(InsufficientPrivilege):
            return learnt_from_dry_runs(session.conn, self.ledger.schema, scripts)
        return {}

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
