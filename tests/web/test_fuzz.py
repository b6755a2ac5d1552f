"""What nobody thought of: requests made from the OpenAPI description, the same ones every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import API, Place

from tests.waiting import PATIENCE

schemathesis = pytest.importorskip("schemathesis")


def test_no_request_breaks_the_api(app: Any, token: Callable[..., str], make_place: Callable[..., Place]) -> None:
    from hypothesis import HealthCheck, given, settings

    place = make_place("fuzzed")
    place.migrate(to="002")
    headers = {"authorization": f"Bearer {token('admin')}"}
    schema = schemathesis.openapi.from_asgi(f"{API}/openapi.json", app, headers=headers)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 10

    def run(operation: Any) -> None:
        @settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            if "dag_id" in (case.path_parameters or {}):
                case.path_parameters |= {"dag_id": "fuzzed", "group_id": "migrate"}
            answer = case.call(headers=headers, timeout=PATIENCE)
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            case.validate_response(answer, checks=[schemathesis.checks.not_a_server_error])

        check()

    for operation in operations:
        run(operation)
