"""What is committed, and not yet on the disk: told as finished when it cannot be lost any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import psycopg

from airflow_provider_wmigrate.engine.events import Finished, Listener
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.session.session import Session

BETWEEN_FLUSHES = 0.25
"""Seconds, at the most about, after which what was committed is on the disk, and is told."""


@dataclass
class Commits:
    """Of one series.

    :param relying: around what relies on the ledger's tables.
    """

    session: Session
    ledger: Ledger
    tell: Listener
    relying: Callable[[], AbstractContextManager[None]]
    records: list[Record] = field(default_factory=list, init=False)
    """Of what is done and on the disk."""
    _unflushed: list[Record] = field(default_factory=list, init=False)
    _flushed_at: float = field(default_factory=time.monotonic, init=False)

    @property
    def all_flushed(self) -> bool:
        """Nothing waits for the disk."""
        return not self._unflushed

    @property
    def late(self) -> bool:
        """The next commit should wait for the disk."""
        return time.monotonic() - self._flushed_at > BETWEEN_FLUSHES

    def add(self, record: Record, flushed: bool) -> None:
        """:param flushed: the disk has what was done, and so what was done before."""
        self._unflushed.append(record)
        if flushed:
            self._told()

    def flush(self) -> None:
        """Have on the disk what was committed, by one more commit that waits for it."""
        for tries_left in (2, 1, 0):
            if not self._unflushed or self.session.conn.closed:
                return
            try:
                self.session.roll_back()
                with self.relying(), self.session.transaction():
                    self.ledger.writer(self.session.conn).touch()
                self._told()
            except psycopg.errors.QueryCanceled:  # a cancel that was meant for a script
                if not tries_left:
                    raise

    def _told(self) -> None:
        for record in self._unflushed:
            self.tell(Finished(record))
        self.records += self._unflushed
        self._unflushed, self._flushed_at = [], time.monotonic()
