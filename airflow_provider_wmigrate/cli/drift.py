"""drift: what others have changed in the schema, who did it, and a person's word that it is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from airflow_provider_wmigrate.engine.errors import WMigrateError

from .call import Answer, Call
from .confirm import ask_reason, by_hand, confirm
from .failure import DONE, FOUND, UsageError
from .screen import Screen, plural, show_findings
from .snapshot import show_difference, show_left_out

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import Difference
    from airflow_provider_wmigrate.engine.ledger.watching import Watched
    from airflow_provider_wmigrate.engine.model import Finding
    from airflow_provider_wmigrate.engine.plan.drift import Drift


def drift(call: Call) -> Answer:
    """What differs from the known schema, and entries that the audit log contradicts: exit code 3 if anything does."""
    if call.arguments.reason and not call.arguments.accept:
        raise UsageError("--reason is for --accept", hint="give both, or none")
    if call.arguments.watch:
        return _watch(call, call.arguments.watch)
    found, forged, watch = _look(call)
    if call.arguments.accept:
        return _accepted(call, found)

    def show(screen: Screen) -> None:
        show_findings(screen, forged)
        for difference in found.differences:
            show_difference(screen, difference)
            change = found.last_change(difference)
            if change:
                screen.line(f"    {change.sentence}")
        show_left_out(screen, found.now)
        if found.known is not None and not found.known.useless(found.now):
            count = plural(len(found.differences), "difference") if found.differences else "No difference"
            screen.line(f"{count} from what was known {found.known.since}{found.cause}.")
        if found.sentence:
            told = "" if found.differences else f"{found.sentence}; "
            screen.line(f"{told}{found.next_step}"[0].upper() + f"{told}{found.next_step}."[1:])
        if watch.state == "broken":
            screen.line(_words(watch))

    data = {"target": call.target_document(), **_document(found), "watch": asdict(watch), "findings": forged}
    wrong = found.sentence or forged or watch.state == "broken"
    return Answer(data, show, FOUND if wrong else DONE)


def _look(call: Call) -> tuple[Drift, list[Finding], Watched]:
    from airflow_provider_wmigrate.engine.ledger.access import reaching_the_ledger
    from airflow_provider_wmigrate.engine.ledger.guard import guard_findings
    from airflow_provider_wmigrate.engine.ledger.known_schema import look_for_drift
    from airflow_provider_wmigrate.engine.ledger.verification import one_moment
    from airflow_provider_wmigrate.engine.ledger.watching import watched

    ledger = call.ledger
    with call.session() as session, reaching_the_ledger(ledger, session.conn):
        version = ledger.version(session.conn)
        if version is None:
            raise WMigrateError(f"there is no ledger in schema {ledger.schema}", hint="run the migrations first")
        with one_moment(session.conn):
            forged = list(guard_findings(session.conn, ledger.schema))
        return look_for_drift(session.conn, ledger.schema, version), forged, watched(session.conn, ledger.schema)


def _watch(call: Call, wish: str) -> Answer:
    """Switch on or off what records the DDL of others, or say how it is."""
    if call.arguments.accept:
        raise UsageError("--watch and --accept are two decisions", hint="give one of them")
    found = _watched(call)
    if wish not in ("status", found.state):
        from airflow_provider_wmigrate.engine.decisions.watch import switch_watch

        confirm(call, _QUESTION[wish].format(call.target))
        switch_watch(by_hand(call), wish == "on")
        found = _watched(call)
    data = {"target": call.target_document(), "watch": asdict(found)}
    return Answer(data, lambda screen: screen.line(_words(found)), FOUND if found.state == "broken" else DONE)


def _watched(call: Call) -> Watched:
    from airflow_provider_wmigrate.engine.ledger.access import reaching_the_ledger
    from airflow_provider_wmigrate.engine.ledger.watching import watched

    with call.session() as session, reaching_the_ledger(call.ledger, session.conn):
        return watched(session.conn, call.ledger.schema)


_QUESTION = {
    "on": "Record who changes the schema of {} without wmigrate, with an event trigger in its transaction:\n"
    "  role, address, name of the client, command tag and objects; never the text of a command",
    "off": "Record no longer who changes the schema of {} without wmigrate:\n"
    "  what is recorded goes into the audit log, and the event triggers are removed",
}


def _words(watch: Watched) -> str:
    if watch.state == "off":
        return "The watch is off: who changes the schema without wmigrate is not recorded."
    if watch.state == "broken":
        return (
            "The watch is broken: somebody has disabled or removed a part of it. Find out who, and make it"
            " again: `wmigrate drift --watch on`."
        )
    waiting = "a number that this role may not see" if watch.waiting is None else str(watch.waiting)
    return f"The watch is on. Recorded and not in the audit log yet: {waiting}; the next run moves them there."


def _accepted(call: Call, found: Drift) -> Answer:
    from airflow_provider_wmigrate.engine.decisions.accept_drift import accept_drift

    if not found.sentence:
        return Answer(_accepted_document(call, found), lambda screen: screen.line("Nothing to accept: no difference."))
    reason = ask_reason(call, "drift that is accepted", "Why is it right?")
    told = [d.sentence for d in found.differences] or [found.sentence]
    shown = "".join(f"\n  {sentence}" for sentence in told)
    confirm(call, f"Take the schema of {call.target} as known:{shown}\n  reason: {reason}")
    done = accept_drift(by_hand(call, reason), found.now.fingerprint)
    said = f"The schema of {call.target} is known now, with {plural(len(done.differences), 'difference')} accepted."
    return Answer(_accepted_document(call, done), lambda screen: screen.line(said))


def _accepted_document(call: Call, found: Drift) -> dict[str, Any]:
    return {"target": call.target_document(), "accepted": [d.as_dict() for d in found.differences]}


def _document(found: Drift) -> dict[str, Any]:
    known = found.known
    kept = None
    if known is not None:
        kept = {"version": known.version, "at": known.at.isoformat(), "fingerprint": known.fingerprint}
    return {
        "known": kept,
        "fingerprint": found.now.fingerprint,
        "unkept": list(found.unkept),
        "differences": [{**d.as_dict(), "by": _by(found, d)} for d in found.differences],
        "sentence": found.sentence,
    }


def _by(found: Drift, difference: Difference) -> str | None:
    change = found.last_change(difference)
    return change.sentence if change else None
