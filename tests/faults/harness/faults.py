"""The faults: what is done to a runner that stands at its moment. Each leaves the world as it is after the fault."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable

from . import shortages
from .arena import LIMIT, eventually
from .scene import Scene


def killed(scene: Scene) -> None:
    """kill -9 for the runner. Coin: what it waited for is released at once, or when the server has noticed."""
    scene.run.kill()
    if scene.coin and scene.arena.wire.reached.is_set() is False:
        with contextlib.suppress(TimeoutError):
            eventually(lambda: not scene.approach.backends(), "the server notices", 2.0)
    scene.release()


def cancelled(scene: Scene) -> None:
    """SIGTERM: the runner cancels on the server."""
    scene.run.send(signal.SIGTERM)
    scene.run.until("cancelled", LIMIT)
    scene.release()


def timed_out(scene: Scene) -> None:
    """An exception out of nowhere in the runner's main thread."""
    scene.run.send(signal.SIGUSR1)
    time.sleep(0.05)
    scene.release()


def terminated(scene: Scene) -> None:
    """pg_terminate_backend."""
    _signal_backends(scene, "pg_terminate_backend")
    scene.release()


def cancelled_outside(scene: Scene) -> None:
    """pg_cancel_backend: while the server stands, or as soon as the runner goes on. Coin: then or a moment later."""
    if not scene.approach.server_stands:
        scene.release()
        time.sleep(0.002 if scene.coin else 0)
    _signal_backends(scene, "pg_cancel_backend")
    scene.release()


def _signal_backends(scene: Scene, function: str) -> None:
    with scene.arena.conn("postgres") as conn:
        for pid in scene.approach.backends():
            conn.execute(f"SELECT {function}(%s)".encode(), [pid])


def restarted(scene: Scene) -> None:
    """A fast restart of the server. Coin: the runner goes on while the server is away."""
    if scene.coin:
        scene.arena.cluster.stop()
        scene.release()
        scene.arena.cluster.start()
    else:
        scene.arena.restart()
        scene.release()


def crashed(scene: Scene) -> None:
    """kill -9 for the server. Coin: for all of it, or for the one process that works for the runner."""
    backends = scene.approach.backends()
    if scene.coin or not backends:
        scene.arena.crash()
    else:
        scene.arena.crash_one(backends[0])
    scene.release()


def cut_with_reset(scene: Scene) -> None:
    """Both ends of the connection see a reset."""
    scene.arena.wire.reset()
    scene.release()


def cut_in_silence(scene: Scene) -> None:
    """Nothing passes any more and nobody is told; the task's time limit ends the runner. Coin: when the server's side
    notices, before that or after."""
    scene.arena.wire.silence()
    scene.release()
    if scene.coin:
        scene.arena.wire.give_up_server_side()
    time.sleep(0.1)
    scene.run.send(signal.SIGUSR1)
    scene.run.end(LIMIT)
    scene.arena.wire.give_up_server_side()


def cut_unnoticed(scene: Scene) -> None:
    """As before, but nobody ends the runner: its own total budget has to."""
    scene.arena.wire.silence()
    scene.release()
    scene.run.end(LIMIT)
    scene.arena.wire.give_up_server_side()


def orphaned(scene: Scene) -> None:
    """Its supervisor dies, it lives on, and a second runner is started beside it. Coin: then it is killed too."""
    second = scene.start_another()
    eventually(lambda: scene.somebody_waits() or second.is_over(), "the second runner waits for the first")
    if scene.coin:
        scene.run.kill()
    scene.release()


def doubled(scene: Scene) -> None:
    """Two runners at the same time."""
    scene.start_another()
    scene.release()


FAULTS: dict[str, Callable[[Scene], None]] = {
    "runner killed (-9)": killed,
    "runner cancels (SIGTERM)": cancelled,
    "exception in the runner": timed_out,
    "backend terminated": terminated,
    "backend cancelled": cancelled_outside,
    "server restarted": restarted,
    "server killed (-9)": crashed,
    "network reset": cut_with_reset,
    "network silent": cut_in_silence,
    "network silent, unnoticed": cut_unnoticed,
    "cut during COMMIT": cut_with_reset,
    "orphan and successor": orphaned,
    "two runners": doubled,
    "server frozen": shortages.frozen,
    "lock timeout": shortages.lock_timeout,
    "budget used up": shortages.out_of_time,
    "deadlock": shortages.deadlocked,
    "serialization failure": shortages.not_serializable,
    "no synchronous standby": shortages.without_standby,
    "disk full": shortages.disk_full,
    "runner's clock wrong": shortages.clock_wrong,
}
