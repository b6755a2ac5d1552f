"""verify: rollbacks are proven on scratch databases; the target's own is not touched."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.folder.folder import normalise_version
from airflow_provider_wmigrate.engine.folder.verdict_file import VERDICT_FILE, about, as_text, read_verdicts

from . import own_server
from .call import Answer, Call, identity
from .failure import DONE, FOUND, UsageError
from .screen import Screen, plural
from .writing import replace_file

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.plan.verdict import Verdict
    from airflow_provider_wmigrate.engine.session.connection import Connect
    from airflow_provider_wmigrate.engine.verify import Verified


def verify(call: Call) -> Answer:
    """A verdict on each rollback: exit code 3 unless each is exact, declared irreversible, or accepted."""
    from airflow_provider_wmigrate.engine.plan.proven import accepted, with_verdicts
    from airflow_provider_wmigrate.engine.verify import Verification
    from airflow_provider_wmigrate.engine.verify import verify as carry_out

    # Of a call that is interrupted, connections are cut off: psycopg would tell that beside our own sentence.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    given = call.arguments
    known = {m.version for m in call.folder.migrations}
    only, accept = _versions(given.version, known), _versions(given.accept, known)
    _check_accepted(accept, only or known, writes=given.write)
    read_verdicts(call.folder.path)  # one that nobody can read is told before the work and not behind it

    def tell(verdict: Verdict) -> None:
        call.screen.progress(f"{verdict.version}_{verdict.name}: {verdict.grade.words}")

    def tell_left(name: str) -> None:
        call.screen.progress(f"dropped {name}, which a killed run had left")

    with _server(call) as (connect, apart):
        asked = Verification(
            call.folder, identity(), call.environment, apart=apart, on_verdict=tell, on_left_behind=tell_left
        )
        found = carry_out(asked, connect, only=only, jobs=given.jobs or os.cpu_count() or 1)
    texts, written = about(call.folder.migrations), read_verdicts(call.folder.path)
    if given.write:
        written = with_verdicts(texts, written, found.verdicts, found.postgresql, accept)
        replace_file(Path(os.path.realpath(call.folder.path / VERDICT_FILE)), as_text(written))
    taken = {verdict.version for verdict in found.verdicts if accepted(texts, written, verdict)}
    return _answer(found, taken, wrote=given.write)


@contextmanager
def _server(call: Call) -> Iterator[tuple[Connect, bool]]:
    """Where scratch databases are made, and whether that server is there for nothing else."""
    apart = call.scratch_target
    if apart is not None:
        yield apart.connect, True
    elif call.arguments.scratch or call.optional_target or not own_server.is_installed():
        yield call.target.connect, False
    else:
        call.screen.progress("starting a PostgreSQL server of its own")
        with own_server.own_server() as connect:
            yield connect, True


def _versions(given: Sequence[str] | None, known: Collection[str]) -> set[str]:
    return {normalise_version(version, known) for version in given or ()}


def _check_accepted(accept: Collection[str], verified: Collection[str], *, writes: bool) -> None:
    if accept and not writes:
        raise UsageError("--accept goes with --write", hint=f"what is accepted stands in {VERDICT_FILE}: give --write")
    if others := sorted(set(accept) - set(verified), key=int):
        hint = f"name it before the options too: `wmigrate verify {others[0]} --write --accept {others[0]}`"
        raise UsageError(f"--accept {others[0]} is for a migration that is not verified in this call", hint=hint)


def _answer(found: Verified, taken: Collection[str], *, wrote: bool) -> Answer:
    verdicts, unproven = found.verdicts, found.unproven(taken)

    def show(screen: Screen) -> None:
        for verdict in verdicts:
            if lines := verdict.lines():
                accepted = ", accepted" if verdict.version in taken else ""
                screen.line(f"{verdict.version}_{verdict.name}: {verdict.grade.words}{accepted}")
            for line in lines:
                screen.line(f"  {line}")
        screen.line(f"{plural(len(verdicts), 'rollback')} verified, {len(unproven)} not proven.")
        if wrote:
            screen.line(f"The verdicts stand in {VERDICT_FILE}: commit it with the migrations.")

    return Answer(found.document(taken), show, FOUND if unproven else DONE)
