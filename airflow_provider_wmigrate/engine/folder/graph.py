"""Dependencies between migrations: order, ancestors, descendants, and the ways in which they can be wrong."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from airflow_provider_wmigrate.engine.errors import FolderError, nearest
from airflow_provider_wmigrate.engine.model import Finding, version_key


class Graph:
    """An acyclic graph of versions. Building it raises `FolderError` when the declarations contradict themselves:
    with every one that is wrong alone, or else with the circles.

    :param dependencies: version -> the versions it needs, as declared.
    :param file: where the declarations stand, for messages.
    :param lines: version -> line of its declaration in that file.
    """

    def __init__(
        self,
        dependencies: Mapping[str, Iterable[str]],
        *,
        file: str = "migration_config.yaml",
        lines: Mapping[str, int | None] | None = None,
    ) -> None:
        self.parents = {version: tuple(needs) for version, needs in dependencies.items()}
        self._file, self._lines = file, lines or {}
        self._check_each()
        self.children: dict[str, list[str]] = {version: [] for version in self.parents}
        for version in sorted(self.parents, key=version_key):
            for parent in self.parents[version]:
                self.children[parent].append(version)
        self.order = self._order()

    def _wrong(self, version: str, reason: str, hint: str) -> Finding:
        return Finding("folder_error", reason, hint, version=version, file=self._file, line=self._lines.get(version))

    def _check_each(self) -> None:
        found: list[Finding] = []
        for version, parents in self.parents.items():
            for i, parent in enumerate(parents):
                if parent == version:
                    found.append(
                        self._wrong(version, f"migration {version} depends on itself", "remove that dependency")
                    )
                elif parent in parents[:i]:
                    reason = f"migration {version} names dependency {parent} twice"
                    found.append(self._wrong(version, reason, "name it once"))
                elif parent not in self.parents:
                    meant = nearest(parent, self.parents)
                    hint = f"did you mean {meant}?" if meant else "no file has that version"
                    found.append(self._wrong(version, f"migration {version} depends on unknown version {parent}", hint))
        if found:
            raise FolderError.of(found)

    def _order(self) -> tuple[str, ...]:
        """Topological, and numeric wherever the declarations leave a choice."""
        parents, circles = dict(self.parents), list[Finding]()
        while len(order := topological(parents, version_key)) < len(parents):
            circle = self._circle(parents.keys() - set(order))
            reason = f"circular dependency: {' -> '.join(circle)}"
            circles.append(self._wrong(circle[0], reason, "remove one of these dependencies"))
            parents[circle[0]] = ()  # as if it needed nothing: there may be other circles
        if circles:
            raise FolderError.of(circles)
        return tuple(order)

    def _circle(self, suspects: set[str]) -> list[str]:
        """Walk from parent to parent inside the unordered rest until a version comes up twice.

        Every version Kahn leaves over has a parent that is left over too, so the walk never runs out.
        """
        walk = [min(suspects, key=version_key)]
        while True:
            following = next(p for p in self.parents[walk[-1]] if p in suspects)
            if following in walk:
                circle = walk[walk.index(following) :]
                start = circle.index(min(circle, key=version_key))
                circle = circle[start:] + circle[:start]
                return [*circle, circle[0]]
            walk.append(following)

    def ancestors(self, versions: Iterable[str]) -> set[str]:
        """Everything the given versions need, directly or through others, without the versions themselves."""
        return reached(versions, self.parents)

    def descendants(self, versions: Iterable[str]) -> set[str]:
        """Everything that needs the given versions, directly or through others, without the versions themselves."""
        return reached(versions, self.children)

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(v for v in self.order if not self.parents[v])

    @property
    def leaves(self) -> tuple[str, ...]:
        return tuple(v for v in self.order if not self.children[v])


def topological(parents: Mapping[str, Iterable[str]], first: Callable[[str], int]) -> list[str]:
    """Each behind its parents. Left out is what is in a circle, or needs what is in one.

    :param first: of those that may come next, the one of which this gives the least.
    """
    if _runs_downhill(in_turn := sorted(parents, key=lambda version: (first(version), version)), parents):
        return in_turn
    from graphlib import CycleError, TopologicalSorter  # most folders need none

    sorter, free, order = TopologicalSorter(parents), list[tuple[int, str]](), list[str]()
    with suppress(CycleError):  # it goes on as far as no circle blocks it
        sorter.prepare()
    while True:
        for version in sorter.get_ready():
            heapq.heappush(free, (first(version), version))
        if not free:
            return order
        order.append(heapq.heappop(free)[1])
        sorter.done(order[-1])


def _runs_downhill(order: Iterable[str], parents: Mapping[str, Iterable[str]]) -> bool:
    """Whether each stands behind its parents already."""
    seen = set[str]()
    for version in order:
        if not seen.issuperset(parents[version]):
            return False
        seen.add(version)
    return True


def reached(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    """All to which edges lead from these, directly or through others, without these."""
    begun = {*start}
    found, todo = {*begun}, [*begun]
    while todo:
        for following in edges.get(todo.pop(), ()):
            if following not in found:
                found.add(following)
                todo.append(following)
    return found - begun
