"""More faults: what a runner needs and does not get. A lock, time, an answer, a standby, room on the disk, a clock."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import psycopg

from .arena import LIMIT, eventually
from .kinds import Limits
from .moments import Approach, Gate, Held, Moment, OnWire, Told
from .scene import Scene

NEEDS_A_DISK = "disk full"


def job_of(fault: str, *, coin: bool) -> dict[str, Any]:
    """What the struck runner is told beside its script."""
    if fault in ("network silent, unnoticed", "server frozen"):
        return {"limits": Limits(total=2), "impatient": True}
    if fault == "no synchronous standby" and not coin:
        return {"limits": Limits(total=3), "impatient": True}
    limits = {"lock timeout": Limits(lock=0.4), "deadlock": Limits(lock=10), "budget used up": Limits(total=2)}
    return {"limits": limits.get(fault, Limits()), "clock": fault == "runner's clock wrong"}


def suits(fault: str, moment: Moment) -> bool:
    """Whether a fault can be had at a moment."""
    if fault in ("lock timeout", "budget used up", "deadlock"):
        return isinstance(moment, Gate | Held)
    if fault == "serialization failure":
        return isinstance(moment, Held) and moment.hold.conflicts
    if fault == "server frozen":
        return isinstance(moment, Told | OnWire)
    if fault == "no synchronous standby":  # while there is still something to be committed
        return isinstance(moment, Told | Gate | Held)
    return True


def lock_timeout(scene: Scene) -> None:
    """A lock that is not free in time. Coin: free for the runner's own next attempt, or for the next runner."""
    scene.run.go(60)
    _attempt_over(scene) if scene.coin else scene.run.end(LIMIT)
    scene.release()


def out_of_time(scene: Scene) -> None:
    """The migration's budget ends in the middle of a statement."""
    scene.run.go(60)
    scene.run.end(LIMIT)
    scene.release()


def deadlocked(scene: Scene) -> None:
    """What the runner waits for waits for what the runner has. It is the runner that notices."""
    scene.run.go(60)
    approach = scene.approach
    with scene.arena.conn(scene.database) as conn:
        row = conn.execute(
            "SELECT ((classid::int8 << 32) | objid::int8) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
            " AND granted AND pid = ANY (%s)",
            [approach.backends()],
        ).fetchone()
        asking = threading.Thread(target=_ask, args=[approach, row and row[0]])
        asking.start()
        _attempt_over(scene)
        conn.execute("SELECT pg_terminate_backend(%s)", [approach.holder.info.backend_pid])
        asking.join()
    scene.release()


def _ask(approach: Approach, number: int | None) -> None:
    with contextlib.suppress(psycopg.Error):
        approach.holder.execute("SET LOCAL deadlock_timeout = '1min'")
        approach.holder.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def not_serializable(scene: Scene) -> None:
    """Another transaction has changed the row that a statement waits for."""
    scene.release(commit=True)


def frozen(scene: Scene) -> None:
    """The server stands still: it takes what it is sent and answers nothing. When it wakes up it reads all of it."""
    with scene.arena.frozen():
        scene.release()
        scene.run.end(LIMIT)


def without_standby(scene: Scene) -> None:
    """Commits wait for a standby that is not there. Coin: it comes back, or the runner's budget ends first."""
    with scene.arena.without_standby():
        scene.release()
        if scene.coin:
            scene.run.until("Waiting", LIMIT)
        else:
            scene.run.end(LIMIT)
        done = any("outcome" in m for m in scene.run.told)
        if scene.approach.reached and done and not any("standby" in m.get("event", "") for m in scene.run.told):
            scene.losses.append("told as done, and nothing of the standby that never confirmed it")


def disk_full(scene: Scene) -> None:
    """No file of the database can grow."""
    assert scene.arena.disk is not None
    with scene.arena.disk.full():
        scene.release()
        scene.run.end(LIMIT)


def clock_wrong(scene: Scene) -> None:
    """Their clocks jump by up to a year each time they are read. Coin: the runner is killed as well, or another one
    waits for it, and both have to come to their end by themselves."""
    if scene.coin:
        scene.run.kill()
        return scene.release()
    second = scene.start_another(clock=True)
    eventually(lambda: scene.somebody_waits() or second.is_over(), "the second runner waits for the first")
    time.sleep(0.6)  # it reads its clock several times
    scene.release()
    ends = [run.end(LIMIT) for run in scene.runs]
    scene.losses += [f"the clock alone made it fail: {end}" for end in ends if end is None or "outcome" not in end]
    return None


def _attempt_over(scene: Scene) -> None:
    """Until the runner pauses before another attempt, or has ended."""
    scene.run.until("Retrying", LIMIT)
