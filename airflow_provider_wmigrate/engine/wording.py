"""How it is told: what was meant, where it is, how large it is."""

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


def told_size(size_bytes: int) -> str:
    """`12 GB`, by powers of 1024 as the server's pg_size_pretty tells it."""
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
