"""What a person sees. The answer goes to stdout; progress, questions and errors to stderr.

rich draws where there is a terminal, and lines end between words. Elsewhere, and where TERM is dumb, the same words
come as plain text: columns two spaces apart, never broken or cut off, so that grep and awk can read them.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_wmigrate.engine.plain import plain

from .wrapping import column_widths, width_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console

    from airflow_provider_wmigrate.engine.model import Finding

COLOURS = {
    "applied": "green",
    "pending": "yellow",
    "left out": "dim",
    "changed": "red",
    "missing": "red",
    "incomplete": "bold red",
    "error": "bold red",
    "warning": "yellow",
    "failed": "red",
    "rollback_failed": "bold red",
    "rolled_back": "magenta",
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "bold red",
}


def is_drawable(stream: Any) -> bool:
    """Whether somebody sits in front of it who sees more than plain text."""
    return bool(stream.isatty()) and os.environ.get("TERM", "") not in ("", "dumb")


class Screen:
    """Two streams and what they can show.

    :param as_json: the answer is one JSON document, and nothing else goes to stdout.
    """

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json, self.verbose = as_json, verbose
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a letter that the terminal does not have is no reason to fail
                stream.reconfigure(errors="backslashreplace")

    # The answer

    def text(self, text: str) -> None:
        """What is meant to be copied or read by a program, as it is."""
        print(text)

    def line(self, text: str) -> None:
        """One line of the answer."""
        print(fitted(text, sys.stdout))

    def title(self, text: str) -> None:
        if not is_drawable(sys.stdout):
            print(text)
            return
        self._console.print(fitted(text, sys.stdout), style="bold", markup=False, highlight=False, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Rows under columns. A cell that is a status, a severity or an event has its colour."""
        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        if is_drawable(sys.stdout):
            self._draw(columns, cells)
        else:
            _print_plain(columns, cells)

    def document(self, data: dict[str, Any]) -> None:
        """The answer for programs."""
        in_ascii = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        # A record of ten thousand is a dictionary only while it is written.
        json.dump(data, sys.stdout, indent=2, default=plain, ensure_ascii=in_ascii)
        print()

    # Beside the answer

    def tell(self, text: str) -> None:
        """A line beside the answer. What is at work goes on also where nobody reads it any more."""
        with unread(sys.stderr):
            print(fitted(text, sys.stderr), file=sys.stderr)

    def progress(self, text: str) -> None:
        """What is being done, for a person who waits."""
        if not self.as_json:
            self.tell(text)

    def error(self, command: str, sentence: str) -> None:
        """The one sentence of a failure."""
        if not is_drawable(sys.stderr):
            with unread(sys.stderr):
                print(f"{command}: {sentence}", file=sys.stderr)
            return
        from rich.console import Console
        from rich.text import Text

        text = Text(fitted(f"{command}: {sentence}", sys.stderr))
        text.stylize("bold red", 0, len(command) + 1)
        Console(stderr=True, highlight=False, soft_wrap=True).print(text)

    def ask(self, question: str) -> str:
        """One line that a person types. At the end of input: nothing."""
        print(fitted(question, sys.stderr), end=" ", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip()

    @property
    def somebody_answers(self) -> bool:
        """Whether there is a person to ask."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    # Drawing

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(highlight=False)

    def _draw(self, columns: Sequence[str], rows: list[list[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        widths = column_widths([columns, *rows], width_of(sys.stdout))
        if widths is None:
            self._list(columns, rows)
            return
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column, width in zip(columns, widths, strict=True):
            table.add_column(column, width=width)
        for row in rows:
            table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
        self._console.print(table)

    def _list(self, columns: Sequence[str], rows: list[list[str]]) -> None:
        """A table that is too wide: a few lines for each row. Of two columns the first one is the label."""
        from rich.text import Text

        pairs = len(columns) == 2
        for row in rows:
            told = [(row[0], row[1])] if pairs else [*zip(columns, row, strict=True)]
            for number, (label, cell) in enumerate(told):
                if cell:
                    label = f"  {label}: " if number else f"{label}: "
                    text = Text(fitted(label + cell, sys.stdout, hanging="  "), style=COLOURS.get(cell, ""))
                    text.stylize("bold", 0, len(label))
                    self._console.print(text, soft_wrap=True)


@contextmanager
def unread(stream: Any) -> Iterator[None]:
    """What is written to a stream is lost where it has no other end any more, or no room."""
    try:
        yield
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def fitted(text: str, stream: Any, *, hanging: str = "") -> str:
    """Text broken between words as the terminal behind the stream needs it; elsewhere as it is.

    :param hanging: what lines that follow have in front.
    """
    return wrapped(text, width_of(stream), hanging=hanging) if is_drawable(stream) else text


def _print_plain(columns: Sequence[str], rows: list[list[str]]) -> None:
    lines = [list(columns), *([cell.replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show_findings(screen: Screen, findings: Sequence[Finding]) -> None:
    """Findings as a person reads them: one line each, errors first."""
    for finding in sorted(findings, key=lambda f: f.severity != "error"):
        screen.line(f"{finding.severity}: {finding}")


def plural(count: int, noun: str) -> str:
    """`1 migration`, `2 migrations`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def took(milliseconds: int | None) -> str:
    """A duration as a person reads it."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
