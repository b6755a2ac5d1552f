"""The check of licences: what it lets through, what it stops, and that it looks at everything that is brought."""

from __future__ import annotations

import pytest

from dev.licenses import EXCEPTIONS, PACKAGE, allowed, brought, main


def test_what_is_installed_here_passes(capfd: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    shown = capfd.readouterr().out
    assert "psycopg" in shown
    assert "LGPL-3.0-only" in shown


def test_every_requirement_of_ours_is_looked_at() -> None:
    own = {"postgast", "psycopg", "psycopg-binary", "pydantic", "pyyaml", "rich", "apache-airflow-providers-postgres"}
    assert own <= brought()
    assert PACKAGE not in brought()


def test_every_exception_is_still_needed() -> None:
    assert set(EXCEPTIONS) <= brought()


@pytest.mark.parametrize(
    "license", ["MIT", "BSD-3-Clause AND MIT", "GPL-3.0-only OR Apache-2.0", "MIT License", "MIT License; BSD License"]
)
def test_permissive_licences_pass(license: str) -> None:
    assert allowed("some", license)


@pytest.mark.parametrize(
    "license",
    [
        "UNKNOWN",
        "",
        "see the file LICENSE",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "LGPL-3.0-only",
        "MIT; Proprietary",
    ],
)
def test_the_others_do_not(license: str) -> None:
    assert not allowed("some", license)


def test_an_exception_holds_for_one_licence_only() -> None:
    assert allowed("psycopg", "LGPL-3.0-only")
    assert not allowed("psycopg", "AGPL-3.0-only")
    assert not allowed("another", "LGPL-3.0-only")


def test_one_that_is_not_allowed_fails(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(EXCEPTIONS, "psycopg")
    assert main() == 1
    assert "psycopg" in capfd.readouterr().err
