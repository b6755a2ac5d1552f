"""Which migrations of a folder are one task, `history`, and the graph of tasks that is left. Pure.

A project's years must not make its graph and its runs grow. The oldest migrations are folded in the order in which they
are applied, so that none of them ever needs one that is not: the history can be done before all the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine.folder.graph import Graph

HISTORY = "history"
"""Name of the task. No migration has it, for the name of each begins with its number."""

MAX_TASKS = 100
"""How many migrations have a task of their own, unless somebody says otherwise."""


@dataclass(frozen=True, slots=True)
class Folding:
    """A function of the folder alone: what a database has makes no difference.

    Tasks are named by the version of their migration; the folded ones together are `HISTORY`.
    """

    folded: tuple[str, ...]
    """Versions, in the order in which they are applied."""
    parents: Mapping[str, tuple[str, ...]]
    """Each task -> those it depends on, each once."""

    @classmethod
    def of(cls, graph: Graph, max_tasks: int | None) -> Folding:
        """:param max_tasks: how many of the newest migrations are not folded; None: none is.
        :raises ValueError: it is no number of tasks.
        """
        if max_tasks is not None and (not isinstance(max_tasks, int) or isinstance(max_tasks, bool) or max_tasks < 0):
            raise ValueError(f"max_tasks must be a whole number from 0, or None for no folding, not {max_tasks!r}")
        count = 0 if max_tasks is None else max(len(graph.order) - max_tasks, 0)
        folded = graph.order[:count]
        names = dict.fromkeys(folded, HISTORY)
        history: dict[str, tuple[str, ...]] = {HISTORY: ()} if folded else {}
        own = {
            version: tuple(dict.fromkeys(names.get(parent, parent) for parent in graph.parents[version]))
            for version in graph.order[count:]
        }
        return cls(folded, {**history, **own})

    @property
    def roots(self) -> list[str]:
        """The tasks that depend on none."""
        return [name for name, needs in self.parents.items() if not needs]

    @property
    def leaves(self) -> list[str]:
        """The tasks on which none depends."""
        needed = {parent for needs in self.parents.values() for parent in needs}
        return [name for name in self.parents if name not in needed]
