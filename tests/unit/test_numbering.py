"""The number that `wmigrate new` gives."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_wmigrate.cli.new import next_number

NOW = datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("newest", "following"),
    [
        (None, "001"),
        ("000", "001"),
        ("001", "002"),
        ("0009", "0010"),
        ("999", "1000"),
        ("9", "10"),
        ("09", "10"),
        ("99", "100"),
        # times, in the manner in which they are written
        ("20240131", "20260102"),
        ("202401310930", "202601020304"),
        ("20240131093000", "20260102030405"),
        ("20240131093000123", "20260102030405006"),
        ("1700000000", "1767323045"),
        ("1700000000000", "1767323045006"),
        # a clock that is ahead, and a second migration within one second
        ("20260102030405", "20260102030406"),
        ("20260102030499", "20260102030500"),
        ("20260102", "20260103"),
        ("20991231235959", "20991231235960"),
        # numbers that are no times
        ("20241301", "20241302"),
        ("20240230093000", "20240230093001"),
        ("12345678", "12345679"),
        ("19890101", "19890102"),
        ("21000101", "21000102"),
        ("20240131240000", "20240131240001"),
        ("0000000001", "0000000002"),
        ("9999999999999", "10000000000000"),
        ("12345678901234567890", "12345678901234567891"),
    ],
)
def test_the_next_number_is_written_as_the_newest(newest: str | None, following: str) -> None:
    assert next_number(newest, NOW) == following


def test_times_are_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert next_number("20240131093000", there) == "20260102030405"
    assert next_number("1700000000", there) == "1767323045"
