"""One strike: bring a run to its moment, strike, try again as Airflow would, and judge what is there in the end."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Any, Literal

import psycopg

from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.repair import Decision, repair
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Identity

from . import picture
from .arena import KINDS, LIMIT, Arena, Clean, Conn, eventually
from .faults import FAULTS
from .kinds import Kind
from .moments import Approach, Moment, boundaries, commits, on_wire, timed
from .scene import Scene
from .shortages import NEEDS_A_DISK, job_of, suits

TRIES = 5
DEAR = {"network silent, unnoticed": 5, "server frozen": 5, "no synchronous standby": 5, "budget used up": 5}
"""Faults that take their time, all of it waited through: how many of each kind of migration are enough."""
GOOD = {"applied", "already_applied", "rolled_back", "not_applied"}

Result = Literal["recovered", "stopped", "lost"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A strike to be: enough to repeat it."""

    kind: str
    fault: str
    moment: Moment
    coin: bool

    def __str__(self) -> str:
        return f"{self.kind} / {self.fault} / {self.moment} / {'heads' if self.coin else 'tails'}"


@dataclass
class Verdict:
    """What came of it."""

    plan: Plan
    result: Result = "recovered"
    advice: str | None = None
    """What the runner said to a person when it did not go on by itself."""
    losses: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """Nothing is lost, but it is not as it should be: an error not in the engine's words, a session left open."""
    seconds: float = 0.0
    reached: bool = True
    ends: list[str] = field(default_factory=list)
    """What the runners ended with, in order: an outcome, or an error in words."""


def plans(arena: Arena, seed: int, count: int | None, *, kinds: list[str], faults: list[str]) -> list[Plan]:
    """Strikes for every kind and fault in turn: first the statement boundaries in any order, then the requests on the
    wire and moments at random.

    :param count: how many in all; None: every boundary and as many others.
    """
    possible = [f for f in faults if f != NEEDS_A_DISK or arena.disk is not None]
    columns = [_plans_of(arena, KINDS[k], fault, seed) for k in kinds for fault in possible]
    if count is None:
        return [plan for column, enough in columns for plan in column[:enough]]
    turns = (plan for row in zip_longest(*(column for column, _ in columns)) for plan in row if plan)
    return [plan for plan, _ in zip(turns, range(count), strict=False)]


def _plans_of(arena: Arena, kind: Kind, fault: str, seed: int) -> tuple[list[Plan], int]:
    dice = random.Random(f"{seed}/{kind.name}/{fault}")
    clean = arena.learn(kind)
    first: list[Moment] = []
    wire: list[Moment] = []
    if fault == "cut during COMMIT":
        first = [*commits(clean)]
    elif fault != "two runners":
        first, wire = boundaries(kind, clean), [*on_wire(clean)]
    dice.shuffle(first)
    dice.shuffle(wire)
    chance = timed(dice, 200) if fault != "cut during COMMIT" else []
    rest = [m for pair in zip_longest(wire, chance) for m in pair if m is not None]
    first, rest = ([m for m in moments if suits(fault, m)] for moments in (first, rest))
    if fault in DEAR:
        turns = (m for pair in zip_longest(first, rest) for m in pair if m is not None)
        first, rest = [*islice(turns, DEAR[fault])], []
    everything = [Plan(kind.name, fault, moment, dice.random() < 0.5) for moment in [*first, *rest]]
    return everything, max(2 * len(first), 12)


def strike(arena: Arena, plan: Plan) -> Verdict:
    verdict = Verdict(plan)
    start = time.monotonic()
    clean, kind = arena.learn(KINDS[plan.kind]), KINDS[plan.kind]
    with arena.database(clean.template, on_small_disk=plan.fault == NEEDS_A_DISK) as database:
        approach = Approach(arena, kind, clean, database, **job_of(plan.fault, coin=plan.coin))
        scene = Scene(arena, kind, clean, database, approach, plan.coin)
        try:
            approach.begin(plan.moment)
            verdict.reached = approach.reached
            FAULTS[plan.fault](scene)
            _aftermath(scene, verdict)
            if not any(_is_good(m) for m in _ends(scene)):
                _try_again(scene, verdict)
            _judge(scene, verdict)
            verdict.losses += scene.losses
            verdict.ends = [end.get("outcome") or end["message"] for end in _ends(scene)]
        except TimeoutError as error:
            verdict.losses.append(f"hang: {error}")
        finally:
            approach.release()
            for run in filter(None, (*scene.others, approach.run)):
                run.close()
            arena.wire.arm(None)
    if verdict.losses:
        verdict.result = "lost"
    elif verdict.advice:
        verdict.result = "stopped"
    verdict.seconds = time.monotonic() - start
    return verdict


def _ends(scene: Scene) -> Iterator[dict[str, Any]]:
    for run in scene.runs:
        yield from (m for m in run.told if m["told"] == "end")


def _is_good(end: dict[str, Any]) -> bool:
    return end.get("outcome") in GOOD


def _aftermath(scene: Scene, verdict: Verdict) -> None:
    """Wait for the runners that were struck. Whatever they leave open must be gone while their processes live on."""
    for run in scene.runs:
        end = run.end(LIMIT)
        if end is None and not run.killed:
            verdict.remarks.append("the runner's process died")
        elif end is not None:
            _note(end, verdict)
    gone = lambda: not _left_behind(scene)  # noqa: E731
    try:
        eventually(gone, "sessions of the struck runners end", 4.0)
    except TimeoutError:
        verdict.remarks += _left_behind(scene)
    if verdict.plan.fault != "two runners":
        scene.run.close()


def _note(end: dict[str, Any], verdict: Verdict) -> None:
    if "foreign" in end:
        verdict.remarks.append(f"an error not in the engine's words: {end['error']}: {end['foreign']}")
    if "error" in end and not end["retryable"]:
        verdict.advice = f"{end['message']} ({end.get('hint') or 'no hint'})"


def _left_behind(scene: Scene) -> list[str]:
    with scene.arena.conn(scene.database) as conn:
        return picture.left_behind(conn)


def _try_again(scene: Scene, verdict: Verdict) -> None:
    for number in range(1, TRIES + 1):
        run = scene.arena.start(scene.kind, scene.arena.direct(scene.database), name=f"retry {number}")
        scene.others.append(run)
        end = run.end(LIMIT)
        if end is None:
            verdict.losses.append("the process of the next try died")
            return
        if _is_good(end):
            return
        _note(end, verdict)
        if "in_flight" in (end.get("codes") or ()):
            _person(scene, verdict)
    verdict.losses.append(f"no try succeeded: {end}")


def _person(scene: Scene, verdict: Verdict) -> None:
    """Looks at the database, as the advice says, decides, and finishes by hand what is half done."""
    if scene.kind.repeatable:
        verdict.losses.append("a person was asked about what is declared to be repeatable")
        return
    with scene.arena.conn(scene.database) as conn:
        row = conn.execute("SELECT statements_done FROM wmigrate.schema_migrations WHERE version = '002'").fetchone()
        look = scene.kind.looks.get(row[0]) if row else None
        if look is None:
            verdict.losses.append(f"a person was asked about statement {row and row[0] + 1}, and cannot tell either")
            return
        eventually(lambda: len(picture.left_behind(conn)) == 0, "nobody is at work", 5.0)
        (seen,) = conn.execute(look.query.encode()).fetchone() or (0,)
        if 0 < seen < look.parts:
            conn.execute(look.rest.encode())
    decision: Decision = "ran" if seen else "again"
    connect = lambda: psycopg.connect(scene.arena.direct(scene.database))  # noqa: E731
    person = Decider(
        connect, read_folder(scene.arena.folder(scene.kind)), Identity("person"), reason="looked at the database"
    )
    repair(person, "002", decision)


def _judge(scene: Scene, verdict: Verdict) -> None:
    """Compare with the clean run."""
    clean: Clean = scene.clean
    with scene.arena.conn(scene.database) as conn:
        verdict.losses += picture.differences(clean.wanted, picture.take(conn))
        verdict.losses += picture.audit_faults(conn, outcome=clean.outcome)
        verdict.losses += _twice(conn, scene)
        verdict.losses += picture.times_of_another_clock(conn)


def _twice(conn: Conn, scene: Scene) -> list[str]:
    acted = [end for end in _ends(scene) if end.get("outcome") in ("applied", "rolled_back")]
    return [f"done {len(acted)} times"] if len(acted) > 1 else []
