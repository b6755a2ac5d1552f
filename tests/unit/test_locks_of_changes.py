"""What ALTER TABLE locks: its table, those below, and what its sub-commands call."""

from __future__ import annotations

import pytest
from some_catalog import taken

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
