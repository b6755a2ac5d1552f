"""What a server's extensions lack, one line per case, and what is said of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.extensions import lack, remedy
from airflow_provider_wmigrate.engine.extension import Extension, RequiredExtension
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Entry, Finding, Identity, Migration, Plan, Script, State
from airflow_provider_wmigrate.engine.plan import planner

FILES = Extension(default_version="2.19.3")
OLD = Extension("2.10.1", "2.19.3", license="timescale")
APACHE = Extension("2.19.3", "2.19.3", license="apache")
COMMUNITY = Extension("2.19.3", "2.19.3", license="timescale")
NOT_PRELOADED = Extension(default_version="2.19.3", preloaded=False)


def needs(**what: str) -> RequiredExtension:
    return RequiredExtension("timescaledb", **what)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("needed", "has", "code"),
    [
        (needs(), None, "extension_missing"),
        (needs(), NOT_PRELOADED, "extension_not_preloaded"),
        (needs(), FILES, None),
        (needs(), APACHE, None),
        (needs(license="timescale"), APACHE, "extension_license"),
        (needs(license="timescale"), COMMUNITY, None),
        (needs(license="timescale"), FILES, None),
        (needs(min_version="2.13"), OLD, "extension_too_old"),
        (needs(min_version="2.13"), FILES, None),
        (needs(min_version="2.20"), FILES, "extension_too_old"),
        (needs(min_version="2.20", license="timescale"), NOT_PRELOADED, "extension_not_preloaded"),
        (needs(min_version="2.13"), Extension("2.13", None), None),
        (needs(min_version="2.13"), Extension("2.12.9", None), "extension_too_old"),
    ],
)
def test_what_a_server_lacks(needed: RequiredExtension, has: Extension | None, code: str | None) -> None:
    found = lack(needed, {"timescaledb": has} if has else {})
    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("found", "needed", "enough"),
    [
        ("2.13", "2.13", True),
        ("2.13.0", "2.13", True),
        ("2.13", "2.13.0", True),
        ("2.13", "2.13.1", False),
        ("2.9", "2.13", False),
        ("2.23.0-dev", "2.23", True),
        ("2.23.0-dev", "2.23.1", False),
        ("10", "9.9", True),
        ("1.0", "1.1", False),
        ("unpackaged", "1.0", True),
    ],
)
def test_versions_are_compared_by_their_numbers(found: str, needed: str, enough: bool) -> None:
    assert (lack(needs(min_version=needed), {"timescaledb": Extension(found, found)}) is None) is enough


def migration(version: str, text: str = "SELECT 1", needed: RequiredExtension | None = None) -> Migration:
    number = int(version)
    return Migration(
        version,
        "m",
        Script.of(f"{version}_m.sql", text),
        dependencies=(f"{number - 1:03d}",) if number > 1 else (),
        requires_extensions=(needed,) if needed else (),
    )


def plan(has: Extension, *migrations: Migration, applied: tuple[Entry, ...] = ()) -> Plan:
    graph = Graph({m.version: m.dependencies for m in migrations})
    return planner.plan_apply(migrations, graph, State(applied, {"timescaledb": has}))


@pytest.mark.parametrize(
    ("needed", "has", "says"),
    [
        (
            {},
            NOT_PRELOADED,
            ", which this server has not preloaded: CREATE EXTENSION would end the connection;"
            " add timescaledb to shared_preload_libraries and restart the server",
        ),
        (
            {"min_version": "2.13"},
            OLD,
            " 2.13 or newer, and this database has 2.10.1; run ALTER EXTENSION timescaledb UPDATE in a migration before"
            " it: the server has the files of 2.19.3",
        ),
        (
            {"min_version": "2.20"},
            OLD,
            " 2.20 or newer, and this database has 2.10.1; install timescaledb 2.20 or newer on the server, then run"
            " ALTER EXTENSION timescaledb UPDATE in a migration",
        ),
        (
            {"min_version": "2.20"},
            FILES,
            " 2.20 or newer, and this server would create 2.19.3; install timescaledb 2.20 or newer on the server",
        ),
        (
            {"license": "timescale"},
            APACHE,
            " under the timescale licence, and this server runs it under apache; install TimescaleDB's community"
            " packages and set timescaledb.license = 'timescale'",
        ),
    ],
)
def test_what_findings_say(needed: dict[str, str], has: Extension, says: str) -> None:
    (finding,) = plan(has, migration("001", needed=needs(**needed))).errors
    assert str(finding) == f"001_m.sql: migration 001 needs extension timescaledb{says}, or set when_missing: skip"


@pytest.mark.parametrize(
    ("needed", "has", "reason"),
    [
        ({}, NOT_PRELOADED, "is not preloaded on this server"),
        ({"min_version": "2.13"}, OLD, "is 2.10.1 here, 2.13 or newer is needed"),
        ({"license": "timescale"}, APACHE, "runs under the apache licence, timescale is needed"),
    ],
)
def test_a_skip_says_which(needed: dict[str, str], has: Extension, reason: str) -> None:
    made = plan(has, migration("001", needed=needs(when_missing="skip", **needed)), migration("002"))
    assert made.left_out == {"001": f"extension timescaledb {reason}", "002": "needs 001, which is left out"}
    assert (made.steps, made.findings) == ((), ())


UPDATE = 'ALTER EXTENSION "timescaledb" UPDATE;'


@pytest.mark.parametrize(
    ("script", "min_version", "codes"),
    [
        (UPDATE, "2.13", []),
        ("alter  extension\ntimescaledb\tupdate to '2.19.3'", "2.13", []),
        (UPDATE, "2.20", ["extension_too_old"]),
        ("ALTER EXTENSION postgis UPDATE", "2.13", ["extension_too_old"]),
        ("SELECT 1", "2.13", ["extension_too_old"]),
    ],
)
def test_an_update_before_it_counts(script: str, min_version: str, codes: list[str]) -> None:
    made = plan(
        OLD, migration("001", script), migration("002"), migration("003", needed=needs(min_version=min_version))
    )
    assert [f.code for f in made.findings] == codes


def test_an_update_of_its_own_counts() -> None:
    assert plan(OLD, migration("001", UPDATE, needs(min_version="2.13"))).findings == ()


def test_an_update_that_was_applied_counts_no_more(entry_of_001: Entry) -> None:
    two = migration("001", UPDATE), migration("002", needed=needs(min_version="2.13"))
    assert [f.code for f in plan(OLD, *two, applied=(entry_of_001,)).errors] == ["extension_too_old"]


def test_an_update_that_was_begun_and_not_finished_still_counts(entry_of_001: Entry) -> None:
    """Its script goes on before what needs it: whether the extension was updated, the look under its lock says."""
    two = migration("001", UPDATE), migration("002", needed=needs(min_version="2.13"))
    made = plan(OLD, *two, applied=(replace(entry_of_001, status="incomplete", statements_total=2),))
    assert made.findings == (
        Finding(
            "incomplete",
            "migration 001_m was started outside a transaction and is not finished (1 of 2 statements done)",
            "`wmigrate up` goes on where it stopped",
            "warning",
            "001",
            "001_m.sql",
        ),
    )
    assert [(step.version, step.checksum) for step in made.steps] == [(m.version, m.script.checksum) for m in two]


def test_an_update_of_a_migration_that_it_does_not_depend_on_does_not_count() -> None:
    two = migration("001", UPDATE), replace(migration("002", needed=needs(min_version="2.13")), dependencies=())
    assert plan(OLD, *two).findings == (
        Finding(
            "extension_too_old",
            "migration 002 needs extension timescaledb 2.13 or newer, and this database has 2.10.1",
            "run ALTER EXTENSION timescaledb UPDATE in a migration before it: the server has the files of 2.19.3,"
            " or set when_missing: skip",
            "error",
            "002",
            "002_m.sql",
        ),
    )


@pytest.fixture
def entry_of_001() -> Entry:
    from datetime import datetime, timezone

    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    checksum = Script.of("", UPDATE).checksum
    return Entry("001", "m", "applied", checksum, "sha256", (), None, now, 1, 1, 1, (), Identity("tester"))


@pytest.mark.parametrize(
    ("sqlstate", "message", "begins"),
    [
        ("0A000", 'functionality not supported under the current "apache" license', "this server runs TimescaleDB's"),
        ("0A000", 'function "add_retention_policy" is not supported under the current "apache" license', "this server"),
        (
            "0A000",
            'extension "timescaledb" cannot be updated after the old version has already been loaded',
            "it must be",
        ),
        ("XX000", 'extension "timescaledb" must be preloaded', "add timescaledb to shared_preload_libraries"),
        ("0A000", "operation not supported on hypertables that have columnstore enabled", "take the columnstore off"),
        ("0A000", "cannot disable columnstore on hypertable with columnstore chunks", "take the columnstore off"),
        ("0A000", "hypertables do not support concurrent index creation", "create it WITH"),
        ("0A000", "cannot truncate only a hypertable", None),
        ("42710", 'extension "timescaledb" must be preloaded', None),
        ("42601", 'syntax error at or near "license"', None),
        (None, "server closed the connection unexpectedly", None),
    ],
)
def test_what_to_do_about_a_refusal(sqlstate: str | None, message: str, begins: str | None) -> None:
    found = remedy(sqlstate, message)
    assert found is None if begins is None else found is not None and found.startswith(begins)
