"""Dependencies between migrations: order, ancestors, descendants, and the ways in which they can be wrong."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

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
        """Topological, and numeric wherever the declarations leave a choice (Kahn's algorithm over a heap)."""
        open_parents = {version: len(parents) for version, parents in self.parents.items()}
        ready = [(version_key(v), v) for v, count in open_parents.items() if not count]
        heapq.heapify(ready)
        order: list[str] = []
        circles: list[Finding] = []
        while len(order) < len(self.parents):
            if not ready:
                circle = self._circle(set(self.parents) - set(order))
                reason = f"circular dependency: {' -> '.join(circle)}"
                circles.append(self._wrong(circle[0], reason, "remove one of these dependencies"))
                # As if it needed nothing: there may be other circles. It never becomes ready a second time.
                open_parents[circle[0]] = -1
                ready = [(version_key(circle[0]), circle[0])]
            _, version = heapq.heappop(ready)
            order.append(version)
            for child in self.children[version]:
                open_parents[child] -= 1
                if not open_parents[child]:
                    heapq.heappush(ready, (version_key(child), child))
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
        return self._closure(versions, self.parents)

    def descendants(self, versions: Iterable[str]) -> set[str]:
        """Everything that needs the given versions, directly or through others, without the versions themselves."""
        return self._closure(versions, self.children)

    def _closure(self, versions: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
        start = set(versions)
        found: set[str] = set()
        todo = list(start)
        while todo:
            for following in edges[todo.pop()]:
                if following not in found:
                    found.add(following)
                    todo.append(following)
        return found - start

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(v for v in self.order if not self.parents[v])

    @property
    def leaves(self) -> tuple[str, ...]:
        return tuple(v for v in self.order if not self.children[v])
