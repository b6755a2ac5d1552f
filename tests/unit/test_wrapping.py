"""Text in a terminal ends its lines between words."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.cli.wrapping import column_widths, wrapped


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("short", 10, "short"),
        ("one two three", 9, "one two\nthree"),
        ("  one two three", 9, "  one two\n  three"),
        ("one\ntwo three four", 9, "one\ntwo three\nfour"),
        ("a-b-c d-e-f", 8, "a-b-c\nd-e-f"),
        ("see /a/path/that/is/long there", 8, "see\n/a/path/that/is/long\nthere"),
        ("two  spaces stay", 30, "two  spaces stay"),
        ("", 5, ""),
    ],
)
def test_wrapped(text: str, width: int, expected: str) -> None:
    assert wrapped(text, width) == expected


def test_what_follows_may_hang() -> None:
    assert wrapped("  Reason: the table is locked", 16, hanging="  ") == "  Reason: the\n    table is\n    locked"


@pytest.mark.parametrize(
    ("rows", "width", "expected"),
    [
        ([["ab", "cd ef"], ["x", "y"]], 20, [2, 5]),
        ([["ab", "cd ef"], ["x", "y"]], 8, [2, 4]),
        ([["ab", "cd ef"], ["x", "y"]], 6, [2, 2]),
        ([["ab", "cd ef"], ["x", "y"]], 5, None),
        # the one that can give more gives
        ([["abcdefgh", "a b c d e f g h"]], 20, [8, 10]),
        ([["", ""]], 5, [0, 0]),
    ],
)
def test_the_widths_of_a_table(rows: list[list[str]], width: int, expected: list[int] | None) -> None:
    assert column_widths(rows, width) == expected
