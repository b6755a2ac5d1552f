"""The scripts of one migration: from the DAG, from the folder as it was deployed, or from the ledger.

What the folder has is shown only if it is what the DAG was made of, by its checksum. So nobody can write a DAG that
makes the web server show a file whose content its author does not know.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.folder.scripts import decoded
from airflow_provider_wmigrate.engine.model import Script, checksum
from airflow_provider_wmigrate.engine.sql.psql import cut
from airflow_provider_wmigrate.task_docs import HIDDEN, ShownScript

from . import schemas
from .catalog import GroupTasks, StepTask

SHOWN_AT_ONCE = 1_000_000
"""Characters: to find the secrets in so many takes a second or two of the API server's time."""
READ_AT_MOST = 64 * 2**20
"""Bytes of a file."""

_NO_CODE = "you may not read the code of this DAG, so its SQL is not shown to you; ask for that right"
_NO_DOC = "no task group made this task, so the DAG does not hold its script"


@dataclass(frozen=True, slots=True)
class Reader:
    """What decides which scripts a caller may see.

    :param group: the group that is looked at.
    :param may_read_code: whether the caller may read the DAG's code.
    :param from_line: from 1; of a long script no more than about `SHOWN_AT_ONCE` characters are told at once.
    """

    group: GroupTasks
    may_read_code: bool
    from_line: int = 1

    def sql(self, step: StepTask | None) -> schemas.ScriptText:
        """The script as the DAG was last parsed."""
        if step is None:
            return schemas.ScriptText(origin="unavailable", reason="its file is gone from the folder")
        return self._parsed(step.doc.script or ShownScript(f"{step.stem}.sql", step.checksum, reason=_NO_DOC))

    def rollback(self, step: StepTask | None, recorded: Script | None, *, live: bool) -> schemas.ScriptText:
        """The rollback as it was when the migration was applied, else as the DAG was last parsed."""
        if recorded is not None:
            shown = ShownScript(recorded.file, recorded.checksum)
            return self._told("ledger", shown, lambda: recorded.text)
        if step is not None and step.doc.rollback is not None:
            return self._parsed(step.doc.rollback)
        why = "it has none" if live or step is not None else "only the ledger could have it, and that was not read"
        return schemas.ScriptText(origin="unavailable", reason=why)

    def _parsed(self, script: ShownScript) -> schemas.ScriptText:
        """A short script is part of the DAG; a longer one, and one of the history, is in the folder."""
        text = script.text
        if text is not None:
            return self._told("dag", script, lambda: text)
        folder = self.group.folder
        if folder is None or script.reason == HIDDEN:
            return self._told("dag", script, lambda: None)
        return self._told("folder", script, lambda: deployed(folder, script.file, script.checksum))

    def _told(
        self, origin: Literal["dag", "folder", "ledger"], script: ShownScript, read: Callable[[], str | None]
    ) -> schemas.ScriptText:
        """Without secrets, for who may read the DAG's code, if the config does not forbid it."""
        known = schemas.ScriptText(origin="unavailable", file=script.file, checksum=script.checksum)
        if not self.may_read_code:
            return known.model_copy(update={"reason": _NO_CODE})
        if self.group.hides_sql:
            return known.model_copy(update={"reason": HIDDEN})
        try:
            text = read()
        except NotDeployed as error:
            return known.model_copy(update={"reason": str(error)})
        if text is None:
            return known.model_copy(update={"reason": script.reason})
        shown, following = _shown(replace(script, text=text, reason=None), self.from_line)
        lines = text.count("\n") + (not text.endswith("\n"))
        return known.model_copy(update={"origin": origin, "text": shown, "lines": lines, "next_line": following})


def _shown(script: ShownScript, line: int) -> tuple[str, int | None]:
    """What is told of a script from a line on, and the line to go on with; None: it ends here.

    Secrets are found statement by statement, so whole statements are read, even where a part of one is told.
    """
    text = str(script.text)
    stretches = _stretches(text, SHOWN_AT_ONCE)
    index = max(i for i, (first, _, _) in enumerate(stretches) if first <= line)
    first, start, end = stretches[index]
    rows = _masked(replace(script, text=text[start:end])).split("\n")[line - first :]
    number, size = 0, 0
    while number < len(rows) and (not number or size + len(rows[number]) <= SHOWN_AT_ONCE):
        size += len(rows[number]) + 1
        number += 1
    if any(rows[number:]):
        return "\n".join([*rows[:number], ""]), line + number
    following = stretches[index + 1][0] if index + 1 < len(stretches) else None
    return "\n".join(rows), following


@lru_cache(maxsize=4)
def _stretches(text: str, size: int) -> tuple[tuple[int, int, int], ...]:
    """First line, start and end of stretches of whole lines with whole statements, as many of them as fit in the size.

    A file that cannot be cut into statements is one stretch.
    """
    ends = []
    try:
        pieces = cut(Script("", text, "")).pieces if len(text) > size else ()
    except ScriptError:
        pieces = ()
    for piece in pieces:
        end = piece.data[1] + len("\\.") if piece.data else piece.end
        if rest := _REST_OF_LINE.match(text, end):
            ends.append(rest.end())
    bounds = [0]
    for end, following in itertools.pairwise(ends):
        if following - bounds[-1] > size:
            bounds.append(end)
    bounds.append(len(text))
    return tuple((text.count("\n", 0, start) + 1, start, end) for start, end in itertools.pairwise(bounds))


_REST_OF_LINE = re.compile(r"[ \t]*(?:--[^\n]*)?(?:\n|\Z)")


@lru_cache(maxsize=4)
def _masked(script: ShownScript) -> str:
    return str(script.masked.text)


class NotDeployed(Exception):
    """The web server does not have the file that the DAG was made of; the message says why, and what to do."""


def deployed(folder: Path, file: str, wanted: str) -> str:
    """The text of a file of the folder.

    :param wanted: its checksum by the DAG; a file with another one is not read to anybody.
    :raises NotDeployed: it is not there, or another one.
    """
    if os.path.basename(file) != file or not file:
        raise NotDeployed(f"{file} is no file of the folder")
    try:
        text = _read(folder / file)
    except OSError as error:
        raise NotDeployed(
            f"too long to be part of the DAG, and Airflow's API server cannot read {folder / file} ({error.strerror}):"
            " mount the DAG files there too, or read the script in the log of its task"
        ) from None
    if text is None or checksum(text) != wanted:
        raise NotDeployed(
            f"{folder / file} is not the file that the DAG was made of: it was edited since, or another version is"
            " deployed here; it is shown as soon as Airflow has read the DAG file again"
        )
    return text


def _read(path: Path) -> str | None:
    """None: it is no text, or larger than any script."""
    with open(path, "rb", opener=_without_waiting) as opened:
        found = os.fstat(opened.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > READ_AT_MOST:
            return None
        text = decoded(opened.read(), path.name)
    return text if isinstance(text, str) else None


def _without_waiting(path: str, flags: int) -> int:
    """A pipe would keep the reader for ever."""
    return os.open(path, flags | os.O_NONBLOCK)
