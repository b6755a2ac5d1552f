"""How a mistake is told: what was meant, and where it is."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, alike: float = 0.6) -> str | None:
    """The known word a person most likely meant.

    :param alike: how much of both must be the same, from 0 to 1.
    """
    import difflib  # only a mistake needs it

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=alike)
    return found[0] if found else None


def place(file: str | None, line: int | None = None, column: int | None = None) -> str:
    """`file:line:column`, as far as it is known."""
    return ":".join(str(part) for part in (file, line, column) if part is not None)
