"""The scripts of a folder: read once to be checked and hashed, and again, by few, to be run.

A folder of ten thousand migrations, all applied, costs the room of their names and checksums.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.model import Script, checksum

from .problems import Problem


class _File(Struct, frozen=True, gc=False):
    """A script whose text is not kept."""

    directory: str
    file: str
    checksum: str
    size: int
    of_timescaledb: bool | None
    """None: nobody has looked."""

    def read(self) -> str:
        """:raises FolderError: it was edited, or is gone, since the folder was read."""
        return _read_again(self)


@lru_cache(maxsize=2)
def _read_again(wanted: _File) -> str:
    """A script and its rollback at hand are read once."""
    hint = "run it again: what it says now is read then"
    try:
        raw = _bytes(wanted.directory, wanted.file)
    except OSError as error:
        raise FolderError(wanted.file, f"cannot be read any more: {error.strerror}", hint=hint) from None
    text = raw.decode("ascii") if _is_canonical(raw) else decoded(raw, wanted.file)
    if isinstance(text, Problem) or checksum(text) != wanted.checksum:
        raise FolderError(wanted.file, "was edited since the folder was read", hint=hint)
    return text


def read_script(directory: str, file: str, problems: list[Problem], *, is_rollback: bool = False) -> Script:
    """The script; of one that cannot be read, what shows that it is not the one that was applied.

    :param is_rollback: whether it is about TimescaleDB is hardly ever asked, so it is not looked for.
    """
    try:
        raw = _bytes(directory, file)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        problems.append(Problem(file, reason, "make it readable", kind="cannot be read", rule="make them readable"))
        return Script(file, "", "unreadable")
    if not _is_canonical(raw):
        text = decoded(raw, file)
        if isinstance(text, Problem):
            problems.append(text)
            return Script(file, "", hashlib.sha256(raw).hexdigest())
        raw = text.encode()
    found = hashlib.sha256(raw).hexdigest()
    of_timescaledb = None if is_rollback else _of_timescaledb(raw)
    return Script(file, _File(directory, file, found, len(raw), of_timescaledb), found)


def of_timescaledb(script: Script) -> bool:
    """Whether a script may make or empty what TimescaleDB keeps; of a file this was noted when it was hashed."""
    noted = script.source.of_timescaledb if isinstance(script.source, _File) else None
    return _of_timescaledb(script.text.encode()) if noted is None else noted


def _of_timescaledb(raw: bytes) -> bool:
    small = raw.lower()
    return any(map(small.__contains__, _OF_TIMESCALEDB))


_OF_TIMESCALEDB = (
    b"create_hypertable",
    b"_policy",
    b"add_job",
    b"timescaledb",
    b"tsdb",
    b"refresh_continuous_aggregate",
)


_SMALL = 64 * 1024
"""Bytes of a file, more than most have."""


def _bytes(directory: str, file: str) -> bytes:
    """Asks the system for less than `open` would: it counts where there are thousands of small files."""
    opened = os.open(f"{directory}/{file}", os.O_RDONLY)
    try:
        found = os.read(opened, _SMALL)
        if len(found) < _SMALL and not os.read(opened, 1):
            return found
        os.lseek(opened, 0, os.SEEK_SET)
        with open(opened, "rb", buffering=0, closefd=False) as whole:
            return whole.readall()
    finally:
        os.close(opened)


def _is_canonical(raw: bytes) -> bool:
    """Whether it is its own canonical text, as can be seen at a glance."""
    return raw.isascii() and not (b"\r" in raw or b"\0" in raw)


def decoded(raw: bytes, file: str) -> str | Problem:
    """Text without byte order mark and with LF line ends: what checksums are taken of and what is run."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1  # `object` is without the byte order mark
        rule = "save them as UTF-8"
        return Problem(file, "is not UTF-8", "save it as UTF-8", line=line, kind="are not UTF-8", rule=rule)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line, rule = text.count("\n", 0, text.index("\0")) + 1, "save them as UTF-8 text"
        kind = "contain NUL bytes"
        return Problem(file, "contains a NUL byte", "save it as UTF-8 text", line=line, kind=kind, rule=rule)
    return text
