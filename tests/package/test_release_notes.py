"""The text of a release is the changelog's section of its version."""

from __future__ import annotations

import pytest

from dev.release_notes import CHANGELOG, notes

TEXT = """# Changelog

## [Unreleased]

## [0.2.0] - 2027-01-02

### Added

- A thing ([docs](docs/index.md)).

## [0.1.0] - 2026-12-01

- The first.
"""


def test_a_version_has_its_own_section_alone() -> None:
    assert notes(TEXT, "0.2.0") == "### Added\n\n- A thing ([docs](docs/index.md))."
    assert notes(TEXT, "0.1.0") == "- The first."


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("0.3.0", r"CHANGELOG.md has no section \[0.3.0\]; it has: Unreleased, 0.2.0, 0.1.0"),
        ("0.2", r"no section \[0.2\]"),
        ("Unreleased", "says nothing of Unreleased: write what changed"),
    ],
)
def test_what_is_not_there_is_said(version: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        notes(TEXT, version)


def test_our_own_changelog_can_be_read() -> None:
    assert notes(CHANGELOG.read_text(), "Unreleased").startswith("### ")
