"""Nothing is changed before a person has agreed, or has said beforehand that nobody need be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.model import canonical_version

from .call import Call, identity
from .failure import UsageError

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.decisions.alone import Decider
    from airflow_provider_wmigrate.engine.model import Direction, Plan

VERB: dict[Direction, str] = {"apply": "apply", "rollback": "roll back"}


class Declined(WMigrateError):
    """The person who was asked said no. Nothing was changed."""

    remedy = "give the command again, and answer `y` or give `--yes`"


def confirm(call: Call, question: str, *, prompt: str = "Go on?", beside_yes: str = "") -> None:
    """Ask, naming what will be done and on which target.

    :param beside_yes: what must be typed beside --yes so that nobody is asked; empty: nothing.
    :raises UsageError: there is nobody to ask, and --yes was not given, or not what must stand beside it.
    :raises Declined: the answer was not yes.
    """
    if call.arguments.yes and not beside_yes:
        call.touching = True
        return
    if call.screen.as_json or not call.screen.somebody_answers:
        what = question.splitlines()[0].rstrip(":")
        if call.arguments.yes:
            raise UsageError(f"--yes alone is not enough to {what[0].lower()}{what[1:]}", hint=beside_yes)
        hint = beside_yes or "give --yes"
        raise UsageError(f"this would change the target ({what}), and there is nobody to ask", hint=hint)
    call.screen.tell(question)
    if call.screen.ask(f"{prompt} [y/N]").lower() not in ("y", "yes"):
        raise Declined("not confirmed; nothing was changed")
    call.touching = True


def beside_yes(version: str | None, plan: Plan) -> str:
    """What a `down VERSION` must be written like for --yes to be enough. `down 1` may be meant as one step.

    :param version: as it was typed; None: another way to name what goes was chosen.
    :returns: empty: it is written like that, or a single migration goes.
    """
    in_full = plan.to or canonical_version(0)
    typed = (version or "nothing").strip()
    if typed == "nothing" or len(plan.steps) < 2 or (typed.isdigit() and len(typed) >= len(in_full)):
        return ""
    how = f"`down {in_full} --yes` (the version in full) or `down --steps {len(plan.steps)} --yes`"
    return f"{going(plan)} would go; if that is meant, write {how}"


def going(plan: Plan) -> str:
    """The versions of a rollback, in its order; of many, the first and the last ones."""
    versions = [step.version for step in plan.steps]
    return ", ".join(versions if len(versions) < 6 else [*versions[:3], "...", versions[-1]])


def by_hand(call: Call, reason: str = "") -> Decider:
    """The person who sits here, deciding."""
    from airflow_provider_wmigrate.engine.decisions.alone import Decider

    from .progress import Progress

    folder, told = call.folder, Progress(call.screen, 0)
    return Decider(call.target.connect, folder, identity(), reason, call.environment, told)


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
