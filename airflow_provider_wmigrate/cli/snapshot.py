"""snapshot and diff: a picture of the target's schema, and what differs between two."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.errors import WMigrateError

from .call import Answer, Call
from .failure import DONE, FOUND, UsageError
from .screen import Screen, plural
from .target import target_of

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import Difference
    from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot


def snapshot(call: Call) -> Answer:
    """The target's schema as facts, with its fingerprint; incomplete: exit code 3."""
    taken = _of_target(call)
    document = taken.as_dict()
    output = call.arguments.output
    if output:
        try:
            Path(output).write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise WMigrateError(f"{output} cannot be written: {error.strerror}", hint="name another file") from error
    counts = Counter(fact.schema for fact in taken.facts)

    def show(screen: Screen) -> None:
        rows = ((name or "(none)", str(counts[name]), value[:16]) for name, value in taken.schemas.items())
        screen.table(("Schema", "Facts", "Fingerprint"), rows)
        show_left_out(screen, taken)
        screen.line(f"{plural(len(taken.facts), 'fact')} of {call.target}: {taken.fingerprint}")
        if output:
            screen.line(f"Written to {output}.")

    return Answer({"target": call.target_document(), **document}, show, FOUND if taken.unseen else DONE)


def diff(call: Call) -> Answer:
    """What differs: exit code 3 if anything does."""
    from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import diff as differing
    from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import remarks

    before = _read(call, call.arguments.before)
    after = _read(call, call.arguments.after) if call.arguments.after else _of_target(call)
    if before.format != after.format:
        raise WMigrateError(
            f"the snapshots are of formats {before.format} and {after.format}", hint="take both with the same wmigrate"
        )
    found, shown = differing(before, after), remarks(before, after)
    data = {"same": not found, "differences": [d.as_dict() for d in found], "remarks": list(shown)}

    def show(screen: Screen) -> None:
        for difference in found:
            show_difference(screen, difference)
        for remark in shown:
            screen.line(f"No difference: {remark}")
        for one in (before, after):
            show_left_out(screen, one)
        screen.line(f"{plural(len(found), 'difference')}." if found else "No difference.")

    return Answer(data, show, FOUND if found else DONE)


def show_difference(screen: Screen, difference: Difference) -> None:
    """Its sentence, and the lines of a long text that differ."""
    screen.line(difference.sentence)
    for line in difference.lines:
        screen.line(f"    {line}")


def show_left_out(screen: Screen, taken: Snapshot) -> None:
    """What is there and no fact tells of."""
    for kind, number in taken.not_compared.items():
        screen.line(f"Not compared: {number} {kind}")
    for kind, why in taken.unseen.items():
        screen.line(f"Not seen: {kind}; {why}")


def _of_target(call: Call) -> Snapshot:
    from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take

    with call.session() as session:
        return take(session.conn)


def _read(call: Call, source: str) -> Snapshot:
    """:param source: a file, or a target as --dsn takes it."""
    from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot
    from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
    from airflow_provider_wmigrate.engine.session.session import open_session

    file = Path(source)
    if file.is_file():
        try:
            return Snapshot.from_dict(json.loads(file.read_text(encoding="utf-8")))
        except ValueError as error:
            raise WMigrateError(f"{source} is no snapshot", hint="write one with `wmigrate snapshot`") from error
    if "://" not in source and "=" not in source:
        raise UsageError(f"{source} is no file", hint="name a file of `wmigrate snapshot`, or a target as --dsn does")
    with open_session(
        target_of(source, "the target", call.environ).connect, application_name="wmigrate diff"
    ) as session:
        return take(session.conn)
