"""A folder and a ledger, written as words.

Folder: `1` depends on nothing, `2<1` on 1, `2+x` needs extension x or fails, `2?x` needs x or is skipped, `2!` was
edited.
Ledger: `1` is applied, `1~` was begun and not finished, neither was the rollback of `1^`; `2@5` was applied five
minutes after the others. Versions are written without their zeros.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_wmigrate.engine.extension import Extension, RequiredExtension
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import (
    Entry,
    Finding,
    Identity,
    LastEvent,
    Migration,
    Plan,
    Script,
    State,
    canonical_version,
)

BEFORE = datetime(2025, 1, 2, 3, 4, tzinfo=timezone.utc)

_WORD = re.compile(r"(?P<number>\d+)(<(?P<needs>[\d,]+))?(?P<policy>[+?])?(?P<extension>[a-z]+)?(?P<edited>!)?")


def canonical(number: str) -> str:
    return canonical_version(int(number))


def migration(word: str) -> Migration:
    match = _WORD.fullmatch(word)
    assert match, word
    number = match["number"]
    needs = tuple(canonical(n) for n in match["needs"].split(",")) if match["needs"] else ()
    policy = "skip" if match["policy"] == "?" else "fail"
    extensions = (RequiredExtension(match["extension"], policy),) if match["extension"] else ()  # type: ignore[arg-type]
    return Migration(
        canonical(number),
        "m",
        Script.of(f"{canonical(number)}_m.sql", "edited" if match["edited"] else f"text {number}"),
        rollback=Script.of(f"{canonical(number)}_m.rollback.sql", f"undo {number}"),
        dependencies=needs,
        requires_extensions=extensions,
    )


def entry(word: str, **changes: Any) -> Entry:
    match = re.fullmatch(r"(?P<number>\d+)(<(?P<needs>[\d,]+))?(?P<incomplete>[~^])?(@(?P<minute>\d+))?", word)
    assert match, word
    number = match["number"]
    values: dict[str, Any] = {
        "version": canonical(number),
        "name": "m",
        "status": "incomplete" if match["incomplete"] else "applied",
        "checksum": Script.of("", f"text {number}").checksum,
        "checksum_algorithm": "sha256",
        "dependencies": tuple(canonical(n) for n in match["needs"].split(",")) if match["needs"] else (),
        "rollback_checksum": Script.of("", f"undo {number}").checksum,
        "applied_at": BEFORE + timedelta(minutes=int(match["minute"] or 0)),
        "duration_ms": 1,
        "statements_done": 1,
        "statements_total": 1,
        "statement_hashes": (),
        "identity": Identity("ann"),
        "direction": "rollback" if match["incomplete"] == "^" else "apply",
    }
    return Entry(**values | changes)


def folder(words: str) -> tuple[list[Migration], Graph]:
    migrations = [migration(word) for word in words.split()]
    return migrations, Graph({m.version: m.dependencies for m in migrations})


def state(words: str, extensions: str | None = None) -> State:
    known = None if extensions is None else dict.fromkeys(extensions.split(), Extension(default_version="1.0"))
    return State(tuple(entry(word) for word in words.split()), known, 1)


def attempt(version: str, event: str, **more: Any) -> LastEvent:
    values: dict[str, Any] = {"at": BEFORE, "identity": Identity("ann", run_id="r1"), "error": "it broke"}
    return LastEvent(canonical(version), event, **values | more)


def steps(made: Plan) -> str:
    return " ".join(str(int(s.version)) for s in made.steps)


def codes(findings: tuple[Finding, ...]) -> str:
    return " ".join(f"{f.code}({int(f.version or 0)})" for f in findings)
