"""What Airflow loads and shows: light where it is loaded everywhere, and served with care."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Place


def in_fresh_interpreter(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    """It is loaded in every task process."""
    code = (
        "import sys; import airflow.plugins_manager; before = set(sys.modules)\n"
        "from airflow_provider_wmigrate.web.plugin import WMigratePlugin; WMigratePlugin()\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new))"
    )
    assert in_fresh_interpreter(code) == "['airflow_provider_wmigrate']"


def test_the_links_import_nothing_of_the_web() -> None:
    code = (
        "import sys; import airflow_provider_wmigrate.operators\n"
        "print([m for m in sys.modules if m.startswith('fastapi') or m.startswith('airflow_provider_wmigrate.web')])"
    )
    assert in_fresh_interpreter(code) == "[]"


def test_airflow_shows_the_page_in_the_navigation_and_on_the_dag(admin: Any) -> None:
    plugins = admin.get("/api/v2/plugins").json()["plugins"]
    (mine,) = [plugin for plugin in plugins if plugin["name"] == "wmigrate"]
    views = {view["destination"]: view for view in mine["external_views"]}
    assert views["nav"]["href"] == "wmigrate/"
    assert views["dag"]["href"] == "wmigrate/?dag={DAG_ID}"
    assert views["nav"]["url_route"] != views["dag"]["url_route"]
    for view in views.values():
        for icon in (view["icon"], view["icon_dark_mode"]):
            assert admin.get(f"/{icon}").headers["content-type"] == "image/svg+xml"
    assert admin.get("/api/v2/plugins/importErrors").json()["import_errors"] == []


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("", "text/html"),
        ("static/index.html", "text/html"),
        ("static/page.css", "text/css"),
        ("static/main.js", "text/javascript"),
    ],
)
def test_the_page_and_its_files(admin: Any, path: str, media_type: str) -> None:
    answer = admin.get(f"/wmigrate/{path}")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, media_type)
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_a_browser_asks_for_a_file_once_and_for_the_page_always(admin: Any) -> None:
    """Also in the middle of an upgrade, when the page is from one server and a file from another."""
    page = admin.get("/wmigrate/").text
    kept = {}
    for address in re.findall(r'(?:href|src)="(static/[^"]+)"', page):
        answer = admin.get(f"/wmigrate/{address}")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, max-age=31536000, immutable")
        kept[address.rpartition("/")[2]] = answer.text
    assert {"main.js", "api.js", "theme.css"} <= set(kept)
    other = admin.get(f"/wmigrate/static/{'0' * 20}/main.js")
    assert (other.text, other.headers["cache-control"]) == (kept["main.js"], "private, no-cache")


@pytest.mark.parametrize("path", ["nope.js", "../api.py", "..%2fapi.py", "%2e%2e/api.py", "/etc/passwd", ""])
def test_nothing_else_is_served(admin: Any, path: str) -> None:
    answer = admin.get(f"/wmigrate/static/{path}")
    assert answer.status_code == 404
    assert "def " not in answer.text


def test_answers_are_not_kept(admin: Any, warehouse: Place) -> None:
    answer = admin.get(f"{warehouse.group}/status")
    assert answer.headers["cache-control"] == "private, no-store"


def test_the_link_on_a_task(admin: Any, warehouse: Place) -> None:
    stock = admin.get(f"{warehouse.group}/status").json()["migrations"][1]
    links = admin.get(f"/api/v2/dags/warehouse/dagRuns/{stock['run_id']}/taskInstances/{stock['task_id']}/links")
    address = links.json()["extra_links"]["Migration"]
    assert address.endswith("/plugin/wmigrate/wmigrate/?dag=warehouse&group=migrate&version=002")


def test_a_task_that_did_not_run_has_the_link_too(admin: Any, make_place: Callable[..., Place]) -> None:
    place = make_place("linked")
    run = place.migrate(to="001")
    task = f"/api/v2/dags/linked/dagRuns/{run.run_id}/taskInstances/migrate.003_views/links"
    address = admin.get(task).json()["extra_links"]["Migration"]
    assert address.endswith("/plugin/wmigrate/wmigrate/?dag=linked&group=migrate&version=003")


def test_the_link_of_a_version_that_is_a_template_leads_to_the_group() -> None:
    from types import SimpleNamespace

    from airflow.models.taskinstancekey import TaskInstanceKey

    from airflow_provider_wmigrate.links import MigrationLink

    key = TaskInstanceKey("d", "g.apply", "r")
    address = MigrationLink().get_link(SimpleNamespace(version="{{ params.version }}"), ti_key=key)
    assert address.endswith("/plugin/wmigrate/wmigrate/?dag=d&group=g")


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("", "/plugin/wmigrate/wmigrate/?dag=d"),
        ("https://airflow.example", "https://airflow.example/plugin/wmigrate/wmigrate/?dag=d"),
        ("https://example.org/af/", "https://example.org/af/plugin/wmigrate/af/wmigrate/?dag=d"),
    ],
)
def test_the_address_of_the_page(app: Any, monkeypatch: pytest.MonkeyPatch, base: str, address: str) -> None:
    from airflow_provider_wmigrate.links import page_address

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    assert page_address(dag="d") == address
