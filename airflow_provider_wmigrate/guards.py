"""Keeping a load and migrations apart: a context manager, a decorator, arguments of an operator, and a task group.

A migration waits for loads only where `settings.guard.enabled` says so.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ContextDecorator, ExitStack
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import TaskGroup, get_current_context
from airflow.sdk.exceptions import AirflowException

from .defaults import chosen_conn_id, guard_wait_seconds
from .engine.errors import ConnectionFailed
from .folder_operator import airflow_errors
from .hooks import MigrationHook

if TYPE_CHECKING:
    from .engine.session.loads import Holder

log = logging.getLogger(__name__)


class LoadGuard(ContextDecorator):
    """See `load_guard`.

    :param name: of the load; None: that of the task that runs.
    """

    def __init__(
        self, conn_id: str | None, wait_seconds: float | None, on_lost: Literal["fail", "warn"], name: str | None = None
    ) -> None:
        if on_lost not in ("fail", "warn"):
            raise ValueError(f"on_lost must be fail or warn, not {on_lost!r}")
        self.conn_id, self.wait_seconds, self.on_lost, self.name = conn_id, wait_seconds, on_lost, name
        self._stack = ExitStack()
        self._ended: Callable[[], None] = lambda: None

    def __call__(self, function: Any) -> Any:
        """:raises TypeError: its work would be done when the guard is gone."""
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"{function.__name__} works after it has returned: write `with load_guard(...)` inside it")
        return super().__call__(function)

    def _recreate_cm(self) -> LoadGuard:
        """Each call of a decorated function has a guard of its own."""
        return type(self)(self.conn_id, self.wait_seconds, self.on_lost, self.name)

    def __enter__(self) -> LoadGuard:
        from .engine.session.loads import load_guard

        conn_id, wait = chosen_conn_id(self.conn_id), self.wait_seconds
        wait = guard_wait_seconds() if wait is None else wait
        with airflow_errors():
            held = load_guard(MigrationHook(conn_id).get_conn, self.name or _here(), wait_seconds=wait, told=_told)
            self._ended = self._stack.enter_context(held)
        log.info("no migration begins on %s until this load has ended", conn_id)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        with airflow_errors(), self._stack:
            if error is not None:
                return
            try:
                self._ended()
            except ConnectionFailed as lost:
                if self.on_lost == "fail":
                    raise
                log.warning("%s", lost)


def load_guard(
    conn_id: str | None = None, *, wait_seconds: float | None = None, on_lost: Literal["fail", "warn"] = "fail"
) -> LoadGuard:
    """While it is held no migration begins; those that are at work are waited for. A context manager and a decorator.

    .. code-block:: python

        @task
        @load_guard("warehouse_db")
        def load_orders(): ...

    :param conn_id: id of the Airflow connection to the target database. None: the id that `conn_id` in section
        `[wmigrate]` of airflow.cfg names.
    :param wait_seconds: how long migrations are waited for; the task fails then, and is retried like after any failure.
        None: `guard_wait_seconds` in section `[wmigrate]`.
    :param on_lost: what happens when the connection that held it was lost meanwhile: `fail` the task at its end, or
        `warn` in its log.
    """
    return LoadGuard(conn_id, wait_seconds, on_lost)


def guarded(
    conn_id: str | None = None, *, wait_seconds: float | None = None, on_lost: Literal["fail", "warn"] = "fail"
) -> dict[str, Any]:
    """Arguments that give an operator a guard for its whole work: `pre_execute` and `post_execute`.

    .. code-block:: python

        SQLExecuteQueryOperator(task_id="load", conn_id="warehouse_db", sql="load.sql", **guarded("warehouse_db"))

    :param conn_id: as for `load_guard`.
    :param wait_seconds: as for `load_guard`.
    :param on_lost: as for `load_guard`.
    """
    hooks = _Hooks(load_guard(conn_id, wait_seconds=wait_seconds, on_lost=on_lost))
    return {"pre_execute": hooks.before, "post_execute": hooks.after}


class _Hooks:
    def __init__(self, guard: LoadGuard) -> None:
        self._guard = guard

    def before(self, context: Any) -> None:
        """Airflow does not call `after` for a task that fails: its process ends. Where it does not (`dag.test()`), the
        next task finds what is left."""
        let_go()
        if type(context["task"]).__module__.startswith(__package__):
            return  # a migration would wait for itself, and a sensor would keep away what it waits for
        guard = self._guard._recreate_cm()
        guard.name = name_of(context["ti"])
        _HELD.append(guard.__enter__())

    def after(self, context: Any, result: Any = None) -> None:
        if _HELD:
            _HELD.pop().__exit__(None, None, None)


_HELD: list[LoadGuard] = []
"""By the task that runs in this process, at the most one."""


def let_go() -> None:
    """Give back what a task that failed in this process still holds."""
    while _HELD:
        _HELD.pop().__exit__(None, AirflowException("it failed"), None)


class GuardedTaskGroup(TaskGroup):
    """Each of its tasks has a guard while it is at work. Between two of them a migration may begin.

    .. code-block:: python

        with GuardedTaskGroup("load", conn_id="warehouse_db"):
            SQLExecuteQueryOperator(task_id="orders", conn_id="warehouse_db", sql="orders.sql")

    :param group_id: id of the group.
    :param conn_id: as for `load_guard`.
    :param wait_seconds: as for `load_guard`.
    :param on_lost: as for `load_guard`.
    :param default_args: as for any task group; the hooks of the guard count more.
    """

    def __init__(
        self,
        group_id: str,
        *,
        conn_id: str | None = None,
        wait_seconds: float | None = None,
        on_lost: Literal["fail", "warn"] = "fail",
        default_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        hooks = guarded(conn_id, wait_seconds=wait_seconds, on_lost=on_lost)
        kwargs["default_args"] = {**(default_args or {}), **hooks}
        super().__init__(group_id=group_id, **kwargs)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        if error[0] is None:
            self._refuse_unguarded()

    def _refuse_unguarded(self) -> None:
        """:raises ValueError: a task has hooks of its own, which have replaced the guard's."""
        for task in self.iter_tasks():
            of_mapped = getattr(task, "partial_kwargs", {})
            for name in ("pre_execute", "post_execute"):
                hook = of_mapped.get(name) or getattr(task, f"_{name}_hook", None)
                if isinstance(getattr(hook, "__self__", None), _Hooks):
                    continue
                raise ValueError(
                    f"{task.task_id} has a {name} of its own, which replaces the guard's: take it out of this group,"
                    " and write `with load_guard(...)` in its code"
                )


def name_of(ti: Any) -> str:
    """A task as a migration that waits for it tells it."""
    index = getattr(ti, "map_index", -1)
    return f"{ti.dag_id}.{ti.task_id}{f'[{index}]' if index is not None and index >= 0 else ''} {ti.run_id}"


def _here() -> str:
    try:
        return name_of(get_current_context()["ti"])
    except (AirflowException, RuntimeError):
        return "outside of a task"


def _told(waited: float, migrations: Sequence[Holder]) -> None:
    who = "; ".join(map(str, migrations)) or "migrations"
    log.info("waiting for %s since %.0f s", who, waited)
