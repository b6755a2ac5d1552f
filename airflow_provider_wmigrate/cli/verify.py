"""verify: rollbacks are proven on scratch databases; the target's own is not touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.folder.folder import normalise_version

from .call import Answer, Call, identity
from .failure import DONE, FOUND
from .screen import Screen, plural
from .target import target_of

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.plan.verdict import Verdict


def verify(call: Call) -> Answer:
    """A verdict on each rollback: exit code 3 unless each is exact, or declared irreversible."""
    from airflow_provider_wmigrate.engine.verify import Verification
    from airflow_provider_wmigrate.engine.verify import verify as carry_out

    given = call.arguments
    server = call.target if given.scratch is None else target_of(given.scratch, "--scratch", os.environ)
    known = {m.version for m in call.folder.migrations}
    only = {normalise_version(version, known) for version in given.version or ()}

    def tell(verdict: Verdict) -> None:
        call.screen.progress(f"{verdict.version}_{verdict.name}: {verdict.grade.words}")

    asked = Verification(call.folder, identity(), call.environment, apart=given.scratch is not None, on_verdict=tell)
    verdicts = carry_out(asked, server.connect, only=only, jobs=given.jobs)
    passed = sum(verdict.grade.passes for verdict in verdicts)

    def show(screen: Screen) -> None:
        for verdict in verdicts:
            _show(screen, verdict)
        screen.line(f"{plural(len(verdicts), 'rollback')} verified, {len(verdicts) - passed} not proven.")

    data = {"proven": passed == len(verdicts), "verdicts": [verdict.as_dict() for verdict in verdicts]}
    return Answer(data, show, DONE if passed == len(verdicts) else FOUND)


def _show(screen: Screen, verdict: Verdict) -> None:
    """What is to be said of one, under its name; nothing of one that is simply exact."""
    lines = [*([verdict.reason] if verdict.reason else []), *verdict.differences, *verdict.rows]
    if verdict.rewritten:
        lines.append(f"rewritten or emptied: {', '.join(verdict.rewritten)}")
    lines += [f"unproven: {table} {why}" for table, why in verdict.unproven.items()]
    if lines:
        screen.line(f"{verdict.version}_{verdict.name}: {verdict.grade.words}")
    for line in lines:
        screen.line(f"  {line}")
