"""kept: what migrations have put aside instead of destroying it, and letting go of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .call import Answer, Call
from .confirm import confirm
from .failure import UsageError
from .progress import Progress
from .screen import Screen, plural

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.ledger.kept import KeptThing


def kept(call: Call) -> Answer:
    """List it, or drop what is older than some days."""
    given = call.arguments
    if given.empty:
        return _emptied(call, given.older_than or 0)
    if given.older_than is not None:
        raise UsageError("--older-than is for --empty", hint="give both, or none")
    things = _look(call)

    def show(screen: Screen) -> None:
        for thing in things:
            screen.line(f"{thing.version}  {thing.since:%Y-%m-%d %H:%M}  {thing.kept}  in {thing.kept.place}")
        days = call.settings.keep_days
        until = f", each for {days:g} days" if days else ""
        screen.line(f"{plural(len(things), 'thing')} kept{until if things else ''}.")

    return Answer({"target": call.target_document(), "kept": _documents(things)}, show)


def _look(call: Call) -> tuple[KeptThing, ...]:
    from airflow_provider_wmigrate.engine.ledger.access import reaching_the_ledger
    from airflow_provider_wmigrate.engine.ledger.kept import all_kept

    with call.session() as session, reaching_the_ledger(call.ledger, session.conn):
        return all_kept(session.conn, call.ledger.schema)


def _emptied(call: Call, days: int) -> Answer:
    told = f"what was kept for more than {plural(days, 'day')}" if days else "everything that is kept"
    confirm(call, f"Drop {told} on {call.target}; no rollback gives it back then")
    with Progress(call.screen, 0) as progress:
        gone = call.migrator(progress).empty_kept(days)
    return Answer(
        {"target": call.target_document(), "emptied": _documents(gone)},
        lambda screen: screen.line(f"{plural(len(gone), 'thing')} dropped."),
    )


def _documents(things: tuple[KeptThing, ...]) -> list[dict[str, Any]]:
    return [{"version": each.version, "since": each.since, **each.kept.as_dict()} for each in things]
