"""What runs migrations knows of a folder and its target; and dry runs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import WMigrateError
from .events import Finished
from .folder.config.settings import Window
from .looking_ahead import LookingAhead
from .model import Direction
from .record import Record
from .run.directions import Applying, RollingBack
from .run.gate import Gate
from .sql.analysis import Analyses

if TYPE_CHECKING:
    from .session.connection import Connect
    from .session.scratch import ScratchServer

_D = TypeVar("_D", Applying, RollingBack)


class Trying(LookingAhead):
    """Tries the migrations of one folder in one database; see `Planning` for what it is made of."""

    on_scratch = False
    """The database is nobody's: for it no window and no guard holds, no backup is made, no schema kept."""

    @cached_property
    def analyses(self) -> Analyses:
        """The scripts that are parsed; may be those of whoever has looked for mistakes in them."""
        return Analyses()

    def try_each(
        self,
        versions: Sequence[str],
        direction: Direction = "apply",
        *,
        scratch: ScratchServer | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> list[Record]:
        """A dry run: execute migrations, and what they need, in one transaction that is rolled back; each is told.

        :param versions: not empty, in an order in which it can be done.
        :param scratch: where what cannot be tried so is run, as long as `go_on`; None: nowhere.
        :return: a record of each that was run, and of each of `versions` that was not.
        :raises WMigrateError: as for `apply`; a rollback script that fails is `StatementFailed` too.
        """
        from .run.scratch_trial import ScratchTrial
        from .run.trial import Trial

        self._allow(dry_run=True, direction=direction)
        trial = Trial(self.graph, self._access, self._finished)
        back = direction == "rollback"
        records = trial.run(self._back() if back else self._directed(Applying), versions)
        if scratch is None:
            return records
        apart = ScratchTrial(scratch, self._for_scratch, self.migrations, direction, self._access.tell, go_on)
        return apart.completed(records, self.read, self.graph.order)

    def _for_scratch(self, connect: Connect) -> Any:
        made = type(self)(connect, self._folder, identity=self._access.identity, environment=self.environment)
        made.analyses, made.on_scratch, self._there = self.analyses, True, made
        return made

    _there: Trying | None = None
    """Works on a scratch database."""

    def cancel(self) -> None:
        """Cancel on the server whatever this migrator is doing. Safe in a signal handler."""
        self._access.cancel()
        if self._there is not None:
            self._there.cancel()

    def _directed(self, kind: type[_D]) -> _D:
        settings, mine = self.settings, not self.on_scratch
        guard = settings.guard if mine and settings.guard.enabled else None
        gate = Gate(settings.window if mine else Window(), self.now, self.outside_window, guard)
        return kind(self.migrations, self._access, self.settings, self.analyses, gate)

    def _back(self) -> RollingBack:
        return replace(self._directed(RollingBack), choice=self.rollback_script)

    def _finished(self, record: Record) -> Record:
        self._access.tell(Finished(record))
        return record

    def _allow(self, *, dry_run: bool, direction: Direction) -> None:
        self._folder.refuse_if_wrong()
        execution = self.settings.execution
        if dry_run and not execution.dry_run_enabled:
            raise WMigrateError("dry runs are switched off", hint="settings.execution.dry_run_enabled is false")
        if direction == "rollback" and not execution.rollback_enabled:
            raise WMigrateError("rollbacks are switched off", hint="settings.execution.rollback_enabled is false")
