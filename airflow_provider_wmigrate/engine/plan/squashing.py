"""A file that stands for many earlier ones: whether a database had all of these, none, or something else. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_provider_wmigrate.engine.model import Entry, Finding, Migration, finding_in


def squashed_in_part(migrations: Iterable[Migration], entries: Mapping[str, Entry]) -> list[Finding]:
    """A finding for each squash of which the database has neither nothing nor all, whether by the old files or by the
    one that stands for them."""
    found = []
    for migration in migrations:
        there = [entries[version] for version, _ in migration.squashes if version in entries]
        by_itself = [e.version for e in there if e.checksum == migration.script.checksum] == [e.version for e in there]
        if by_itself or not (wrong := _wrong(migration, entries)):
            continue
        message = f"migration {migration.version} squashes {len(migration.squashes)} migrations, and here {wrong}"
        nxt = (
            "take the folder as it was before the squash, and apply them or settle their findings there"
            " (`wmigrate plan` names them); then go on with this folder"
        )
        found.append(finding_in("squashed_in_part", migration, message, nxt))
    return found


def _wrong(migration: Migration, entries: Mapping[str, Entry]) -> str:
    """What there is of the old files that is not as it was squashed; empty: all of it is."""
    absent = [v for v, _ in migration.squashes if v not in entries]
    if absent:
        return f"{_some(absent)} not applied"
    unfinished = [v for v, _ in migration.squashes if entries[v].status != "applied"]
    if unfinished:
        return f"{_some(unfinished)} not finished"
    edited = [v for v, digest in migration.squashes if entries[v].checksum != digest]
    return f"{_some(edited)} applied with another text" if edited else ""


def _some(versions: list[str]) -> str:
    shown = versions if len(versions) < 6 else [*versions[:3], f"{len(versions) - 3} more"]
    return f"{', '.join(shown)} {'is' if len(versions) == 1 else 'are'}"
