"""The migrations that are struck. Every statement leaves something to see, and something else if it ran twice.

A gate is a function of the database that waits for an advisory lock: while the harness holds number n, a script stops
exactly there, between two statements of one message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

GATE_KEY = 7


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a struck runner may take, in seconds."""

    total: int = 60
    lock: float | None = None
    """For a lock on a table, at the first attempt and outside transactions; None: what the engine gives by default."""

    def __str__(self) -> str:
        lines = ["settings:", "  execution:", "    lock_wait_seconds: 20", f"    timeout_seconds: {self.total}"]
        if self.lock is not None:
            names = ("lock_timeout_seconds", "lock_timeout_max_seconds", "concurrent_lock_timeout_seconds")
            lines += [*(f"    {name}: {self.lock:g}" for name in names), "    lock_attempts: 2"]
        return "\n".join(lines) + "\n"


USUAL = Limits()

BASE = """
CREATE SCHEMA app;
CREATE TABLE items (id int PRIMARY KEY, label text NOT NULL, price int NOT NULL, seen int NOT NULL DEFAULT 0);
INSERT INTO items SELECT n, 'item ' || n, n % 7 FROM generate_series(1, 200) n;
CREATE INDEX items_old ON items (label);
CREATE INDEX items_stale ON items (price);
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE parts (id int, part int) PARTITION BY LIST (part);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts SELECT n, 1 + n % 2 FROM generate_series(1, 20) n;
CREATE TABLE trail (step text);
CREATE FUNCTION gate(n int) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_xact_lock_shared(7, n)';
CREATE PROCEDURE note(step text) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trail VALUES (step);
    COMMIT;
END $$;
CREATE TABLE paid (what text, part int);
CREATE PROCEDURE pay(what text) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO paid VALUES (what, 1);
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
    UPDATE items SET price = price + 1 WHERE id = 1;
    INSERT INTO paid VALUES (what, 2);
    COMMIT;
    PERFORM gate(0);
END $$;
CREATE TABLE settled (what text, part int, PRIMARY KEY (what, part));
CREATE PROCEDURE settle(what text) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO settled VALUES (what, 1) ON CONFLICT DO NOTHING;
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
    UPDATE items SET price = 99 WHERE id = 1;
    INSERT INTO settled VALUES (what, 2) ON CONFLICT DO NOTHING;
    COMMIT;
    PERFORM gate(0);
END $$;
"""

TRANSACTIONAL = """
SELECT gate(0);
CREATE TABLE orders (id int PRIMARY KEY, item int NOT NULL REFERENCES items);
SELECT gate(1);
INSERT INTO orders SELECT n, n FROM generate_series(1, 100) n;
SELECT gate(2);
ALTER TABLE items ADD COLUMN stock int NOT NULL DEFAULT 5;
SELECT gate(3);
UPDATE items SET stock = stock + 1, seen = seen + 1;
SELECT gate(4);
CREATE INDEX orders_item ON orders (item);
SELECT gate(5);
CREATE VIEW stocked AS SELECT id, stock FROM items WHERE stock > 0;
INSERT INTO trail VALUES ('transactional');
SELECT gate(6);
"""

ALONE = """
CREATE INDEX CONCURRENTLY items_label_price ON items (label, price);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS items_label_key ON items (label);
ALTER TYPE mood ADD VALUE 'middle' BEFORE 'high';
CREATE INDEX CONCURRENTLY items_mood ON items (id) WHERE 'middle'::mood > 'low';
REINDEX INDEX CONCURRENTLY items_old;
DROP INDEX CONCURRENTLY items_stale;
ALTER TABLE parts DETACH PARTITION parts_1 CONCURRENTLY;
VACUUM ANALYZE items;
"""

MIXED = """
SELECT pg_catalog.set_config('search_path', 'app, public', false);
CREATE TABLE notes (id int, mood public.mood);
INSERT INTO notes SELECT n, 'low' FROM generate_series(1, 50) n;
CREATE INDEX CONCURRENTLY notes_id ON notes (id);
CREATE TABLE more_notes (id int);
UPDATE items SET seen = seen + 1;
INSERT INTO trail VALUES ('mixed 1');
ALTER TYPE public.mood ADD VALUE 'calm';
INSERT INTO notes VALUES (99, 'calm');
INSERT INTO trail VALUES ('mixed 2');
SET search_path = public;
CREATE TABLE plain (id int);
DROP INDEX CONCURRENTLY items_stale;
UPDATE items SET price = price + 10;
INSERT INTO trail VALUES ('mixed 3');
"""

EACH = """
INSERT INTO trail VALUES ('each 0');
CALL note('each 1');
UPDATE items SET price = price + 1;
DO $$ BEGIN INSERT INTO trail VALUES ('each 3'); COMMIT; END $$;
CREATE TABLE each_made (id int);
CALL note('each 5');
INSERT INTO each_made VALUES (1);
"""

PAYS = """
INSERT INTO trail VALUES ('pays 0');
CALL pay('pays 1');
UPDATE items SET seen = seen + 1;
DO $$
BEGIN
    INSERT INTO paid VALUES ('pays 3', 1);
    COMMIT;
    PERFORM gate(1);
    UPDATE items SET price = price + 1 WHERE id = 1;
    INSERT INTO paid VALUES ('pays 3', 2);
    COMMIT;
END $$;
INSERT INTO trail VALUES ('pays 4');
"""

PAYS_BACK = """
INSERT INTO trail VALUES ('back 0');
CALL pay('back 1');
UPDATE items SET seen = seen - 1;
"""

SETTLES = """
INSERT INTO trail VALUES ('settles 0');
CALL settle('settles 1');
UPDATE items SET seen = seen + 1;
CALL settle('settles 3');
"""

BACK = """
DROP INDEX CONCURRENTLY IF EXISTS app.notes_id;
UPDATE items SET price = price - 10;
INSERT INTO trail VALUES ('back 1');
CREATE INDEX CONCURRENTLY items_stale ON items (price);
DROP TABLE app.notes, app.more_notes, public.plain;
UPDATE items SET seen = seen - 1;
INSERT INTO trail VALUES ('back 2');
VACUUM items;
"""


@dataclass(frozen=True, slots=True)
class Hold:
    """A statement that waits in its middle while the harness's transaction is open."""

    statement: int
    """Its number, from 1: told by the event before it begins."""
    sql: str
    """What that transaction does."""
    conflicts: bool = False
    """Whether the statement fails with a serialization failure when that transaction commits."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a person finds out what became of a statement that commits as it goes."""

    query: str
    """How many of its parts are there."""
    parts: int = 1
    rest: str = ""
    """What is still to be done by hand when only the first part is there."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of migration. Version 002 is struck; what stands before it is made once and copied."""

    name: str
    script: str
    verb: str = "apply"
    declared: str = ""
    """What the config says of the migration."""
    rollback: str | None = None
    gates: int = 0
    """How many gates the script has, numbered from 0."""
    holds: tuple[Hold, ...] = ()
    looks: Mapping[int, Look] = field(default_factory=dict)
    """For statements of which only a person can tell whether they ran (by index)."""

    @property
    def repeatable(self) -> bool:
        """Whether nobody may be asked, since running a statement again is declared to be right."""
        return "repeatable: true" in self.declared

    def files(self, limits: Limits) -> dict[str, str]:
        """The folder's files."""
        config = str(limits)
        if self.declared:
            config += f"migrations:\n  - {{version: '002', {self.declared}}}\n"
        files = {"001_base.sql": BASE, "002_struck.sql": self.script, "migration_config.yaml": config}
        if self.rollback:
            files["002_struck.rollback.sql"] = self.rollback
        return files


# A lock that does not stand in CONCURRENTLY's way but is waited for; and a snapshot that is.
LOCKER = "LOCK TABLE items IN ROW EXCLUSIVE MODE"
READER = "SELECT FROM parts"
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1"
ROW = "UPDATE items SET seen = seen WHERE id = 1"
PAID = "LOCK TABLE paid IN SHARE MODE"


def _noted(step: str) -> Look:
    return Look(f"SELECT count(*) FROM trail WHERE step = '{step}'")


def _paid(what: str) -> Look:
    rest = f"UPDATE items SET price = price + 1 WHERE id = 1; INSERT INTO paid VALUES ('{what}', 2)"
    return Look(f"SELECT count(*) FROM paid WHERE what = '{what}'", 2, rest)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("transactional", TRANSACTIONAL, gates=7),
        Kind(
            "journalled",
            ALONE,
            holds=(
                Hold(1, LOCKER),
                Hold(1, SNAPSHOT),
                Hold(2, LOCKER),
                Hold(2, SNAPSHOT),
                Hold(5, LOCKER),
                Hold(5, SNAPSHOT),
                Hold(6, LOCKER),
                Hold(7, READER),
            ),
        ),
        Kind("mixed", MIXED, holds=(Hold(13, LOCKER), Hold(5, "LOCK TABLE items IN SHARE MODE"))),
        Kind(
            "each alone",
            EACH,
            declared="transactional: false",
            holds=(Hold(2, "LOCK TABLE trail IN SHARE MODE"), Hold(4, "LOCK TABLE trail IN SHARE MODE")),
            looks={i: _noted(f"each {i}") for i in (1, 3, 5)},
        ),
        Kind(
            "rollback",
            MIXED,
            verb="roll_back",
            rollback=BACK,
            holds=(Hold(4, LOCKER), Hold(2, "LOCK TABLE items IN SHARE MODE")),
        ),
        Kind(
            "commits inside",
            PAYS,
            declared="transactional: false",
            gates=2,
            holds=(Hold(2, ROW, conflicts=True), Hold(2, PAID), Hold(4, ROW), Hold(4, PAID)),
            looks={1: _paid("pays 1"), 3: _paid("pays 3")},
        ),
        Kind(
            "commits inside, rollback",
            "SELECT 1;",
            verb="roll_back",
            declared="transactional: false",
            rollback=PAYS_BACK,
            gates=1,
            holds=(Hold(2, ROW, conflicts=True), Hold(2, PAID)),
            looks={1: _paid("back 1")},
        ),
        Kind(
            "repeatable",
            SETTLES,
            declared="transactional: false, repeatable: true",
            gates=1,
            holds=(Hold(2, ROW, conflicts=True), Hold(4, ROW, conflicts=True)),
        ),
    )
}
