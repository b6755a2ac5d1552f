"""What ALTER TABLE locks: its table, those below, and what its sub-commands call."""

from __future__ import annotations

import pytest
from some_catalog import CATALOG, TABLES, taken

WEAK = ("fillfactor", "toast_tuple_target", "parallel_workers", "log_autovacuum_min_duration", "vacuum_index_cleanup",
        "vacuum_truncate", "vacuum_max_eager_freeze_failure_rate", "deduplicate_items", "n_distinct",
        "n_distinct_inherited", "autovacuum_enabled", "AUTOVACUUM_vacuum_threshold")  # fmt: skip
HELD, WEAKLY, KEYED = "ACCESS EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE ROW EXCLUSIVE"


@pytest.mark.parametrize(
    ("change", "locks"),
    [
        *((f"SET ({name} = 1)", f"y: {WEAKLY}") for name in WEAK),
        ("RESET (fillfactor)", f"y: {WEAKLY}"),
        ("SET (user_catalog_table = true)", f"y: {HELD}"),
        ("SET (fillfactor = 1, security_barrier)", f"y: {HELD}"),
        ("ALTER x SET STATISTICS 5", f"y: {WEAKLY}"),
        ("ALTER x SET (n_distinct = 5)", f"y: {WEAKLY}"),
        ("ALTER x RESET (n_distinct)", f"y: {WEAKLY}"),
        ("CLUSTER ON i", f"y: {WEAKLY}"),
        ("SET WITHOUT CLUSTER", f"y: {WEAKLY}"),
        ("VALIDATE CONSTRAINT k", f"y: {WEAKLY} scan"),
        ("ENABLE TRIGGER a", f"y: {KEYED}"),
        ("ADD FOREIGN KEY (x) REFERENCES w", f"w y: {KEYED} scan"),
        ("ADD FOREIGN KEY (x) REFERENCES w NOT VALID", f"w y: {KEYED}"),
        ("ADD CHECK (f())", f"y: {HELD} scan; f() is called; lasting call"),
        ("ADD CHECK (f()) NOT VALID", f"y: {HELD}"),
        ("ADD z int DEFAULT f()", f"y: {HELD} rewrite; f() is called; lasting call"),
        ("ALTER x TYPE int USING f()", f"y: {HELD} rewrite; f() is called; lasting call"),
        ("ALTER x SET DEFAULT f()", f"y: {HELD}"),
        ("ATTACH PARTITION w DEFAULT", f"w: {HELD} scan; x: {KEYED}; y: {WEAKLY} scan"),
        ("SET TABLESPACE s", f"y: {HELD} rewrite"),
        ("SET ACCESS METHOD a", f"y: {HELD} rewrite"),
        ("ALTER x SET STATISTICS 5, OWNER TO me", f"y: {HELD}"),
    ],
)
def test_the_strongest_sub_command_counts(change: str, locks: str) -> None:
    assert taken(f"ALTER TABLE y {change}") == locks


@pytest.mark.parametrize(
    ("change", "mode"),
    [
        ("ADD z int", HELD),
        ("ALTER own SET DEFAULT 1", HELD),
        ("ALTER own DROP EXPRESSION", HELD),
        ("ALTER own SET STATISTICS 5", WEAKLY),
        ("ALTER own SET STORAGE plain", HELD),
        ("DROP own", HELD),
    ],
)
def test_what_goes_down_to_children(change: str, mode: str) -> None:
    assert taken(f"ALTER TABLE t {change}") == f"c t: {mode}"
    assert taken(f"CREATE TABLE n (x int); ALTER TABLE c INHERIT n; ALTER TABLE n {change}") == f"c: {mode}"
    assert taken(f"CREATE TABLE n (x int); ALTER TABLE c INHERIT n; ALTER TABLE ONLY n {change}") == ""


@pytest.mark.parametrize(
    ("text", "locks"),
    [
        ("ALTER TABLE t OWNER TO me", "t t_id t_own: ACCESS EXCLUSIVE"),
        ("ALTER TABLE nowhere ALTER x SET NOT NULL", "lasting scan"),
        ("ALTER TABLE nowhere OWNER TO me", ""),
        ("CREATE TABLE n (x int); ALTER TABLE n ADD CHECK (f())", ""),
        ("CREATE TABLE n (x int); ALTER TABLE n ATTACH PARTITION n DEFAULT", ""),
        (
            "CREATE TABLE n (x int); ALTER TABLE u ATTACH PARTITION n DEFAULT",
            "t w: SHARE ROW EXCLUSIVE; u: SHARE UPDATE EXCLUSIVE",
        ),
        ("ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY", "p1: ACCESS EXCLUSIVE; p: SHARE UPDATE EXCLUSIVE"),
        ("ALTER TABLE p DETACH PARTITION p1", "p p1 pd: ACCESS EXCLUSIVE"),
    ],
)
def test_what_else_is_altered(text: str, locks: str) -> None:
    assert taken(text) == locks


CHUNKED = {
    "relations": [
        *CATALOG["relations"],
        [60, "_timescaledb_internal", "chunk", "chunk", "r", 8, 2, None, 0, 160, False],
        [61, "app", "y_i", "app.y_i", "i", 8, 2, TABLES["y"], 0, 161, False],
    ],
    "inherits": [[60, TABLES["y"]]],
}
PASSED = {
    **dict.fromkeys(("SET (fillfactor = 1)", "RESET (fillfactor)", "SET WITHOUT CLUSTER"), WEAKLY),
    **dict.fromkeys(("ALTER own SET (n_distinct = 1)", "ALTER own RESET (n_distinct)"), WEAKLY),
    **dict.fromkeys(("ALTER own SET COMPRESSION pglz", "SET WITHOUT OIDS", "OWNER TO me"), HELD),
    **dict.fromkeys(("REPLICA IDENTITY FULL", "DROP CONSTRAINT k", "SET LOGGED"), HELD),
    **dict.fromkeys(("SET TABLESPACE s", "SET UNLOGGED"), f"{HELD} rewrite"),
    "ADD UNIQUE (own)": f"{HELD} build",
    "VALIDATE CONSTRAINT k": f"{WEAKLY} scan",
}
KEPT = {
    **dict.fromkeys(("SET (timescaledb.compress)", "SET (tsdb.orderby = 'x')", "ENABLE ROW LEVEL SECURITY"), HELD),
    "CLUSTER ON i": WEAKLY,
}


def test_what_goes_on_to_the_chunks_of_a_hypertable() -> None:
    found = {change: taken(f"ALTER TABLE y {change}", **CHUNKED) for change in (*PASSED, *KEPT)}
    assert found == {change: f"chunk y: {mode}" for change, mode in PASSED.items()} | {
        change: f"y: {mode}" for change, mode in KEPT.items()
    }
    assert taken("ALTER INDEX y_i SET TABLESPACE s", **CHUNKED) == f"chunk y_i: {HELD} rewrite"
    assert taken("ALTER INDEX y_i SET (fillfactor = 1)", **CHUNKED) == f"y_i: {WEAKLY}"


@pytest.mark.parametrize(
    ("change", "locks"),
    [
        ("ADD IF NOT EXISTS own int", "t"),
        ("ADD IF NOT EXISTS z int", "c t"),
        ("DROP IF EXISTS own", "c t"),
        ("DROP IF EXISTS z", "t"),
    ],
)
def test_nothing_to_do_goes_down_to_nobody(change: str, locks: str) -> None:
    assert taken(f"ALTER TABLE t {change}") == f"{locks}: {HELD}"


def test_a_composite_type_changes_with_the_tables_of_it() -> None:
    relations = [
        *CATALOG["relations"],
        [70, "app", "ct", "app.ct", "c", 0, 0, None, 0, 170, False],
        [71, "app", "typed", "app.typed", "r", 8, 2, None, 170, 171, False],
        [72, "app", "other", "app.other", "r", 8, 2, None, 172, 173, False],
    ]
    assert taken("ALTER TYPE ct ADD ATTRIBUTE a int", relations=relations) == f"ct: {HELD}"
    assert taken("ALTER TYPE ct ADD ATTRIBUTE a int CASCADE", relations=relations) == f"ct typed: {HELD}"


@pytest.mark.parametrize(
    ("text", "locks"),
    [
        ("ALTER TABLE t ALTER own TYPE int", f"c t: {HELD} rewrite"),
        ("ALTER TABLE t ALTER own SET EXPRESSION AS (f())", f"c t: {HELD} rewrite; f() is called; lasting call"),
        ("ALTER TABLE p DETACH PARTITION p1 FINALIZE", f"p: {WEAKLY}"),
    ],
)
def test_what_is_written_anew_and_what_is_nearly_done(text: str, locks: str) -> None:
    assert taken(text) == locks
