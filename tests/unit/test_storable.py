"""Texts for databases of any encoding: what is escaped, and that a script comes back as it was."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.ledger.storable import (
    CODECS,
    ESCAPED,
    original_script,
    storable,
    storable_data,
    stored_script,
)


@pytest.mark.parametrize(
    ("text", "encoding", "stored"),
    [
        ("plain", "LATIN1", "plain"),
        ("für → 🙂", "UTF8", "für → 🙂"),
        ("für → 🙂", "SQL_ASCII", "für → 🙂"),
        ("für → 🙂", "LATIN1", "für \\u2192 \\U0001f642"),
        ("€ für → ў", "WIN1252", "€ für \\u2192 \\u045e"),
        ("ў für", "WIN1251", "ў f\\u00fcr"),
        ("日本", "EUC_JP", "\\u65e5\\u672c"),
        ("\uffff\U00010000", "LATIN9", "\\uffff\\U00010000"),
        ("a\0b", "UTF8", "a\\u0000b"),
        ("\udcff \ud800 \udfff", "UTF8", "\\udcff \\ud800 \\udfff"),
        ("\ud7ff\ue000", "UTF8", "\ud7ff\ue000"),
        ("C:\\u2192", "LATIN1", "C:\\u2192"),
    ],
)
def test_what_a_database_cannot_hold_is_escaped(text: str, encoding: str, stored: str) -> None:
    assert storable(text, encoding) == stored


def test_every_text_in_data_is_escaped_and_nothing_else_changes() -> None:
    data = {"→": ["→", ("é", 1, None, True, 1.5)], "deep": {"a": {"b": "\0"}}}
    expected = {"\\u2192": ["\\u2192", ["é", 1, None, True, 1.5]], "deep": {"a": {"b": "\\u0000"}}}
    assert storable_data(data, "LATIN1") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DROP TABLE t; -- für",
        "-- → \\ \\\\ \\u2192 \\U0001f642 🙂 \\n\nSELECT E'\\u00e9';",
        ESCAPED,
        ESCAPED + "SELECT '\\\\';",
        "é" + ESCAPED,
        "\\",
        "→",
    ],
)
@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "EUC_JP", "SQL_ASCII"])
def test_a_script_comes_back_as_it_was(text: str, encoding: str) -> None:
    stored = stored_script(text, encoding)
    assert original_script(stored) == text
    assert storable(stored, encoding) == stored
    assert stored.startswith(ESCAPED) or stored == text


def test_a_script_that_fits_is_stored_as_it_is() -> None:
    assert stored_script("-- für \\ E'\\n'", "LATIN1") == "-- für \\ E'\\n'"
    assert stored_script("-- → \\n", "LATIN1") == ESCAPED + "-- \\u2192 \\\\n"
    assert (ESCAPED[:3], ESCAPED[-1], ESCAPED.isascii()) == ("-- ", "\n", True)


def test_which_encodings_are_known() -> None:
    latin = {f"LATIN{n}" for n in range(1, 11)}
    windows = {f"WIN{n}" for n in (866, 874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)}
    iso = {"ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8"}
    assert set(CODECS) == latin | windows | iso | {"KOI8R", "KOI8U"}
