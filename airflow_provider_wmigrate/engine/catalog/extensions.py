"""What extensions a server has, and why that is not enough for a migration. Reads catalogs, changes nothing.

TimescaleDB needs more than its files: where its library is not preloaded, CREATE EXTENSION ends the connection, and
under its Apache licence policies, continuous aggregates and the columnstore are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wmigrate.engine.catalog.server import NO_LIBRARY
from airflow_provider_wmigrate.engine.extension import Extension, RequiredExtension
from airflow_provider_wmigrate.engine.model import Finding, Migration, finding_in

if TYPE_CHECKING:
    from psycopg import Connection

    from airflow_provider_wmigrate.engine.sql.script import Analysis

TIMESCALEDB = "timescaledb"

_PRELOAD = "add timescaledb to shared_preload_libraries and restart the server"
_COMMUNITY = "install TimescaleDB's community packages and set timescaledb.license = 'timescale'"


def read_extensions(conn: Connection[Any]) -> dict[str, Extension]:
    """Extensions that the server has files of, or the database has created; any role may ask."""
    return asking_extensions(conn)()


def asking_extensions(conn: Connection[Any]) -> Callable[[], dict[str, Extension]]:
    """The question alone; the answer can be had when a pipeline has ended.

    TimescaleDB's settings exist exactly where it is preloaded; one that is created already needs no such proof.
    """
    answer = conn.execute(
        "SELECT coalesce(a.name, e.extname), e.extversion, a.default_version,"
        " coalesce(a.name, e.extname) <> 'timescaledb' OR e.oid IS NOT NULL OR EXISTS"
        " (SELECT FROM pg_catalog.pg_settings s WHERE s.name = 'timescaledb.max_background_workers'),"
        " CASE coalesce(a.name, e.extname) WHEN 'timescaledb'"
        " THEN pg_catalog.current_setting('timescaledb.license', true) END"
        " FROM pg_catalog.pg_available_extensions a FULL JOIN pg_catalog.pg_extension e ON e.extname = a.name"
    )
    return lambda: {name: Extension(*values) for name, *values in answer}


class Lack(NamedTuple):
    """Why a server's extension is not what a migration needs."""

    code: str
    found: str
    """What stands behind "migration 003 needs extension x"."""
    fix: str
    brief: str
    """What stands behind "extension x", as the reason for which a migration is left out."""


def lack(needed: RequiredExtension, extensions: Mapping[str, Extension], *, updated: bool = False) -> Lack | None:
    """What is wrong with a server's extension; None: nothing that is known now.

    :param updated: the extension is brought to the server's default version before it is needed.
    """
    name, has = needed.name, extensions.get(needed.name)
    if has is None:
        found, fix = ", which this server cannot create: its files are not there", f"install {name} on the server"
        return Lack("extension_missing", found, fix, "is not available on this server")
    if not has.preloaded:
        found = ", which this server has not preloaded: CREATE EXTENSION would end the connection"
        return Lack("extension_not_preloaded", found, _PRELOAD, "is not preloaded on this server")
    version = has.default_version if updated or has.installed is None else has.installed
    if needed.min_version and version and _older(version, needed.min_version):
        return _too_old(needed.name, needed.min_version, version, has)
    if needed.license and has.license not in (None, needed.license):
        found = f" under the {needed.license} licence, and this server runs it under {has.license}"
        brief = f"runs under the {has.license} licence, {needed.license} is needed"
        return Lack("extension_license", found, _COMMUNITY, brief)
    return None


def _too_old(name: str, needed: str, version: str, has: Extension) -> Lack:
    offered = has.default_version
    if has.installed is None:
        found, fix = f"this server would create {version}", f"install {name} {needed} or newer on the server"
    elif offered is None or _older(offered, needed):
        found = f"this database has {has.installed}"
        fix = f"install {name} {needed} or newer on the server, then run ALTER EXTENSION {name} UPDATE in a migration"
    else:
        found = f"this database has {has.installed}"
        fix = f"run ALTER EXTENSION {name} UPDATE in a migration before it: the server has the files of {offered}"
    brief = f"is {version} here, {needed} or newer is needed"
    return Lack("extension_too_old", f" {needed} or newer, and {found}", fix, brief)


def _older(version: str, than: str) -> bool:
    """By the numbers alone: `2.23.0-dev` counts as 2.23. A version without any is not comparable, so not older."""
    return bool(_numbers(version)) and _numbers(version) < _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(n) for n in re.match(r"([0-9]+\.)*[0-9]+|", version)[0].split(".") if n]  # type: ignore[index]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def lacks(
    migration: Migration,
    extensions: Mapping[str, Extension],
    *,
    updated: Collection[str] = (),
    implied: Iterable[RequiredExtension] = (),
) -> Iterator[tuple[RequiredExtension, Lack]]:
    """What a migration needs and the server has not.

    :param updated: extensions that it, or what runs before it, updates.
    :param implied: what it needs beyond what is declared.
    """
    for required in (*migration.requires_extensions, *implied):
        found = lack(required, extensions, updated=required.name in updated)
        if found:
            yield required, found


_UPDATE = re.compile(r'\bALTER\s+EXTENSION\s+"?([A-Za-z_][\w-]*)"?\s+UPDATE\b', re.IGNORECASE)


def updates(migration: Migration) -> frozenset[str]:
    """The extensions that a script updates: by its text, since a plan parses nothing. One too many delays the finding
    to the migration's own look."""
    return frozenset(_UPDATE.findall(migration.script.text))


def extension_finding(migration: Migration, needed: RequiredExtension, found: Lack) -> Finding:
    """A lack as a finding. One sentence: what is needed, what is found, what to do."""
    declared = needed in migration.requires_extensions and needed.when_missing == "fail"
    message = f"migration {migration.version} needs extension {needed.name}{found.found}"
    nxt = f"{found.fix}, or set when_missing: skip" if declared else found.fix
    return finding_in(found.code, migration, message, nxt)


def preflight(conn: Connection[Any], about_to_run: Sequence[tuple[Migration, Analysis]]) -> tuple[Finding, ...]:
    """The same look once more just before scripts that run together are sent. The server is asked only if one of them
    needs anything, which most do not.

    A script that creates TimescaleDB needs it preloaded, declared or not: else its connection would die.
    """
    implied = [(migration, _implied(migration, analysis)) for migration, analysis in about_to_run]
    if not any(migration.requires_extensions or more for migration, more in implied):
        return ()
    extensions = read_extensions(conn)
    updated = frozenset().union(*(updates(migration) for migration, _ in implied))
    return tuple(
        extension_finding(migration, needed, found)
        for migration, more in implied
        for needed, found in lacks(migration, extensions, updated=updated, implied=more)
    )


def _implied(migration: Migration, analysis: Analysis) -> tuple[RequiredExtension, ...]:
    declared = {needed.name for needed in migration.requires_extensions}
    creates = any(node.extname == TIMESCALEDB for _, node in analysis.statements.nodes("create_extension_stmt"))
    return (RequiredExtension(TIMESCALEDB),) if creates and TIMESCALEDB not in declared else ()


_REMEDIES = {
    'not supported under the current "apache" license': (
        f"this server runs TimescaleDB's Apache edition: {_COMMUNITY}"
    ),
    'extension "timescaledb" must be preloaded': _PRELOAD,
    'extension "timescaledb" cannot be updated after the old version': (
        "it must be the first statement of a session: let transactional be auto, and connect to the server itself, not"
        " to a pooler, which hands out used sessions"
    ),
    "(hypertable.* (columnstore|compression) enabled|on hypertable with (columnstore|compressed) chunks)": (
        "take the columnstore off before it, in the same script: remove its policy, decompress every chunk, switch it"
        " off, make the change, switch it on again"
    ),
    "hypertables do not support concurrent index creation": (
        "create it WITH (timescaledb.transaction_per_chunk), which locks one chunk at a time"
    ),
}
"""What TimescaleDB says -> what to do, where it has no hint of its own or one that does not fit here."""


def remedy(sqlstate: str | None, message: str) -> str | None:
    """What to do about a server's refusal that an extension or its library explains; None: not one of those."""
    if sqlstate in ("42883", "42809", "22023") and re.search(_TIMESCALE_WORDS, message):
        return (
            "it is TimescaleDB's: create that extension before it and name timescaledb under requires_extensions, or"
            " correct the call"
        )
    if re.search(NO_LIBRARY, message):
        return "install the package of this library on the server, in the version that the database uses"
    if sqlstate not in ("0A000", "XX000"):
        return None
    return next((fix for says, fix in _REMEDIES.items() if re.search(says, message)), None)


_TIMESCALE_WORDS = (
    r"\b(create_hypertable|create_distributed_hypertable|add_dimension|set_chunk_time_interval|set_integer_now_func"
    r"|(add|remove)_(retention|compression|columnstore|continuous_aggregate|reorder)_policy"
    r"|refresh_continuous_aggregate|(drop|show|move|merge|split)_chunks?|(de)?compress_chunk|convert_to_(column|row)store"
    r"|hypertable_size|(add|alter|run|delete)_job|time_bucket(_gapfill)?)\(|\"(timescaledb|tsdb)\""
)
"""What a server without the extension says about its functions and options."""
