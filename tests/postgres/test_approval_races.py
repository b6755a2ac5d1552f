"""Somebody changes something at a random moment around an approval: what is not what was approved is never applied.

The long form: `make races` (200; `RACES=1000` for more).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import NamedTuple

import psycopg
import pytest
from test_approval import ALICE, CONFIG, FILES, Approving

from airflow_provider_wmigrate.engine.errors import FolderError, HistoryError, WMigrateError
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.plan.proposal import Proposal
from dev.cluster import Cluster

RACES = int(os.environ.get("RACES", "12"))
SPAN = 0.25
"""Seconds within which the change comes, from the approval on."""


class Turn(NamedTuple):
    """One migration of the run: when its process began, and whether it was applied."""

    version: str
    began: float
    applied: bool


def replace(file: Path, text: str) -> None:
    """As an editor or a checkout does it: no reader sees half a file."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def edit(run: Approving, proposal: Proposal, kind: str) -> None:
    carol = run.migrator(Identity("carol"))
    if kind == "script":
        replace(run.folder / "003_c.sql", "ALTER TABLE a ADD c bytea;")
    elif kind == "rollback":
        replace(run.folder / "002_b.rollback.sql", "SELECT 1;")
    elif kind == "config":
        replace(run.folder / "migration_config.yaml", CONFIG.replace("60", "61"))
    elif kind == "ledger":
        carol.apply("002")
    elif kind == "rejected":
        run.answer(proposal, "rejected", by="dave")
    else:
        with psycopg.connect(run.database, autocommit=True) as conn:
            conn.execute("CREATE TABLE other (id int)")


KINDS = ("script", "rollback", "config", "ledger", "rejected", "schema")


def turns(run: Approving, proposal: Proposal, approved: Event) -> Iterator[Turn]:
    """Each migration as a task of its own does it: in a new process, which reads the folder anew."""
    run.answer(proposal)
    approved.set()
    for version in proposal.versions:
        began = time.monotonic()
        try:
            run.apply(proposal, version)
        except HistoryError as error:
            if not {f.code for f in error.findings} <= {"not_as_approved", "dependency_unmet"}:
                raise
            yield Turn(version, began, False)
        except FolderError as error:
            if "was edited since the folder was read" not in str(error):
                raise
            yield Turn(version, began, False)  # the change came after the look, and before the commit
        else:
            yield Turn(version, began, True)


def race(run: Approving, proposal: Proposal, kind: str, delay: float) -> tuple[list[Turn], float]:
    """What became of the run, and when the change was made."""

    approved = Event()

    def change() -> float:
        if kind == "rejected":  # the last answer counts
            approved.wait()
        time.sleep(delay)
        try:
            edit(run, proposal, kind)
        except WMigrateError:  # somebody else was first, or it waited too long
            return float("inf")
        return time.monotonic()

    with ThreadPoolExecutor(2) as pool:
        changed = pool.submit(change)
        done = list(pool.submit(lambda: list(turns(run, proposal, approved))).result())
    return done, changed.result()


def deviations(run: Approving, proposal: Proposal, kind: str, done: list[Turn], changed: float) -> list[str]:
    """What was applied and was not what a person had approved."""
    with psycopg.connect(run.database) as conn:
        query = (
            "SELECT version, checksum, rollback_checksum FROM wmigrate.schema_migrations WHERE run_id = %s ORDER BY 1"
        )
        applied = {version: both for version, *both in conn.execute(query, [ALICE.run_id])}
    approved = {step.version: [step.checksum, step.rollback_checksum] for step in proposal.steps}
    found = [f"{kind}: {v} is not the one approved" for v, both in applied.items() if both != approved[v]]
    first = min(turn.began for turn in done)
    for turn in done:
        begun = first if kind == "schema" else turn.began  # the run itself changes the schema from then on
        mine = turn.applied and turn.version in applied
        if mine and changed < begun:
            found.append(f"{kind}: {turn.version} was applied although that was changed before it began")
    return found


@pytest.mark.timeout(60 + 10 * RACES)
def test_what_is_changed_around_an_approval_is_never_applied(
    cluster: Cluster, make_folder: Callable[..., Path]
) -> None:
    chance = random.Random(int(os.environ.get("SEED", "1")))
    found: list[str] = []
    seen: Counter[str] = Counter()
    for number in range(RACES):
        kind = KINDS[number % len(KINDS)]
        database = f"race_{os.getpid()}_{number}"
        run = Approving(cluster.create_database(database), make_folder(FILES))
        proposal = run.plan()
        done, changed = race(run, proposal, kind, chance.uniform(0, SPAN))
        found += deviations(run, proposal, kind, done, changed)
        how = {turn.applied for turn in done}
        seen["in part" if len(how) == 2 else "applied" if True in how else "refused"] += 1
        cluster.drop_database(database)
    print(f"{RACES} races, {dict(seen)}, {len(found)} deviations")
    assert found == []
