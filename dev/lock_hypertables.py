"""What commands lock of a hypertable: TimescaleDB's own code goes on to its chunks behind many of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from dev.lock_table import KNOWN, Compared, compare

COMMANDS = Path(__file__).with_name("lock_hypertables.txt").read_text(encoding="utf-8").splitlines()
_SCHEMA = """
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
        conn.execute(_SCHEMA.encode())
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
        for command in COMMANDS:
            try:
                found.append(compare(conn, command))
            except psycopg.Error:
                refused.append(command)
    return found, refused
