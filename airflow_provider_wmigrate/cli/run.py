"""up and down once it is planned what they do: asked, then done step by step and shown."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_wmigrate.engine.errors import OutsideWindow, WMigrateError
from airflow_provider_wmigrate.engine.events import Event, Finished
from airflow_provider_wmigrate.engine.model import Direction, Finding, Plan
from airflow_provider_wmigrate.engine.record import Outcome, Record, taken_first, together

from .call import Answer, Call, identity
from .confirm import VERB, beside_yes, confirm, going
from .failure import DONE, FOUND, Interrupted
from .interrupt import Stop, state_sentence, stoppable
from .progress import Progress
from .screen import Screen, plural, took

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.migrator import Migrator
    from airflow_provider_wmigrate.engine.plan.backup_needs import Needs
    from airflow_provider_wmigrate.engine.record import Backup
    from airflow_provider_wmigrate.engine.recording_runs import WholeRun
    from airflow_provider_wmigrate.engine.session.scratch import ScratchServer

    from .target import Target

_DONE: dict[Direction, str] = {"apply": "applied", "rollback": "rolled back"}


@dataclass
class Run:
    """One `up` or `down`.

    :param document: as programs get it, before anything is done. :param idle: what is said where there is no step.
    :param losses: what a rollback will take away, and give back, by version.
    :param needs: what needs a backup before it.
    """

    call: Call
    plan: Plan
    findings: list[Finding]
    document: dict[str, Any]
    idle: str
    losses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: Needs = field(default_factory=dict)
    backup: Backup | None = None
    tried_again: set[str] = field(default_factory=set)

    def answer(self) -> Answer:
        call, dry_run = self.call, bool(self.call.arguments.dry_run)
        if not call.screen.as_json:
            for finding in self.findings:
                call.screen.tell(f"{finding.severity}: {finding}")
            if dry_run:
                self._tell_losses()
        records: list[Record] = []
        if self.plan.steps:
            if not dry_run:
                self._confirm()
            self._go(dry_run, records)
        elif self.plan.direction == "apply" and self.plan.failures and not dry_run:
            call.migrator().record_success()  # it says that one goes on with what is applied
        untried = _not_tried(records)
        data = self.document | {
            "backup": self.backup and self.backup.as_dict(),
            "records": records,
            "by_another_runner": [record.version for record in self._by_another(records)],
            "not_tried": [record.reason for record in untried],
        }
        there = [record.on_scratch.outcome for record in untried if record.on_scratch]
        nothing = (bool(records) and len(untried) == len(records) and "ran" not in there) or "failed" in there
        return Answer(data, lambda screen: self._show(screen, records, dry_run), FOUND if nothing else DONE)

    def _tell_losses(self) -> None:
        """Before anything is done, where nobody is asked."""
        for version, losses in self.losses.items():
            for loss in losses:
                self.call.screen.tell(f"{version} {loss}")

    def _confirm(self) -> None:
        plan, arguments = self.plan, self.call.arguments
        verb, count = VERB[plan.direction].capitalize(), plural(len(plan.steps), "migration")
        names = ""
        for step in plan.steps:
            lost = "".join(f"\n      {loss}" for loss in self.losses.get(step.version, ()))
            need = self.needs.get(step.version)
            lost += f"\n      after a backup: {need.why}" if need else ""
            names += f"\n  {step.version}_{step.name}{lost}"
        question = f"{verb} {count} on {self.call.target}:{names}"
        if plan.direction == "apply":
            confirm(self.call, question)
            return
        prompt = f"Roll back {count} ({going(plan)})?"
        beside = beside_yes(arguments.version, plan)
        if arguments.yes and not beside and not self.call.screen.as_json:
            self._tell_losses()
        confirm(self.call, question, prompt=prompt, beside_yes=beside)

    def _go(self, dry_run: bool, records: list[Record]) -> None:
        with Progress(self.call.screen, len(self.plan.steps)) as progress:
            stop = Stop()
            if not dry_run:
                self.call.partial["records"] = records

            def listen(event: Event) -> None:
                stop.hear(event)
                if isinstance(event, Finished) and not dry_run:
                    records.append(event.record)
                progress(event)

            migrator = self.call.migrator(listen)
            with stoppable(migrator, stop, progress.tell):
                if dry_run:
                    records += self._dry_run(migrator, stop)
                    return
                self._each(migrator, records, stop, progress)

    def _each(self, migrator: Migrator, records: list[Record], stop: Stop, progress: Progress) -> None:
        try:
            self._patiently(migrator, records, stop, progress)
        except (WMigrateError, KeyboardInterrupt) as error:
            if stop.requested:
                said = "stopped without waiting" if isinstance(error, KeyboardInterrupt) else str(error)
                stop.settled.set()
                raise Interrupted(f"{said}; {state_sentence(migrator)}") from error
            others = self._by_another(records)
            mine = [record.version for record in records if record not in others]
            if mine and not self.call.screen.as_json:
                kept = ", ".join(mine)
                progress.tell(f"{_DONE[self.plan.direction]} before and kept: {kept}")
            raise

    def _patiently(self, migrator: Migrator, records: list[Record], stop: Stop, progress: Progress) -> None:
        """Again from the one that failed on, where that may heal it, as settings.execution says.

        :param records: what the migrator has told; it grows.
        """
        from airflow_provider_wmigrate.engine.recording_runs import WholeRun

        run = migrator.roll_back_each
        if self.plan.direction == "apply":
            run = partial(migrator.apply_each, jobs=self.call.arguments.jobs)
        execution = migrator.settings.execution
        left = execution.retry_attempts
        details = {"direction": self.plan.direction, "steps": [step.version for step in self.plan.steps]}
        whole = WholeRun(details)
        self._back_up(migrator, whole)
        while steps := self._not_done(records):
            before = len(records)
            try:
                run(steps, whole=whole, go_on=lambda: not stop.requested)
                if stop.requested and (steps := self._not_done(records)):
                    raise Interrupted(f"stopped on request before {steps[0]}")
            except OutsideWindow as error:
                if not error.waits or error.opens is None or stop.requested:
                    raise
                progress.tell(str(error))
                _sleep((error.opens - migrator.now()).total_seconds(), stop)
            except WMigrateError as error:
                left = left if len(records) == before else execution.retry_attempts
                if not error.retryable or stop.requested or not left or not self._not_done(records):
                    raise
                left -= 1
                self.tried_again.update(self._not_done(records))  # any of them may be done, and not told
                progress.tell(f"{error}; again in {execution.retry_delay_seconds} s, {left + 1} tries left")
                _sleep(execution.retry_delay_seconds, stop)

    def _back_up(self, migrator: Migrator, run: WholeRun) -> None:
        """Before anything is done: the plan's row, which says what needs a backup, and then the backup."""
        self.backup = migrator.begin_attempt(self.plan, self.needs, run.details)
        run.head = migrator.attempt
        if self.backup:
            self.call.partial["backup"] = self.backup.as_dict()

    def _not_done(self, records: Iterable[Record]) -> list[str]:
        done = {record.version for record in records}
        return [step.version for step in self.plan.steps if step.version not in done]

    def _dry_run(self, migrator: Migrator, stop: Stop) -> list[Record]:
        steps = [step.version for step in self.plan.steps]
        try:
            return migrator.try_each(
                steps, self.plan.direction, scratch=self._scratch(), go_on=lambda: not stop.requested
            )
        finally:
            if stop.requested:
                raise Interrupted("stopped on request; a dry run leaves nothing behind")

    def _scratch(self) -> ScratchServer | None:
        """Where what cannot be tried here may be tried; None: nobody has named a server."""
        from airflow_provider_wmigrate.engine.session.scratch import ScratchServer

        if self.call.arguments.scratch == "target":
            return ScratchServer(self.call.target.connect)
        apart = self.call.scratch_target
        return ScratchServer(apart.connect, apart=True) if apart else None

    def _show(self, screen: Screen, records: list[Record], dry_run: bool) -> None:
        if not self.plan.steps:
            screen.line(self.idle)
            return
        if dry_run:
            _show_dry_run(screen, self.call.target, records)
            return
        others = self._by_another(records)
        done = _DONE[self.plan.direction]
        total = took(sum(record.duration_ms for record in records))
        what = f"{done.capitalize()} {plural(len(records) - len(others), 'migration')}"
        screen.title(f"{what} in {total} on {self.call.target}.")
        if self.backup:
            screen.line(f"{str(self.backup)[0].upper()}{str(self.backup)[1:]}.")
        if others:
            were = "was" if len(others) == 1 else "were"
            names = ", ".join(record.version for record in others)
            screen.line(f"{len(others)} {were} {done} by another runner meanwhile: {names}.")
        _show_felt(screen, records)

    def _by_another(self, records: Iterable[Record]) -> list[Record]:
        """What somebody else had done when its turn came. Not what a try of this call did, and could not say so."""
        found = [r for r in records if r.outcome in (Outcome.ALREADY_APPLIED, Outcome.NOT_APPLIED)]
        return [r for r in found if r.version not in self.tried_again or r.identity != identity()]


def _show_dry_run(screen: Screen, target: Target, records: list[Record]) -> None:
    untried = _not_tried(records)
    for record in untried:
        screen.line(f"not tried: {record.reason}")
        if record.on_scratch:
            screen.line(f"  {record.on_scratch}")
    tried = len(records) - len(untried)
    if not tried:
        screen.line(f"Dry run on {target}: nothing was tried.")
        _show_forecasts(screen, records)
        return
    what = f"{tried} of {plural(len(records), 'migration')} were tried, and rolled back."
    screen.line(f"Dry run on {target}: {what if untried else 'everything was rolled back.'}")
    _show_felt(screen, records)
    locks = [
        (version, f"{lock.what} (dropped)" if lock.dropped else lock.what, lock.mode)
        for version, taken in taken_first(records).items()
        for lock in taken
    ]
    if locks:
        screen.table(("Version", "Locked", "Mode"), locks)
    anew = [f"  {record.version}: {', '.join(record.rewritten)}" for record in records if record.rewritten]
    for line in ["Written anew:", *anew] if anew else ():
        screen.line(line)
    _show_forecasts(screen, records)


def _not_tried(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.outcome is Outcome.NOT_TRIED]


def _show_felt(screen: Screen, records: Iterable[Record]) -> None:
    """What others felt of all of it."""
    felt = together(record.bystanders for record in records if record.bystanders)
    if felt:
        said = str(felt)
        screen.line(f"{said[0].upper()}{said[1:]}.")


def _show_forecasts(screen: Screen, records: Iterable[Record]) -> None:
    """Who would have waited, and where the forecast of that was wrong."""
    foreseen = [record.forecast for record in records if record.forecast]
    for title, told in (
        ("Who would wait:", [(forecast.version, forecast.lines()) for forecast in foreseen]),
        ("Not as foreseen:", [(forecast.version, forecast.differences) for forecast in foreseen]),
    ):
        lines = [f"  {version}: {line}" for version, said in told for line in said]
        for line in [title, *lines] if lines else ():
            screen.line(line)


def _sleep(seconds: float, stop: Stop) -> None:
    end = time.monotonic() + seconds
    while not stop.requested and time.monotonic() < end:
        time.sleep(0.1)
