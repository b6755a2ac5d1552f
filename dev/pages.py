"""What a page of docs/ asks its reader to do, in order: files to write and commands to type.

- A fence ``console`` holds commands, each after ``$ ``, and what they print.
- A fence whose line before it is a file name (``migrations/001_x.sql`` in backticks, then a colon) is that file.
- ``<!-- setup`` holds commands that make what the page takes for given; readers do not see them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`:\n\n(?!```console))?^```(?P<language>\w+)\n(?P<fenced>.*?)^```$"
    r"|^<!-- setup\n(?P<setup>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file as the page shows it."""

    line: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A command, and what the page says that it prints; `output` is None where the page says nothing (setup).

    `begin` and `end` are where that output stands in the page.
    """

    line: int
    command: str
    output: str | None
    begin: int
    end: int


Step = WriteFile | RunCommand


def steps(page: str) -> Iterator[Step]:
    """Everything a reader does."""
    for block in _BLOCK.finditer(page):
        line = page.count("\n", 0, block.start()) + 1
        if block["setup"] is not None:
            yield RunCommand(line, block["setup"].rstrip(), None, block.end(), block.end())
        elif block["file"]:
            yield WriteFile(line, block["file"], block["fenced"])
        elif block["language"] == "console":
            yield from _commands(page, block.start("fenced"), block.end("fenced"))


def _commands(page: str, begin: int, end: int) -> Iterator[RunCommand]:
    """A command goes on in the next line after a backslash; everything else up to the next ``$`` is its output."""
    for found in re.finditer(r"^\$ ((?:.*\\\n)*.*\n)((?:(?!\$ ).*\n)*)", page[begin:end], re.MULTILINE):
        line = page.count("\n", 0, begin + found.start()) + 1
        yield RunCommand(line, found[1].rstrip("\n"), found[2], begin + found.start(2), begin + found.end(2))
