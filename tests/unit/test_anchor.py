"""A head kept outside the database against the log as it is now."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.ledger.trail import GENESIS, broken, contradiction, position
from airflow_provider_wmigrate.engine.model import Finding

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("head", "count"),
    [(f"0:{GENESIS}", 0), (f"1:{A}", 1), (f"10:{A}", 10), (f"{10**19 - 1}:{A}", 10**19 - 1), (f"{10**19}:{A}", None)],
)
def test_where_a_head_points(head: str, count: int | None) -> None:
    assert position(head) == count


@pytest.mark.parametrize(
    "text", ["", "7", f":{A}", f"07:{A}", f"-1:{A}", f"7:{A[1:]}", f"7:{A}a", f"7:{A.upper()}", f" 7:{A}", f"7:{A}\n"]
)
def test_what_is_no_head(text: str) -> None:
    assert position(text) is None
    assert contradiction(text, f"9:{B}", A) == f"{text!r} is no head, which is COUNT:HASH"


@pytest.mark.parametrize(
    ("known", "now", "there", "reason"),
    [
        (f"7:{A}", f"7:{A}", A, None),
        (f"7:{A}", f"9:{B}", A, None),
        (f"0:{GENESIS}", f"9:{B}", None, None),
        (f"7:{A}", None, None, f"the ledger is gone, which had 7 rows at head 7:{A}"),
        (f"7:{A}", f"5:{B}", None, f"it was cut off: its head was 7:{A} and is 5:{B}"),
        (f"7:{A}", f"9:{B}", B, f"it is another chain: row 7 has the hash {B}, and the known head is 7:{A}"),
        (f"0:{A}", f"9:{B}", None, f"it is another chain: row 0 has the hash {GENESIS}, and the known head is 0:{A}"),
    ],
    ids=["the same", "continued", "empty before", "gone", "cut off", "another", "another from the beginning"],
)
def test_whether_the_log_goes_on_from_a_known_head(
    known: str, now: str | None, there: str | None, reason: str | None
) -> None:
    assert contradiction(known, now, there) == reason


def test_the_finding_names_the_row() -> None:
    next_step = "compare with a backup, and find out who has write access to the ledger"
    assert broken("row 3 is gone", 3) == Finding("audit_chain_broken", "audit_log: row 3 is gone", next_step, line=3)
