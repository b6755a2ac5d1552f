"""What the steps of a plan will do: looks at the files and asks the target, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace
from psycopg.errors import InsufficientPrivilege

from .errors import HistoryError
from .model import Finding, Migration, Plan, Script
from .planning import Planning
from .session.message import ask, values
from .session.session import Session

if TYPE_CHECKING:
    from .blast import Elsewhere
    from .catalog.relations import RelationFacts
    from .foreseen import Forecast
    from .lock_modes import Learnt
    from .plan.backup_needs import Need
    from .plan.forecast import Ahead, Foreseen
    from .sql.script import Analysis

    Analysed = Callable[[Script], Analysis]


class LookingAhead(Planning):
    """Says of plans what they mean; see `Planning` for what it is made of."""

    def in_files(self, plan: Plan, analysed: Analysed) -> list[Finding]:
        """What speaks against the steps of a plan in the folder and in their scripts.

        :param analysed: as for `forecast`.
        """
        going = [self.migrations[step.version] for step in plan.steps if step.version in self.migrations]
        if plan.direction == "rollback":
            from .plan.script_rules import empty_rollbacks

            return [*empty_rollbacks(going)]
        from .plan.folder_rules import folder_findings

        found = [*folder_findings(self._folder)]
        if going:
            from .plan.proven import unproven
            from .plan.script_rules import script_findings

            known, config = [*self.migrations.values()], self._folder.config
            found += unproven(self._folder, {migration.version for migration in going})
            found += script_findings(going, config, known, analysed=analysed)
        return found

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
        from .plan.forecast import forecasts
        from .run.plan_findings import findings_of_apply, findings_of_rollback

        with self._access.open("read") as session:
            scripts, facts = self._ahead(session, plan, analysed)
            made, found = forecasts(scripts(), facts)
            if plan.direction == "apply":
                from .blast import with_blast

                made = self._with_losses(session, made, scripts(), facts) if lost else made
                made = with_blast(session.conn, made, scripts, facts, elsewhere)
                return made, (*found, *findings_of_apply(session, self.migrations, scripts, facts))
            found += tuple(findings_of_rollback(session, self.ledger.schema, self.migrations, plan, scripts, facts))
            return self._with_losses(session, made, scripts(), facts), found

    def refuse_drops_of_others(self, plan: Plan) -> None:
        """For rollbacks that nobody looks at before they act.

        :raises HistoryError: through CASCADE they would take along what none of their migrations has made.
        """
        from .sql.analysis import analyse

        _, found = self.forecast(plan, analyse)
        others = [finding for finding in found if finding.code == "drops_of_others" and finding.severity == "error"]
        if others:
            raise HistoryError(others)

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
