"""docs/api.md shows what the API says: every route, every code, and examples that the models accept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from conftest import API
from pydantic import ConfigDict, create_model

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
WEB = Path(__file__).parents[2] / "airflow_provider_wmigrate" / "web"
MODELS = {
    "GET /groups": "GroupList",
    "GET {group}/status": "StatusAnswer",
    "GET {group}/history": "HistoryAnswer",
    "GET {group}/plan": "PlanAnswer",
    "GET {group}/health": "HealthAnswer",
    "GET {group}/audit": "AuditAnswer",
    "GET {group}/metrics": "MetricsAnswer",
    "GET {group}/migrations/{version}": "MigrationAnswer",
    "POST {group}/migrate": "Started",
}


def example(route: str) -> Any:
    section = TEXT.split(f"### {route}\n", 1)[1].partition("\n### ")[0]
    return json.loads(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[-1])


@pytest.mark.parametrize(("route", "model"), MODELS.items())
def test_examples(app: Any, route: str, model: str) -> None:
    from airflow_provider_wmigrate.web import requests, schemas

    group = example("GET /groups")["groups"][0]["group"]
    value = example(route)
    if "group" in value:
        value["group"] = group
    kind = getattr(requests if model == "Started" else schemas, model)
    strict = create_model(model, __base__=kind)
    strict.model_config = ConfigDict(extra="forbid")
    told = kind.model_validate(value).model_dump(mode="json")
    assert keys(told) == keys(value), "the example has every field and no other"


def keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: keys(inner)
            for name, inner in value.items()
            if name not in ("details", "left_out", "not_tried", "conf")
        }
    return [keys(inner) for inner in value] if isinstance(value, list) else None


def test_every_route_is_there(admin: Any) -> None:
    group = "/api/v1/dags/{dag_id}/groups/{group_id}"
    paths = admin.get(f"{API}/openapi.json").json()["paths"]
    told = {
        f"{method.upper()} {path.replace(group, '{group}').removeprefix('/api/v1')}"
        for path in paths
        for method in paths[path]
    }
    for route in told:
        assert f"`{route}`" in TEXT, route
        assert route in MODELS or route == "POST {group}/rollback"


def test_every_code_is_there() -> None:
    from airflow_provider_wmigrate.web.described import ReasonCode
    from airflow_provider_wmigrate.web.problems import _CODES

    used = set(_CODES.values()) | set(get_args(ReasonCode))
    for file in WEB.glob("*.py"):
        used |= set(re.findall(r'(?:ProblemError|problem)\(\s*\d+,\s*"(\w+)"', file.read_text()))
    assert {code for code in used if f"`{code}`" not in TEXT} == set()


def test_errors_are_described_as_problems(admin: Any) -> None:
    description = admin.get(f"{API}/openapi.json").json()
    assert description["servers"] == [{"url": "/wmigrate"}]
    for path in description["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                kind = "application/json" if status < "400" else "application/problem+json"
                assert list(answer["content"]) == [kind]
