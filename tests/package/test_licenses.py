"""The check of licences: what it lets through, what it stops, and that it looks at everything that is brought."""

from __future__ import annotations

from email.message import Message
from importlib.metadata import PackageNotFoundError

import pytest

from dev.licenses import EXCEPTIONS, PACKAGE, brought, check, installed, main


def metadata(**fields: str | list[str]) -> Message:
    made = Message()
    made["Version"] = "1.0"
    for name, value in fields.items():
        for line in [value] if isinstance(value, str) else value:
            made[name.replace("_", "-")] = line
    return made


def test_what_is_installed_here_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    shown = capsys.readouterr().out
    assert "psycopg" in shown
    assert "LGPL-3.0-only" in shown


def test_every_requirement_of_ours_is_looked_at() -> None:
    found = brought(installed)
    own = {"postgast", "psycopg", "psycopg-binary", "pydantic", "pyyaml", "rich", "apache-airflow-providers-postgres"}
    assert own <= found
    assert PACKAGE not in found


def test_every_exception_is_still_needed() -> None:
    assert set(EXCEPTIONS) <= brought(installed)


@pytest.mark.parametrize(
    "fields",
    [
        {"License_Expression": "MIT"},
        {"License_Expression": "BSD-3-Clause AND MIT"},
        {"License_Expression": "GPL-3.0-only OR Apache-2.0"},
        {"Classifier": ["Programming Language :: Python", "License :: OSI Approved :: MIT License"]},
        {"License": "Apache License, Version 2.0"},
        {"License": "MIT"},
    ],
)
def test_permissive_licences_pass(fields: dict[str, str | list[str]]) -> None:
    assert check("some", metadata(**fields)).allowed


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "unknown"),
        ({"License": "see the file LICENSE, all rights reserved"}, "unknown"),
        ({"Classifier": "License :: OSI Approved"}, "unknown"),
        ({"License_Expression": "GPL-3.0-only"}, "GPL-3.0-only"),
        ({"License_Expression": "MIT AND GPL-3.0-only"}, "MIT AND GPL-3.0-only"),
        ({"License_Expression": "LGPL-3.0-only"}, "LGPL-3.0-only"),
        ({"Classifier": "License :: Other/Proprietary License"}, "Other/Proprietary License"),
    ],
)
def test_the_others_do_not(fields: dict[str, str | list[str]], said: str) -> None:
    verdict = check("some", metadata(**fields))
    assert (verdict.allowed, verdict.license) == (False, said)
    assert verdict.reason


def test_an_exception_holds_for_one_licence_only() -> None:
    assert check("psycopg", metadata(License_Expression="LGPL-3.0-only")).allowed
    assert not check("psycopg", metadata(License_Expression="AGPL-3.0-only")).allowed


def test_a_dependency_of_a_dependency_fails_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    known = {
        PACKAGE: metadata(Requires_Dist="middle>=1"),
        "middle": metadata(License_Expression="MIT", Requires_Dist=["deep", 'never; sys_platform == "win32"']),
        "deep": metadata(License="ask us"),
    }

    def look_up(name: str) -> Message:
        if name not in known:
            raise PackageNotFoundError(name)
        return known[name]

    assert main(look_up) == 1
    assert "deep 1.0: licence unknown" in capsys.readouterr().err
