"""Which scripts need a backup before them, and whether one that was made is one for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from some_catalog import a_catalog

from airflow_provider_wmigrate.engine.foreseen import Loss
from airflow_provider_wmigrate.engine.model import Direction, Finding, Identity, Plan, Script, Step
from airflow_provider_wmigrate.engine.plan.backup_needs import (
    Asked,
    Need,
    as_planned,
    missing,
    needs,
    planned_needs,
    touched,
    without_backup,
)
from airflow_provider_wmigrate.engine.plan.forecast import Ahead, parts_of
from airflow_provider_wmigrate.engine.plan.losses import lost
from airflow_provider_wmigrate.engine.sql.analysis import analyse

TABLE = Loss("app.t", 2, True, "takes away table app.t with 2 rows (counted)")
HIDDEN = Loss(None, None, False, "line 1 may take away more than can be foreseen: a DO block runs")


def plan(*versions: str, direction: Direction = "apply") -> Plan:
    return Plan(direction, None, tuple(Step(direction, v, "m", f"sum {v}") for v in versions), {})


@pytest.mark.parametrize(
    ("asked", "losses", "direction", "why"),
    [
        (True, (), "apply", "the config asks for it"),
        (False, (TABLE,), "apply", None),
        (None, (), "apply", None),
        (None, (TABLE,), "apply", f"it {TABLE.told}"),
        (None, (TABLE, HIDDEN), "apply", f"it {TABLE.told} (and 1 more)"),
        (None, (HIDDEN,), "apply", HIDDEN.told),
        (None, (HIDDEN, TABLE, TABLE), "apply", HIDDEN.told),
        (None, None, "apply", "its script cannot be read"),
        (True, None, "apply", "the config asks for it"),
        (False, (TABLE,), "rollback", f"it {TABLE.told}"),
        (True, (), "rollback", None),
    ],
)
def test_which_script_needs_one(
    asked: bool | None, losses: tuple[Loss, ...] | None, direction: Direction, why: str | None
) -> None:
    given = {} if losses is None else {"001": losses}
    found = needs(plan("001", direction=direction), {"001": asked}.get, given, {"001": ("app.t",)}, {"001": "s"})
    assert found == ({"001": Need("001", why, "s", ("app.t",))} if why else {})


def test_of_what_nobody_knows_nothing_is_said() -> None:
    assert needs(plan("001", "002"), {"001": True, "002": False}.get, {}, {}, {}) == {
        "001": Need("001", "the config asks for it", "", None)
    }


@pytest.mark.parametrize(
    ("text", "relations"),
    [
        ("DROP TABLE t;", ("app.t",)),
        ("DELETE FROM t; DROP TABLE u;", ("app.t", "app.c", "app.x", "app.y", "app.u")),
        ("LOCK TABLE t IN ROW SHARE MODE; LOCK TABLE u;", ("app.u",)),
        ("INSERT INTO t VALUES (1);", ("app.t",)),
        ("DROP INDEX t_i;", ("app.t",)),
        ("CREATE TABLE new (n int); DROP TABLE new;", ()),
        ("DO $$ BEGIN END $$;", None),
        ("SELECT unknown();", None),
        ("not SQL", None),
    ],
)
def test_what_a_script_touches(text: str, relations: tuple[str, ...] | None) -> None:
    facts, analysis = a_catalog(), analyse(Script.of("001_a.sql", text))
    scripts = [Ahead("001", analysis, parts_of(analysis, "auto"))]
    found = touched(scripts, facts, lost(scripts, facts))
    assert (found["001"] and set(found["001"])) == (relations and set(relations))


def test_a_script_touches_what_was_there_before_the_first_one() -> None:
    facts = a_catalog()
    texts = {"001": "DO $$ BEGIN END $$;", "002": "SET search_path TO other; DROP TABLE t;", "003": "DROP TABLE u;"}
    analyses = {version: analyse(Script.of(f"{version}_a.sql", text)) for version, text in texts.items()}
    scripts = [Ahead(version, each, parts_of(each, "auto")) for version, each in analyses.items()]
    found = touched(scripts, facts, lost(scripts, facts))
    assert found == {"001": None, "002": ("other.t",), "003": ("app.u",)}


def test_what_the_plans_row_says() -> None:
    found = {"001": Need("001", "why", "s")}
    assert as_planned(found, plan("001", "002")) == {
        "needed": {"001": "why"},
        "checksums": {"001": "sum 001", "002": "sum 002"},
    }


ANN = Identity("ann", dag_id="d", run_id="r", task_id="plan")
DECIDED = {"backup": {"needed": {"001": "why"}, "checksums": {"001": "a", "002": "b"}}}


@pytest.mark.parametrize(
    ("row", "checksums", "known", "needed"),
    [
        (None, {"001": "a"}, set(), set()),
        (Asked("applied", ANN, DECIDED), {"001": "a"}, set(), set()),
        (Asked("planned", ANN, {}), {"001": "a"}, set(), set()),
        (Asked("planned", ANN, DECIDED), {"001": "a", "002": "b"}, {"001", "002"}, {"001"}),
        (Asked("planned", ANN, DECIDED), {"001": "x", "002": "b"}, {"002"}, set()),
        (Asked("planned", ANN, DECIDED), {"002": "x"}, {"001"}, {"001"}),
    ],
)
def test_what_the_plan_of_the_attempt_has_decided(
    row: Asked | None, checksums: Mapping[str, str], known: set[str], needed: set[str]
) -> None:
    assert planned_needs(row, checksums) == (known, needed)


NEED = Need("001", "why", "s")


def backup(scope: str = "relations", event: str = "backed_up", who: Identity = ANN, **versions: str) -> Asked:
    return Asked(event, who, {"scope": scope, "versions": {f"00{name[-1]}": sum_ for name, sum_ in versions.items()}})


@pytest.mark.parametrize(
    ("rows", "is_covered"),
    [
        ([], False),
        ([backup(v1="s")], True),
        ([backup(v1="another")], False),
        ([backup("database", v1="another")], True),
        ([backup("database", v2="s")], False),
        ([backup(v2="s"), backup(v1="s")], True),
        ([backup(event="planned", v1="s")], False),
        ([backup(who=Identity("ann", "d", "r", "backup"), v1="s")], True),
        ([backup(who=Identity("eve", "d", "r"), v1="s")], False),
        ([backup(who=Identity("ann", "x", "r"), v1="s")], False),
        ([backup(who=Identity("ann", "d", "x"), v1="s")], False),
    ],
)
def test_whether_this_run_has_made_one_for_it(rows: list[Any], is_covered: bool) -> None:
    other = Need("009", "why", "z")
    assert without_backup([NEED, other], rows, ANN) == [*([] if is_covered else [NEED]), other]


def test_what_is_said_where_there_is_none() -> None:
    assert missing(NEED) == Finding(
        "backup_missing",
        "001 needs a backup before it (why), and this run has none",
        "clear the run's backup task with its downstream, or run `wmigrate up`, which makes one;"
        " `backup: false` for 001 in the config says that it needs none",
        version="001",
    )
