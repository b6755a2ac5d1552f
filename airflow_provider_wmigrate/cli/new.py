"""new: the next number, the rollback beside it, and the config entry. All three are written, or none."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow_provider_wmigrate.engine.folder.folder import Folder, normalise_version, read_folder
from airflow_provider_wmigrate.engine.folder.layouts import is_known
from airflow_provider_wmigrate.engine.folder.names import WORDS
from airflow_provider_wmigrate.engine.model import canonical_version

from .call import Answer, Call
from .config_entry import block, quoted, with_block
from .failure import UsageError
from .patterns import CHANGE_AGGREGATE, PATTERNS, Part, check_words, filled_in, words_told
from .screen import Screen
from .writing import CONFIG_FILE, all_or_nothing, replace_file


def new(call: Call) -> Answer:
    """Write the next migration from a template."""
    if call.arguments.templates:
        return _templates()
    name = _name(call.arguments.name)
    folder = _folder(call)
    description = call.arguments.description or re.sub("[_-]", " ", name).capitalize()
    template = call.arguments.template
    words = _words(call.arguments.set or ())
    now = datetime.now(timezone.utc)
    digits = next_number(_newest(folder), now)
    versions, files, blocks = [], {}, []
    for part in _parts(call, words, name, f"{digits}_{name}", description):
        stem = "_".join(filter(None, (digits, name, part.suffix)))
        versions.append(canonical_version(digits))
        files[f"{stem}.sql"] = part.apply
        if part.rollback is not None:
            files[f"{stem}.rollback.sql"] = part.rollback
        blocks.append(block(versions[-1], _fields(call, folder, stem, part, description)))
        digits = next_number(digits, now)
    path = call.folder_path
    with all_or_nothing(path) as write:
        for file, text in files.items():
            write(file, text.encode())
        kept_out = [lines for lines in blocks if not _write_config(call, lines)]
        read_folder(path, call.environ)  # what was written must be readable as what it was meant to be
    written = [*files, *([CONFIG_FILE] if len(kept_out) < len(blocks) else [])]
    by_hand = "\n".join("  " + line for lines in kept_out for line in lines) or None
    data = {
        "folder": str(path),
        "version": versions[0],
        "name": name,
        "template": template,
        "files": written,
        "config_entry_by_hand": by_hand,
    }

    def show(screen: Screen) -> None:
        for file in written:
            screen.text(str(path / file))
        if by_hand:
            screen.tell(f"{CONFIG_FILE} was left as it is; add below `migrations`:\n{by_hand}")

    return Answer(data, show)


def _parts(call: Call, words: dict[str, str], name: str, stem: str, description: str) -> tuple[Part, ...]:
    """One migration, or the three that change an aggregate: those are written from what the database has."""
    template = call.arguments.template
    check_words(template, words)
    if template != CHANGE_AGGREGATE:
        return (filled_in(template, words, migration=name, stem=stem, description=description),)
    from airflow_provider_wmigrate.engine.catalog.aggregate_definition import read_aggregate

    from .aggregate_change import parts

    with call.session() as session:
        return parts(read_aggregate(session.conn, words["aggregate"]), description)


def _templates() -> Answer:
    rows = [{"template": name, "help": p.help, "words": dict(p.words)} for name, p in PATTERNS.items()]

    def show(screen: Screen) -> None:
        columns = ("Template", "For", "Words (--set WORD=TEXT)")
        screen.table(columns, [(name, p.help, ", ".join(words_told(p))) for name, p in PATTERNS.items()])
        screen.line("Words in brackets may be left out.")

    return Answer({"templates": rows}, show)


def _name(given: str | None) -> str:
    if given is None:
        raise UsageError(
            "a new migration needs a name", hint="such as add_email; `new --templates` lists the templates"
        )
    name = re.sub(r"\s+", "_", given.strip()).lower()
    if not re.fullmatch(WORDS, name):
        hint = "write lower-case letters and digits, joined by single underscores or hyphens: add_email"
        raise UsageError(f"{given} is not a name for a migration", hint=hint)
    return name


def _words(given: Any) -> dict[str, str]:
    words = {}
    for text in given:
        word, equals, value = text.partition("=")
        if not equals or not value or "\n" in value:
            raise UsageError(f"--set {text} is not WORD=TEXT")
        words[word] = value
    return words


def _folder(call: Call) -> Folder | None:
    """The folder as it is. It is made if it is the default one; one that was named must be there.

    SQL below it that is no other tool's history, such as seeds, does not keep the first migration from being written.
    """
    if not call.folder_path.exists() and not call.arguments.folder:
        return None
    seen = call.seen_folder
    other = [finding.code for finding in seen.wrong] == ["other_layout"]
    if other and not is_known(seen.path, seen.config.validation.files.allowed_extensions):
        return None
    return call.folder


def _newest(folder: Folder | None) -> str | None:
    """The number of the newest migration as its file has it."""
    return folder.migrations[-1].stem.partition("_")[0] if folder and folder.migrations else None


def _fields(call: Call, folder: Folder | None, stem: str, part: Part, description: str) -> list[str]:
    """Of several migrations, the first has the dependencies that were asked for, and each needs the one before it."""
    known = [m.version for m in folder.migrations] if folder else []
    asked = () if part.follows else call.arguments.depends_on or ()
    needs = [normalise_version(version, known) for version in asked]
    title = f"{description}: {part.suffix}" if part.suffix else description
    lines = [f"filename: {stem}.sql", f"description: {quoted(title)}"]
    if needs:
        lines.append("dependencies: [" + ", ".join(f'"{version}"' for version in dict.fromkeys(needs)) + "]")
    supported = str(part.rollback is not None).lower()
    return [*lines, f"rollback_supported: {supported}", *part.config]


def _write_config(call: Call, lines: list[str]) -> bool:
    """Whether the block could be added. A folder without a config gets one."""
    file = Path(os.path.realpath(call.folder_path / CONFIG_FILE))
    old = file.read_bytes().decode("utf-8") if file.exists() else ""
    text = with_block(old, lines, call.environ)
    if text is None:
        return False
    replace_file(file, text)
    return True


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_YEARS = range(1990, 2100)
"""A number that would be a time outside of these is just a number."""

_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
"""Digits of a date or a time -> how it is written; of 17 the last three are milliseconds."""
_SECONDS = {10: 1, 13: 1000}
"""Digits of a time since 1970 -> its unit's part of a second."""


def next_number(newest: str | None, now: datetime) -> str:
    """One more than the newest or, where that is a time, the time now in the same manner, in UTC.

    :param newest: the digits of the newest migration's file; None: there is none.
    :param now: with a time zone.
    """
    if newest is None:
        return "001"
    following = int(newest) + 1
    if at := _as_time(newest, now.astimezone(timezone.utc)):
        following = max(following, int(at))  # a colleague's clock may be ahead of ours
    return str(following).zfill(len(newest))


def _as_time(digits: str, now: datetime) -> str | None:
    """The time now, written as these digits are; None: they are no time."""
    length = len(digits)
    try:
        if length in _CALENDAR:
            pattern = _CALENDAR[length]
            then = datetime.strptime(digits[:14], pattern.removesuffix("%f")).replace(tzinfo=timezone.utc)
            return now.strftime(pattern)[:length] if then.year in _YEARS else None
        if length in _SECONDS:
            unit = _SECONDS[length]
            then = _EPOCH + timedelta(seconds=int(digits) / unit)
            return str(int((now - _EPOCH).total_seconds() * unit)) if then.year in _YEARS else None
    except ValueError:
        return None
    return None
