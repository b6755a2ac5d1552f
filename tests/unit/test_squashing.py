"""A file that stands for earlier ones: which databases are taken to have it, and what the folder makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_words import canonical, entry, migration, state, steps
from msgspec.structs import replace

from airflow_provider_wmigrate.cli.pg_dump import as_migration
from airflow_provider_wmigrate.engine.errors import ConfigError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Entry, Migration, Script
from airflow_provider_wmigrate.engine.plan import planner
from airflow_provider_wmigrate.engine.plan.rollback import plan_rollback, rollback_of

OLD = {canonical(n): Script.of("", f"text {n}").checksum for n in "123"}
SQUASH = replace(
    migration("3"),
    rollback=None,
    name="squashed",
    script=Script.of("003_squashed.sql", "all"),
    squashes=tuple(OLD.items()),
)
FILES = [SQUASH, migration("4<3")]
GRAPH = Graph({m.version: m.dependencies for m in FILES})
FRESH = entry("3", checksum=SQUASH.script.checksum)
WAY = (
    "take the folder as it was before the squash, and apply them or settle their findings there"
    " (`wmigrate plan` names them); then go on with this folder"
)


@pytest.mark.parametrize(
    ("entries", "pending", "statuses"),
    [
        ((), "3 4", "003 pending, 004 pending"),
        (state("1 2 3").entries, "4", "001 forgotten, 002 forgotten, 003 applied, 004 pending"),
        (state("1 2 3 4").entries, "", "001 forgotten, 002 forgotten, 003 applied, 004 applied"),
        ((FRESH,), "4", "003 applied, 004 pending"),
        ((FRESH, entry("4")), "", "003 applied, 004 applied"),
    ],
)
def test_a_database_has_it_by_the_old_files_or_by_itself(
    entries: tuple[Entry, ...], pending: str, statuses: str
) -> None:
    plan = planner.plan_apply(FILES, GRAPH, replace(state(""), entries=entries))
    assert steps(plan) == pending
    assert ", ".join(f"{v} {s.value}" for v, s in plan.statuses.items()) == statuses
    assert plan.findings == ()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (state("1 2").entries, "003 is not applied"),
        (state("1").entries, "002, 003 are not applied"),
        (state("3").entries, "001, 002 are not applied"),
        ((*state("1 2").entries, FRESH), "003 is applied with another text"),
        ((*state("1 3").entries, entry("2", checksum="another")), "002 is applied with another text"),
        ((*state("2").entries, FRESH), "001 is not applied"),
        (state("1~ 2 3").entries, "001 is not finished"),
    ],
)
def test_a_database_with_a_part_of_it_is_refused(entries: tuple[Entry, ...], said: str) -> None:
    plan = planner.plan_apply(FILES, GRAPH, replace(state(""), entries=entries))
    (found,) = (f for f in plan.errors if f.code == "squashed_in_part")
    message = f"003_squashed.sql: migration 003 squashes 3 migrations, and here {said}; {WAY}"
    assert (str(found), found.version) == (message, "003")
    again = planner.refusals(SQUASH, {e.version: e for e in entries})
    assert found in again, "under its lock too"


def test_many_are_not_all_named() -> None:
    many = tuple((canonical(n), "x") for n in range(1, 11))
    plan = planner.plan_apply([replace(SQUASH, version="010", squashes=many)], Graph({"010": ()}), state("1"))
    (found,) = plan.errors[-1:]
    assert found.message == ("migration 010 squashes 10 migrations, and here 002, 003, 004, 6 more are not applied")


def test_the_old_ones_are_rolled_back_from_the_ledger() -> None:
    plan = plan_rollback(FILES, state("1 2<1 3<2 4<3"), to=None)
    assert (steps(plan), plan.findings) == ("4 3 2 1", ())
    assert rollback_of(SQUASH, entry("3")) == "ledger"


CONFIG = """\
migrations:
  - version: "003"
    squashes:
      "001": {0}
      "002": {0}
      "003": {0}
  - version: "005"
    dependencies: [001, 002, 004]
""".format("a" * 64)


def read(tmp_path: Path, config: str, *more: str) -> tuple[Migration, ...]:
    for name in ("003_squashed", "004_next", "005_last", *more):
        (tmp_path / f"{name}.sql").write_text("SELECT 1;")
    (tmp_path / "migration_config.yaml").write_text(config)
    return read_folder(tmp_path).migrations


def test_who_needs_an_old_one_needs_what_stands_for_it(tmp_path: Path) -> None:
    migrations = read(tmp_path, CONFIG)
    assert [m.dependencies for m in migrations] == [(), ("003",), ("003", "004")]
    assert migrations[0].squashes == (("001", "a" * 64), ("002", "a" * 64), ("003", "a" * 64))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"002": ', '"004": ', "5: migrations[0].squashes.004: is above 003; correct it"),
        (
            '"002": ',
            '"2": ',
            "5: migrations[0].squashes.2: is no version, written with three digits or more; correct it",
        ),
        ('"003": ', '"000": ', "3: migrations[0].squashes: lacks 003 itself; correct it"),
        (
            "a" * 64,
            "abc",
            "4: migrations[0].squashes.001: must be a checksum of 64 hexadecimal digits, not abc; correct it",
        ),
    ],
)
def test_what_it_cannot_stand_for(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, CONFIG.replace(old, new, 1))
    assert str(raised.value.findings[0]) == f"migration_config.yaml:{said}"


def test_an_old_file_that_is_still_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, CONFIG, "002_old")
    assert [str(f) for f in raised.value.findings] == [
        "migration_config.yaml:2: migrations: version 003 squashes 002, but 002_old.sql is there; correct it"
    ]


def test_what_pg_dump_writes_becomes_a_script() -> None:
    dumped = r"""--
\restrict Abc123
-- Dumped by pg_dump version 17.6

SET statement_timeout = 0;
SET transaction_timeout = 0;
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: shop; Type: TABLE; Schema: public; Owner: Ann
--

ALTER TABLE public.shop OWNER TO "Ann";
ALTER TABLE public.shop OWNER TO bob;



\unrestrict Abc123
"""
    assert as_migration(dumped, '"Ann"') == (
        "--\n-- Dumped by pg_dump version 17.6\n\nSET standard_conforming_strings = on;\n"
        "SELECT pg_catalog.set_config('search_path', '', false);\n\n"
        "--\n-- Name: shop; Type: TABLE; Schema: public\n--\n\nALTER TABLE public.shop OWNER TO bob;\n"
    )
