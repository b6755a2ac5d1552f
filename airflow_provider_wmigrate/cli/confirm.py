"""Nothing is changed before a person has agreed, or has said beforehand that nobody need be asked."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.errors import WMigrateError

from .call import Call
from .failure import UsageError


class Declined(WMigrateError):
    """The person said no."""


def confirm(call: Call, question: str) -> None:
    """Ask, naming what will be done and on which target.

    :raises UsageError: there is nobody to ask, and --yes was not given.
    :raises Declined: the answer was not yes.
    """
    if call.arguments.yes:
        call.touching = True
        return
    refuse_without_a_person(call, question.splitlines()[0].rstrip(":"))
    call.screen.tell(question)
    if call.screen.ask("Go on? [y/N]").lower() not in ("y", "yes"):
        raise Declined("not confirmed; nothing was changed")
    call.touching = True


def refuse_without_a_person(call: Call, what: str) -> None:
    """Without a terminal, and with --json, there is nobody to ask."""
    if call.screen.as_json or not call.screen.somebody_answers:
        raise UsageError(f"this would change the target ({what}), and there is nobody to ask", hint="give --yes")


def ask_reason(call: Call, what: str, question: str) -> str:
    """The one that was given, else what a person answers.

    :raises UsageError: neither.
    """
    reason = " ".join((call.arguments.reason or "").split())
    if reason:
        return reason
    if call.arguments.yes or call.screen.as_json or not call.screen.somebody_answers:
        raise UsageError(f"{what} needs a reason, which the audit log keeps", hint="give --reason")
    reason = call.screen.ask(f"{question} (kept in the audit log)")
    if not reason:
        raise UsageError(f"{what} needs a reason, which the audit log keeps")
    return reason
