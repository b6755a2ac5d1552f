"""Where a request does its work: in few threads of our own, with one session on Airflow's database.

Airflow's API server has one event loop, 40 threads and by default 15 database connections for everybody. So a
connection is given back before anything is waited for: the event loop, the auth manager (which may take one itself),
a target. And what waits for a thread here waits in the event loop, not in one of Airflow's threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Answer = TypeVar("Answer")

AT_WORK = 10
"""Requests that work at a time, in each process of the API server."""

_limiter: RunVar[CapacityLimiter] = RunVar("wmigrate_at_work")


async def with_session(work: Callable[[Session], Answer]) -> Answer:
    """Do the whole work of a request in one thread, with one session that is over when this returns."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(AT_WORK)
        _limiter.set(limiter)
    return await to_thread.run_sync(_do, work, limiter=limiter)


def _do(work: Callable[[Session], Answer]) -> Answer:
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        return work(session)


def release(session: Session) -> None:
    """Give the connection back to Airflow's pool. The session takes one again when it is next asked for anything."""
    session.commit()
