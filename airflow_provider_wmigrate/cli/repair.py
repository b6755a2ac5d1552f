"""repair: a person decides, the ledger follows, the audit log keeps who and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.folder.folder import normalise_version
from airflow_provider_wmigrate.engine.model import Finding

from .call import Answer, Call
from .confirm import ask_reason, by_hand, confirm
from .failure import UsageError

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.decisions.repair import Decision


def repair(call: Call) -> Answer:
    """Settle one migration."""
    from airflow_provider_wmigrate.engine.decisions.repair import DECISIONS
    from airflow_provider_wmigrate.engine.decisions.repair import repair as carry_out

    decision = _decision(call)
    who, target = by_hand(call), call.target
    version = _fitting(call, decision)
    reason = ask_reason(call, "a repair", f"Why is {version} repaired?")
    confirm(call, f"Repair the ledger on {target}:\n  {version}: {DECISIONS[decision]}\n  reason: {reason}")
    done = carry_out(replace(who, reason=reason), version, decision)
    said = f"{done.version}_{done.name}: {done.before.words} -> {done.after.words} on {target}."
    return Answer({"target": call.target_document(), "repaired": done}, lambda screen: screen.line(said))


def _fitting(call: Call, decision: Decision) -> str:
    """The version, looked at before anything is asked: nobody writes a reason for what will be refused."""
    from airflow_provider_wmigrate.engine.decisions.repair import repaired

    migrator = call.migrator()
    state = migrator.read()
    entries = {e.version: e for e in state.entries}
    known, where = {*migrator.migrations, *entries}, "this folder or the ledger"
    version = normalise_version(str(call.arguments.version), known, where=where)
    unfit = repaired(migrator.migrations.get(version), entries.get(version), decision, state)
    if isinstance(unfit, Finding):
        raise HistoryError([unfit])
    return version


def _decision(call: Call) -> Decision:
    from airflow_provider_wmigrate.engine.decisions.repair import DECISIONS

    given = [decision for decision in DECISIONS if getattr(call.arguments, decision)]
    if len(given) != 1:
        known = ", ".join(f"--{decision}" for decision in DECISIONS)
        raise UsageError(f"a repair needs one decision, {len(given)} are given", hint=f"one of {known}")
    return given[0]
