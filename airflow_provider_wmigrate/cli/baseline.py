"""baseline: a person says that the database has it already; the ledger follows, the log keeps who and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.folder.folder import normalise_version

from .call import Answer, Call
from .confirm import ask_reason, by_hand, confirm
from .screen import Screen, plural

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.decisions.baseline import Baselined
    from airflow_provider_wmigrate.engine.model import Plan


def baseline(call: Call) -> Answer:
    """Declare what a version stands for applied, without running it."""
    from airflow_provider_wmigrate.engine.decisions.baseline import baseline as carry_out

    if call.arguments.undo:
        return _undo(call)
    planned = _planned(call)
    if not planned.steps:
        return _answer(call, planned, None)
    reason = ask_reason(call, "a baseline", f"Why is {planned.to} the baseline?")
    names = "".join(f"  {step.version}_{step.name}\n" for step in planned.steps)
    what = f"Declare {plural(len(planned.steps), 'migration')} applied, without running them, on {call.target}"
    confirm(call, f"{what}:\n{names}  reason: {reason}")
    agreed = [step.version for step in planned.steps]
    done = carry_out(call.target.connect, call.folder, str(planned.to), agreed=agreed, **by_hand(call, reason))
    return _answer(call, planned, done)


def _undo(call: Call) -> Answer:
    """Take a baseline back. Looked at before anything is asked, as a baseline is."""
    from airflow_provider_wmigrate.engine.decisions.baseline import (
        baseline_named,
        declared_by,
        not_undoable,
        undo_baseline,
    )

    folder = call.folder
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
    done = undo_baseline(call.target.connect, folder, to, **by_hand(call, reason))
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
