"""Migrations that do not need one another at the same time, each runner on a session of its own."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.session.session import Session

RunOne = Callable[[Session, str], list[Record]]
_Answer = tuple[str, "list[Record] | BaseException"]


@dataclass
class Parallel:
    """:param versions: in an order in which they could be run one after another.
    :param parents: version -> those that it needs.
    :param jobs: how many run at the same time.
    :param open_session: gives a runner its session, in the runner's thread.
    :param run_one: runs one version on a session.
    :param go_on: asked before each; False: the rest is left.
    """

    versions: Sequence[str]
    parents: Mapping[str, Sequence[str]]
    jobs: int
    open_session: Callable[[], AbstractContextManager[Session]]
    run_one: RunOne
    go_on: Callable[[], bool]
    _todo: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue, init=False)
    _answers: queue.SimpleQueue[_Answer] = field(default_factory=queue.SimpleQueue, init=False)

    def run(self) -> list[Record]:
        """Run all of them. When one fails, those that have begun are waited for, and no other one begins.

        :raises BaseException: what the first one that failed has raised.
        """
        # Daemons: whoever insists on an end does not wait for a server that does not answer.
        for _ in range(min(self.jobs, len(self.versions))):
            threading.Thread(target=self._runner, name="wmigrate-job", daemon=True).start()
        try:
            return self._records()
        finally:
            for _ in range(self.jobs):
                self._todo.put(None)

    def _records(self) -> list[Record]:
        records: list[Record] = []
        failed: BaseException | None = None
        place = {version: at for at, version in enumerate(self.versions)}
        order = TopologicalSorter({version: place.keys() & self.parents[version] for version in self.versions})
        order.prepare()
        free, running = list[int](), 0
        while True:
            for version in order.get_ready():
                heapq.heappush(free, place[version])
            while free and running < self.jobs and failed is None and self.go_on():
                self._todo.put(self.versions[heapq.heappop(free)])
                running += 1
            if not running:
                break
            version, answer = self._answers.get()
            running -= 1
            if isinstance(answer, BaseException):
                failed = failed or answer
                continue
            records += answer
            order.done(version)
        if failed is not None:
            raise failed
        return records

    def _runner(self) -> None:
        version = self._todo.get()
        if version is None:
            return
        try:
            with self.open_session() as session:
                while version is not None:
                    records = self.run_one(session, version)
                    self._answers.put((version, records))
                    version = self._todo.get()
        except BaseException as error:  # it is raised where somebody waits for it
            self._answers.put((version or "", error))
            self._runner()  # another session, for what else is to be run
