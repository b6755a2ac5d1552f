"""What each command of PostgreSQL locks, seen in pg_locks and foreseen: the page docs/reference/locks.md."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.catalog.relations import relation_facts, relations_query
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockSet
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.locks_needed import locks_needed
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from dev.cluster import Cluster
from dev.markdown import table

Locks = dict[str, LockMode]
DATABASE, ROLE = "lock_commands", "lock_reader"
PAGE_OF = 15
"""The version of PostgreSQL that the page is made with."""

SCHEMA, COMMANDS = (Path(__file__).with_name(name) for name in ("lock_schema.sql", "lock_commands.txt"))
"""Of the commands one a line, under headings; before one `15+` is the first version that has it, `-17` the last."""

UNFORESEEN = dict(line.split(" -- ") for line in COMMANDS.with_name("lock_unforeseen.txt").read_text().splitlines())
"""Commands of which only the run can tell all locks, and what it is that nobody knows before."""

KNOWN = """
CREATE TABLE public.known AS
SELECT c.oid, n.nspname || '.' || relname AS name, regexp_replace(format('%I.%I', n.nspname, relname), '^app\\.', '')
  AS shown, relfilenode
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE n.nspname IN ('app', 'other', 'My Schema', '_timescaledb_internal') AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
"""
_HELD = """
SELECT k.shown, l.mode FROM pg_lock_status() l JOIN public.known k ON k.oid = l.relation
WHERE l.locktype = 'relation' AND coalesce(l.pid, 0) = pg_backend_pid() AND l.granted
"""
_REWRITTEN = """
SELECT k.shown FROM public.known k JOIN pg_class c USING (oid)
WHERE c.relkind IN ('r', 'm') AND c.relfilenode <> k.relfilenode
"""
_SCANNED = """
SELECT k.shown, s.seq_tup_read FROM public.known k JOIN pg_stat_xact_all_tables s ON s.relid = k.oid
"""
"""With what the transactions before it have read, as long as nobody has been told of it."""


@dataclass(frozen=True)
class Compared:
    """One command: what was foreseen, and what the server did."""

    command: str
    forecast: LockSet
    seen: Locks
    rewritten: frozenset[str]
    scanned: frozenset[str] = frozenset()
    """Tables of which rows were read one after the other."""

    @property
    def foreseen(self) -> Locks:
        """As `seen`: no indexes, no plain readers."""
        needs = [n for n in self.forecast.needs if n.kind in "rpvmSf" and n.mode > LockMode.ACCESS_SHARE]
        return {need.relation.removeprefix("app."): need.mode for need in needs}

    @property
    def foreseen_work(self) -> frozenset[str]:
        """On which something is done for longer than a moment."""
        return frozenset(need.relation.removeprefix("app.") for need in self.forecast.needs if need.work)

    @property
    def foreseen_rewrites(self) -> frozenset[str]:
        needs = [need for need in self.forecast.needs if need.work == "rewrite"]
        return frozenset(need.relation.removeprefix("app.") for need in needs)


@contextlib.contextmanager
def lock_schema(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A database with the schema of all commands; nothing done there is committed."""
    dsn = cluster.create_database(DATABASE, template="template0")
    try:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(SCHEMA.read_bytes())
            conn.execute(KNOWN.encode())
        with psycopg.connect(dsn, options="-c search_path=app,public") as conn:
            conn.prepare_threshold = None  # DEALLOCATE ALL would take psycopg's own statements away
            yield conn
            conn.rollback()
    finally:
        cluster.drop_database(DATABASE)
        cluster.execute(f"DROP ROLE IF EXISTS {ROLE}")


def sections(version: int) -> dict[str, list[str]]:
    """The commands that a major version has, by heading."""
    found: dict[str, list[str]] = {}
    for line in COMMANDS.read_text().strip().splitlines():
        since, until, command = re.fullmatch(r"(?:(\d+)\+ |-(\d+) )?(.*)", line).groups()  # type: ignore[union-attr]
        if line.startswith("# "):
            found[line[2:]] = []
        elif int(since or 0) <= version <= int(until or 99):
            found[list(found)[-1]].append(command)
    return found


def compare(conn: psycopg.Connection[Any], command: str) -> Compared:
    """Foresee its locks, run it, look, and roll back. A command that fails has what it had until then."""
    forecast = foreseen(conn, command)
    found: Locks = {}
    before = dict(conn.execute(_SCANNED.encode()).fetchall())
    try:
        with contextlib.suppress(psycopg.errors.InvalidSqlStatementName):
            conn.execute(command.encode())
            for name, shown in conn.execute(_HELD.encode()):
                mode = LockMode.of(shown)
                if mode > LockMode.ACCESS_SHARE:
                    found[name] = max(mode, found.get(name, mode))
        rewritten = frozenset(name for (name,) in conn.execute(_REWRITTEN.encode())) if found else frozenset()
        after = conn.execute(_SCANNED.encode()).fetchall() if found else []
        scanned = frozenset(name for name, read in after if read > before.get(name, 0))
    finally:
        conn.rollback()
        conn.execute("DEALLOCATE ALL")
        conn.rollback()
    if all(mode < LockMode.SHARE for mode in found.values()):  # as locks_needed does it
        found = {name: mode for name, mode in found.items() if mode > LockMode.ROW_SHARE}
    return Compared(command, forecast, found, rewritten, scanned)


def foreseen(conn: psycopg.Connection[Any], command: str) -> LockSet:
    """The forecast for one command."""
    analysis = analyse(Script.of("001_a.sql", command))
    row = conn.execute(relations_query(analysis, conn.info.server_version).encode()).fetchone()
    conn.rollback()
    return locks_needed(analysis, relation_facts(row[0] if row else None))


def locks_page(conn: psycopg.Connection[Any], outside: Iterable[Compared]) -> str:
    """All tables, from what the server does.

    :param outside: commands that run outside a transaction.
    """
    parts = []
    for heading, commands in sections(PAGE_OF).items():
        rows = [_row(compare(conn, command)) for command in commands]
        parts.append(f"\n## {heading}\n{table('command|locks|what takes long', rows)}")
    parts.append(f"\n## Outside a transaction\n{table('command|locks|what takes long', map(_row, outside))}")
    unforeseen = [_unforeseen(compare(conn, command), why) for command, why in UNFORESEEN.items()]
    parts.append(f"\n## What cannot be foreseen\n{table('command|what nobody knows|foreseen|seen', unforeseen)}")
    return "".join(parts)


def _row(found: Compared) -> tuple[str, ...]:
    long = {need.work: None for need in found.forecast.needs if need.work}
    return f"`{found.command}`", _locks(found.seen), ", ".join(map(str, long))


def _unforeseen(found: Compared, why: str) -> tuple[str, ...]:
    said = ["it is said to be unforeseen"] if found.forecast.unforeseen else []
    foreseen = _locks(found.foreseen)
    return f"`{found.command}`", why, "; ".join([*said, *filter(None, [foreseen])]), _locks(found.seen)


def _locks(locks: Locks) -> str:
    """By mode, the strongest first."""
    by_mode: dict[LockMode, list[str]] = {}
    for name, mode in sorted(locks.items()):
        by_mode.setdefault(mode, []).append(f"`{name}`")
    return "; ".join(f"{mode.keyword}: {', '.join(names)}" for mode, names in sorted(by_mode.items(), reverse=True))


_SLOW = "vacuum_cost_delay = 20; SET vacuum_cost_limit = 1"
_OUTSIDE = """
CREATE SCHEMA outside; SET search_path = outside;
CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN $1; END';
CREATE TABLE sold (id int PRIMARY KEY, n int);
CREATE INDEX sold_slow ON sold (slow(n)); CREATE INDEX sold_n ON sold (n);
INSERT INTO sold VALUES (1, 1);
CREATE TABLE days (id int, n int) PARTITION BY RANGE (id);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (1) TO (10);
CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM (10) TO (20);
CREATE TABLE days_3 PARTITION OF days FOR VALUES FROM (20) TO (30) PARTITION BY RANGE (n);
CREATE TABLE days_3a PARTITION OF days_3 FOR VALUES FROM (1) TO (10);
CREATE INDEX days_slow ON days (slow(n)); CREATE INDEX days_id ON days (id);
INSERT INTO days VALUES (1, 1), (11, 1), (21, 1);
"""
"""Whatever builds or reads the indexes takes a moment."""

_DAYS = "ONLY days IN ROW EXCLUSIVE MODE; ONLY days_3 IN ROW EXCLUSIVE MODE"
_COMMANDS: tuple[tuple[int, str, str], ...] = (
    (13, "VACUUM sold", ""),
    (13, "VACUUM (ANALYZE) sold", ""),
    (13, "VACUUM FULL sold", ""),
    (14, "VACUUM FULL days", _DAYS),
    (15, "CLUSTER days USING days_id", _DAYS),
    (14, "REINDEX TABLE days", _DAYS),
    (14, "REINDEX INDEX days_slow", "ONLY days IN ROW EXCLUSIVE MODE"),
    (13, "REINDEX TABLE CONCURRENTLY sold", ""),
    (13, "REINDEX INDEX CONCURRENTLY sold_slow", ""),
    (13, "CREATE INDEX CONCURRENTLY again ON sold (slow(n))", ""),
    (13, "DROP INDEX CONCURRENTLY sold_n", "sold IN ACCESS SHARE MODE"),
    (14, "ALTER TABLE days DETACH PARTITION days_2 CONCURRENTLY", "ONLY days_2 IN ACCESS SHARE MODE"),
    (14, "ALTER TABLE days DETACH PARTITION days_3 CONCURRENTLY", "ONLY days_3a IN ACCESS SHARE MODE"),
)
"""The first version that has it, the command, and what other sessions lock meanwhile, one after the other, so that
it is seen to wait."""

_SEEN = """
SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = %s AND l.locktype = 'relation' AND c.relnamespace = 'outside'::regnamespace AND c.relkind IN ('r', 'p')
"""


def outside(dsn: str) -> Iterator[Compared]:
    """Foresee the locks of each command, run it, and look at what it has or waits for. All is dropped in the end."""
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=outside") as look:
        look.execute(_OUTSIDE.encode())
        try:
            for since, command, held in _COMMANDS:
                if look.info.server_version // 10000 >= since:
                    forecast = foreseen(look, command)
                    yield Compared(command, forecast, _seen(look, dsn, command, held), frozenset())
        finally:
            look.execute("DROP SCHEMA outside CASCADE")


def _seen(look: psycopg.Connection[Any], dsn: str, command: str, held: str) -> Locks:
    found: Locks = {}
    with contextlib.ExitStack() as stack:
        conn, *others = [
            stack.enter_context(psycopg.connect(dsn, autocommit=not number, options="-c search_path=outside"))
            for number, _ in enumerate(["", *held.split(";")])
        ]
        for other, lock in zip(others, held.split(";"), strict=True):
            other.execute(f"LOCK TABLE {lock}".encode() if lock else b"")
        conn.execute(f"SET {_SLOW}".encode())
        thread = threading.Thread(target=conn.execute, args=(command.encode(),))
        thread.start()
        changed = time.monotonic()
        while thread.is_alive():
            for name, shown in look.execute(_SEEN, [conn.info.backend_pid]):
                mode = LockMode.of(shown)
                if mode > LockMode.ACCESS_SHARE:
                    found[name] = max(mode, found.get(name, mode))
            if others and time.monotonic() - changed > 0.2:
                others.pop(0).rollback()
                changed = time.monotonic()
            time.sleep(0.005)
    return found


OF_HYPERTABLES = Path(__file__).with_name("lock_hypertables.txt").read_text(encoding="utf-8").splitlines()
_HYPERTABLE = """
CREATE SCHEMA app;
SET search_path = app, public;
CREATE ROLE lock_owner;
CREATE TABLE devices (id int PRIMARY KEY);
CREATE TABLE sites (id int PRIMARY KEY);
CREATE TABLE makers (id int PRIMARY KEY);
INSERT INTO devices VALUES (1), (2);
CREATE TABLE m (
    at timestamptz NOT NULL, device int NOT NULL, value float8, note text DEFAULT 'x', d int REFERENCES devices,
    s serial, site int REFERENCES sites, maker int, CONSTRAINT positive CHECK (device > 0)
);
SELECT create_hypertable('m', 'at', chunk_time_interval => INTERVAL '1 day');
CREATE INDEX m_device ON m (device, at);
CREATE INDEX m_value ON m (value);
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER of_rows BEFORE UPDATE ON m FOR EACH ROW EXECUTE FUNCTION touched();
CREATE TRIGGER of_statements AFTER UPDATE ON m FOR EACH STATEMENT EXECUTE FUNCTION touched();
INSERT INTO m (at, device, d) SELECT t, 1, 1
FROM generate_series(timestamptz '2026-01-01 00:00Z', '2026-01-03 23:00Z', '6 hours') t;
CREATE STATISTICS both_columns ON device, value FROM m;
CREATE VIEW readings AS SELECT at, value FROM m;
CREATE POLICY all_rows ON m USING (true);
"""


@contextlib.contextmanager
def hypertable_schema(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A hypertable of three chunks, of which no command is committed; all of it is dropped in the end."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(_HYPERTABLE.encode())
        conn.execute(KNOWN.encode())
    with psycopg.connect(dsn) as conn:
        conn.execute("SET search_path = app, public")  # a server of one backend knows no startup options
        conn.commit()
        conn.prepare_threshold = None  # as in lock_schema
        yield conn
        conn.rollback()
        conn.execute("DROP SCHEMA app CASCADE; DROP TABLE public.known; DROP ROLE lock_owner")
        conn.commit()


def compared(dsn: str) -> tuple[list[Compared], list[str]]:
    """Each command, and those that this version of TimescaleDB refuses."""
    found, refused = list[Compared](), list[str]()
    with hypertable_schema(dsn) as conn:
        for command in OF_HYPERTABLES:
            try:
                found.append(compare(conn, command))
            except psycopg.Error:
                refused.append(command)
    return found, refused
