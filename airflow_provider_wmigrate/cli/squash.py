"""squash: one file for the first migrations. The old ones go to an archive, which is a folder of migrations too."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.folder.folder import normalise_version, read_folder
from airflow_provider_wmigrate.engine.folder.verdict_file import VERDICT_FILE, about, as_text, read_verdicts

from . import pg_dump
from .call import Answer, Call
from .config_entry import block, with_block, without_blocks
from .failure import UsageError
from .screen import Screen, plural
from .writing import CONFIG_FILE, all_or_nothing, replace_file

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.folder.folder import Folder
    from airflow_provider_wmigrate.engine.folder.verdict_file import WrittenVerdict
    from airflow_provider_wmigrate.engine.model import Migration


def squash(call: Call) -> Answer:
    """Write the file, prove it, and only then change the folder."""
    from airflow_provider_wmigrate.engine.squash import to_squash

    folder, given = call.folder, call.arguments
    to = normalise_version(str(given.version), {m.version for m in folder.migrations})
    old = to_squash(folder, to)
    archive = _archive(call, to)
    with tempfile.TemporaryDirectory() as made:
        new, before = Path(made, "new"), Path(made, "old")
        file = _prove(call, to, old, new, before)
        if not given.dry_run:
            _carry_out(call.folder_path, old, new / file, before, archive)
    return _answer(call, old, file, archive)


def _archive(call: Call, to: str) -> Path:
    """:raises UsageError: it is taken."""
    folder = call.folder_path.resolve()
    archive = Path(call.arguments.archive or folder.with_name(f"{folder.name}_before_{to}"))
    if archive.exists() and (not archive.is_dir() or any(archive.iterdir())):
        raise UsageError(f"{archive} is there already, and is not empty", hint="name another one with --archive")
    if archive.resolve().is_relative_to(folder):
        raise UsageError(f"{archive} is inside the folder", hint="name one outside of it with --archive")
    return archive


def _prove(call: Call, to: str, old: Sequence[Migration], new: Path, before: Path) -> str:
    """Write both folders as they would be, and apply the new file where the old ones were applied.

    :return: the name of the new file.
    :raises HistoryError: it does not make the same.
    """
    from airflow_provider_wmigrate.engine.backup.programs import Programs
    from airflow_provider_wmigrate.engine.squash import make, refuse_difference, refuse_rows

    Programs(os.environ).find("pg_dump")  # before minutes are spent
    scratch, rows = call.scratch(), bool(call.arguments.data)
    ledger = call.settings.ledger.schema_name
    call.screen.progress(f"applying the migrations up to {to} to a scratch database")
    made, script = make(call.folder, to, scratch, lambda there: pg_dump.dump(there, ledger, rows=rows))
    if not rows:
        refuse_rows(made, to)
    file = _write_both(call, old, script, new, before)
    read_folder(before, call.environ)
    call.screen.progress(f"applying {file} to another one, to compare")
    squashed = read_folder(new, call.environ)
    again, _ = make(squashed, to, scratch)
    refuse_difference(made, again, to)
    if written := read_verdicts(call.folder_path):
        replace_file(new / VERDICT_FILE, as_text(_verdicts(written, call.folder, squashed)))
    return file


def _verdicts(written: Mapping[str, WrittenVerdict], before: Folder, after: Folder) -> dict[str, WrittenVerdict]:
    """Those on later migrations hold, as what they build on is the same by another text; those on older ones go."""
    then, now = about(before.migrations), about(after.migrations)
    same = {m.version for m in after.migrations if not m.squashes}
    return {
        version: replace(verdict, about=now[version]) if verdict.about == then[version] else verdict
        for version, verdict in written.items()
        if version in same
    }


def _write_both(call: Call, old: Sequence[Migration], script: str, new: Path, before: Path) -> str:
    first, last = old[0], old[-1]
    going = {m.version for m in old}
    for to, migrations in ((new, [m for m in call.folder.migrations if m.version not in going]), (before, old)):
        to.mkdir()
        for name in _files(migrations):
            shutil.copy2(call.folder_path / name, to / name)
    if (call.folder_path / VERDICT_FILE).exists():
        shutil.copy2(call.folder_path / VERDICT_FILE, before)
    file = f"{last.stem.partition('_')[0]}_squashed{Path(last.script.file).suffix}"
    said = f"what the migrations {first.version} to {last.version} make of an empty database"
    note = f"-- Squashed by wmigrate: {said}, as pg_dump writes it.\n"
    (new / file).write_text(
        f"{note}-- The config has the checksums by which databases that had them are known.\n\n{script}"
    )
    config = call.folder_path / CONFIG_FILE
    text = config.read_bytes().decode("utf-8-sig") if config.exists() else ""
    replace_file(new / CONFIG_FILE, _with_squash(text, old, call.environ))
    if text:
        rest = {m.version for m in call.folder.migrations} - going
        replace_file(before / CONFIG_FILE, _or_refuse(without_blocks(text, rest, call.environ)))
    return file


def _with_squash(text: str, old: Sequence[Migration], environ: Mapping[str, str]) -> str:
    first, last = old[0].version, old[-1].version
    digests = [f'  "{m.version}": {m.script.checksum}' for m in old]
    fields = [f"description: Squashed, {first} to {last}", "squashes:", *digests]
    kept = without_blocks(text, {m.version for m in old}, environ) if text else ""
    return _or_refuse(with_block(_or_refuse(kept), block(last, fields), environ))


def _or_refuse(text: str | None) -> str:
    if text is None:
        hint = "write its `migrations` as a list with each block on lines of its own, and try again"
        raise FolderError(CONFIG_FILE, "nobody can say how its blocks are exchanged", hint=hint)
    return text


def _files(migrations: Sequence[Migration]) -> list[str]:
    return [script.file for m in migrations for script in (m.script, m.rollback) if script]


def _carry_out(folder: Path, old: Sequence[Migration], file: Path, before: Path, archive: Path) -> None:
    """The archive first: at any moment each old file is in one of the two places."""
    shutil.copytree(before, archive, dirs_exist_ok=True)
    try:
        with all_or_nothing(folder) as write:
            write(file.name, file.read_bytes())
            replace_file(Path(os.path.realpath(folder / CONFIG_FILE)), (file.parent / CONFIG_FILE).read_text("utf-8"))
            for name in _files(old):
                (folder / name).unlink()
            if (verdicts := file.parent / VERDICT_FILE).exists():
                replace_file(Path(os.path.realpath(folder / VERDICT_FILE)), verdicts.read_text("ascii"))
    except BaseException:
        for name in _files(old):
            if not (folder / name).exists():
                shutil.copy2(archive / name, folder / name)
        shutil.rmtree(archive)
        raise


def _answer(call: Call, old: Sequence[Migration], file: str, archive: Path) -> Answer:
    dry = bool(call.arguments.dry_run)
    versions = [m.version for m in old]

    def show(screen: Screen) -> None:
        count = plural(len(old), "migration")
        screen.line(f"{file} makes the same as {count}, {versions[0]} to {versions[-1]}: proven on a scratch database.")
        if dry:
            screen.line("Wrote nothing.")
            return
        screen.line(f"The old files are in {archive}. Databases that had all of them need nothing;")
        screen.line(f"those with a part of them go on with `wmigrate up --folder {archive}` first.")

    data = {"file": file, "squashes": versions, "archive": None if dry else str(archive), "dry_run": dry}
    return Answer(data, show)
