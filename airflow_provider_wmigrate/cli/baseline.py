"""baseline: a person says that the database has it already; the ledger follows, the log keeps who and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.server import refuse_standby
from airflow_provider_wmigrate.engine.errors import HistoryError, WMigrateError
from airflow_provider_wmigrate.engine.folder.folder import normalise_version

from .call import Answer, Call
from .confirm import ask_reason, by_hand, confirm
from .failure import UsageError
from .screen import Screen, plural

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.decisions.baseline import Baselined
    from airflow_provider_wmigrate.engine.model import Plan


def baseline(call: Call) -> Answer:
    """Declare what a version stands for applied, without running it."""
    from airflow_provider_wmigrate.engine.decisions.baseline import baseline as carry_out

    given = call.arguments
    if given.no_compare and (given.compare or given.scratch or given.accept):
        raise UsageError("--no-compare goes with no --compare, --scratch and --accept", hint="leave it out, or them")
    if call.arguments.undo:
        return _undo(call)
    planned = _planned(call)
    if not planned.steps:
        return _answer(call, planned, None)
    reason = ask_reason(call, "a baseline", f"Why is {planned.to} the baseline?")
    accepted = None if given.no_compare else _compared(call, str(planned.to))
    names = "".join(f"  {step.version}_{step.name}\n" for step in planned.steps)
    what = f"Declare {plural(len(planned.steps), 'migration')} applied, without running them, on {call.target}"
    confirm(call, f"{what}:\n{names}  reason: {reason}")
    agreed = [step.version for step in planned.steps]
    done = carry_out(by_hand(call, reason), str(planned.to), agreed=agreed, accepted=accepted)
    return _answer(call, planned, done)


def _compared(call: Call, to: str) -> tuple[str, ...]:
    """The differences that were accepted.

    :raises HistoryError: the target has another schema, or is a standby.
    :raises WMigrateError: nobody can say whether it has: then a person may.
    """
    with call.session() as session:
        refuse_standby(session.login.standby)
    try:
        return _compare(call, to)
    except WMigrateError as error:
        if isinstance(error, HistoryError) and error.findings[0].code == "not_as_replayed":
            raise
        way = "or declare it on your word with --no-compare"
        raise WMigrateError(f"the schema cannot be compared: {error}; {way}") from error


def _compare(call: Call, to: str) -> tuple[str, ...]:
    """Hold the target against a scratch database on which the migrations were run.

    :raises HistoryError: they differ in something that nobody has accepted; all of it is told.
    """
    from airflow_provider_wmigrate.engine.replay import compare_with_replay, not_accepted

    scratch, accepted = call.scratch(), call.arguments.accept or ()
    call.screen.progress(f"applying the migrations up to {to} to a scratch database, to compare")
    compared = compare_with_replay(call.target.connect, call.folder, to, scratch, accepted)
    for kind, number in compared.not_compared.items():
        call.screen.tell(f"not compared: {number} x {kind}")
    findings = not_accepted(compared, to)
    for finding in findings[1:] if not call.screen.as_json else ():
        call.screen.tell(str(finding))
    if findings:
        raise HistoryError(findings)
    return compared.accepted


def _undo(call: Call) -> Answer:
    """Take a baseline back. Looked at before anything is asked, as a baseline is."""
    from airflow_provider_wmigrate.engine.decisions.baseline import (
        baseline_named,
        declared_by,
        not_undoable,
        undo_baseline,
    )

    who = by_hand(call)
    with call.session() as session:
        there = call.ledger.version(session.conn) is not None
        known = declared_by(session.conn, call.ledger) if there else {}
        to = baseline_named(str(call.arguments.version), known)
        findings = not_undoable(known[to], call.ledger.entries(session.conn))
    if findings:
        raise HistoryError(findings)
    reason = ask_reason(call, "taking back a baseline", f"Why is the baseline to {to} taken back?")
    names = "".join(f"  {version}\n" for version in known[to])
    what = f"Take back the baseline to {to} on {call.target}, without running anything; these are pending again"
    confirm(call, f"{what}:\n{names}  reason: {reason}")
    done = undo_baseline(replace(who, reason=reason), to)
    said = f"Took back the baseline to {to}: {', '.join(done.versions)} declared no longer, on {call.target}."
    return Answer({"target": call.target_document(), "undone": done}, lambda screen: screen.line(said))


def _planned(call: Call) -> Plan:
    """Looked at before anything is asked: nobody writes a reason for what will be refused."""
    from airflow_provider_wmigrate.engine.decisions.baseline import plan_baseline

    migrator = call.migrator()
    to = normalise_version(str(call.arguments.version), migrator.migrations)
    planned = plan_baseline(list(migrator.migrations.values()), migrator.graph, migrator.read(), to=to)
    if planned.findings:
        raise HistoryError(planned.findings)
    return planned


def _answer(call: Call, planned: Plan, done: Baselined | None) -> Answer:
    """:param done: None: there was nothing to do."""
    declared = set(done.versions if done else ())

    def show(screen: Screen) -> None:
        for step in planned.steps:
            if step.version in declared:
                screen.line(f"{step.version}_{step.name}: declared applied")
        for version, reason in planned.left_out.items():
            screen.line(f"{version}: left out ({reason})")
        if declared:
            what = f"Declared {plural(len(declared), 'migration')} applied, ran nothing"
        else:
            what = f"Nothing to declare up to {planned.to}"
        screen.line(f"{what}, on {call.target}.")

    data = {"target": call.target_document(), "baselined": done, "left_out": planned.left_out}
    return Answer(data, show)
