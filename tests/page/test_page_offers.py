"""What the page says to write into a DAG file makes a DAG that offers what was missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.page import worlds
from tests.page.conftest import Open

sys.path.append(str(Path(__file__).parents[1] / "airflow"))

import airflow_home  # noqa: F401 - before anything of Airflow

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
PLAIN = {"migrate": worlds.s.Choices(to=False, modes=["apply"]), "rollback": None, "rollback_dag": None}


@pytest.mark.parametrize("button", ["Dry run…", "Roll back…"])
def test_the_shortest_dag_is_told_how_dry_run_and_rollback_are_added(
    open_page: Open, tmp_path: Path, button: str
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_provider_wmigrate.web import catalog
    from airflow_provider_wmigrate.web.choices import choices

    page = open_page(AT, worlds.make_world(**PLAIN))
    page.get_by_role("button", name=button).click()
    code = page.get_by_role("dialog").locator("pre").inner_text()
    (tmp_path / "001_a.sql").write_text("SELECT 1;")
    known: dict[str, Any] = {}
    exec(code.replace('"../migrations"', repr(str(tmp_path))).replace("):\n    ", ") as dag:\n    ", 1), known)
    (group,) = catalog.groups_of(known["dag"].dag_id, DagSerialization.to_dict(known["dag"]))
    chosen = choices(group, None)
    assert sorted(chosen.modes) == ["apply", "dry_run"]
    assert (group.direction, chosen.to, group.conn_id) == (
        ("apply", False, "warehouse_db") if button == "Dry run…" else ("rollback", True, "warehouse_db")
    )
