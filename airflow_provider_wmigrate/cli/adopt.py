"""adopt and convert: a project comes from another tool, with its files and with what was applied."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.adopting.converting import Converted
from airflow_provider_wmigrate.engine.adopting.converting import convert as read_source
from airflow_provider_wmigrate.engine.adopting.tools import TOOLS
from airflow_provider_wmigrate.engine.errors import FolderError

from .call import Answer, Call
from .confirm import by_hand, confirm
from .look import moment
from .screen import Screen, plural
from .writing import all_or_nothing

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.decisions.adopt import Adoption


def adopt(call: Call) -> Answer:
    """Take over what another tool has applied. Looked at before anything is asked."""
    from airflow_provider_wmigrate.engine.decisions.adopt import adopt as carry_out
    from airflow_provider_wmigrate.engine.decisions.adopt import plan_adoption

    given, tool = call.arguments, TOOLS[_from(call)]
    more = {"table": given.table, "accepted": tuple(given.accept or ())}
    who = by_hand(call, given.reason or f"taken over from {tool.name}")
    with call.session() as session:
        found = plan_adoption(session.conn, who, tool, **more).adoption
    if given.dry_run or not found.adopted:
        return _adopted(call, found)
    names = "".join(f"  {one.version}_{one.name}\n" for one in found.adopted)
    what = f"Take over {plural(len(found.adopted), 'migration')} from {found.table}, without running them"
    confirm(call, f"{what}, on {call.target}:\n{names}")
    return _adopted(call, carry_out(who, tool, agreed=found.versions, **more))


def _adopted(call: Call, found: Adoption) -> Answer:
    def show(screen: Screen) -> None:
        if found.adopted:
            screen.table(
                ("Version", "Name", f"In {found.tool}", "Applied (UTC)", "By", "Checksum"),
                [
                    (
                        one.version,
                        one.name,
                        one.called,
                        moment(one.applied_at) if one.applied_at else "not kept",
                        one.actor or "not kept",
                        one.checksum,
                    )
                    for one in found.adopted
                ],
            )
        for name in found.left_out:
            screen.line(f"{name}: left out, as accepted: it has no file here")
        if found.already:
            screen.line(f"{plural(len(found.already), 'migration')} of it in the ledger already.")
        if found.undone:
            since = f"Rolled back here since, so they stay pending although {found.table} has them"
            screen.line(f"{since}: {', '.join(found.undone)}")
        if found.pending:
            screen.line(f"Pending, {found.tool} has not applied them: {', '.join(found.pending)}")
        count = plural(len(found.adopted), "migration")
        if not found.adopted:
            said = f"Nothing to take over from {found.table}"
        elif found.audit_head is None:
            said = f"Would take over {count} from {found.table}, changed nothing"
        else:
            said = f"Took over {count} from {found.table}, ran nothing"
        screen.line(f"{said}, on {call.target}.")

    data = {"target": call.target_document(), "dry_run": bool(call.arguments.dry_run), "adoption": found}
    return Answer(data, show)


def convert(call: Call) -> Answer:
    """Write another tool's folder as one of ours."""
    given = call.arguments
    found = read_source(TOOLS[_from(call)], Path(given.source))
    dest = Path(given.dest)
    there = _there(found, dest)
    if there != set(found.files) and dest.exists() and dest.samefile(given.source):
        raise FolderError(given.dest, "is the folder that is read", hint="give another one to write")
    _try(found, dest, call)
    if not given.dry_run:
        dest.parent.mkdir(parents=True, exist_ok=True)
        with all_or_nothing(dest) as write:
            for name, content in found.files.items():
                if name not in there:
                    write(name, content)
    return _converted(call, found, there)


def _from(call: Call) -> str:
    return str(vars(call.arguments)["from"])


def _there(found: Converted, dest: Path) -> set[str]:
    """Files that are as they would be written.

    :raises FolderError: one is there with another text, or it is no folder.
    """
    if dest.exists() and not dest.is_dir():
        raise FolderError(str(dest), "is not a folder", hint="give a folder, or a name that is not taken")
    there = {name for name in found.files if (dest / name).exists()}
    for name in sorted(there):
        if (dest / name).read_bytes() != found.files[name]:
            hint = "give a folder that is empty, or that an earlier `convert` wrote and nobody edited"
            raise FolderError(str(dest / name), "is there already, with another text", hint=hint)
    return there


def _try(found: Converted, dest: Path, call: Call) -> None:
    """What would be there is read as any folder is.

    :raises FolderError: it cannot be used, and why.
    """
    from airflow_provider_wmigrate.engine.folder.folder import read_folder

    with tempfile.TemporaryDirectory() as scratch:
        for file in dest.iterdir() if dest.is_dir() else ():
            if file.is_file():
                Path(scratch, file.name).write_bytes(file.read_bytes())
        for name, content in found.files.items():
            Path(scratch, name).write_bytes(content)
        read_folder(Path(scratch), call.environ)


def _converted(call: Call, found: Converted, there: set[str]) -> Answer:
    given = call.arguments
    rows = [{"from": source, "file": file, "rollback": rollback} for source, file, rollback in found.migrations]
    data = {
        "source": given.source,
        "folder": given.dest,
        "dry_run": bool(given.dry_run),
        "migrations": rows,
        "files": list(found.files),
        "unchanged": sorted(there),
        "passed_over": list(found.passed_over),
    }

    def show(screen: Screen) -> None:
        told = [(source, file, "yes" if rollback else "no") for source, file, rollback in found.migrations]
        screen.table(("From", "File", "Rollback"), told)
        for line in found.passed_over:
            screen.line(f"not taken along: {line}")
        count = plural(len(found.migrations), "migration")
        if given.dry_run:
            screen.line(f"Would write {count} into {given.dest}, wrote nothing.")
            return
        screen.line(f"Wrote {count} into {given.dest}. Look at them with `wmigrate check --folder {given.dest}`,")
        screen.line(
            f"and take over what was applied: `wmigrate adopt --from {_from(call)} --folder {given.dest} --dry-run`"
        )

    return Answer(data, show)
