"""The form of a connection, and its button, as Airflow's own UI asks for them."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict


def test_the_form_has_our_fields(admin: Any) -> None:
    (form,) = [h for h in admin.get("/ui/connections/hook_meta").json() if h["connection_type"] == "wmigrate"]
    assert form["hook_name"] == "PostgreSQL target (wmigrate)"
    assert form["standard_fields"]["url_schema"]["title"] == "Database"
    assert form["standard_fields"]["login"]["title"] == "User"
    fields = form["extra_fields"]
    assert set(fields) == {"sslmode", "sslrootcert", "connect_timeout"}
    assert fields["sslmode"]["schema"]["enum"][-1] == "verify-full"
    assert fields["connect_timeout"]["value"] == 10


def test_the_button_says_what_the_target_is(admin: Any, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    given = conninfo_to_dict(database)
    form = {
        "connection_id": "new_db",
        "conn_type": "wmigrate",
        "host": given["host"],
        "port": int(given["port"]),
        "login": given["user"],
        "schema": given["dbname"],
        "extra": '{"sslmode": "prefer", "sslrootcert": null, "connect_timeout": 10}',
    }
    answer = admin.post("/api/v2/connections/test", json=form).json()
    assert answer["status"] is True, answer
    assert answer["message"].endswith("; no ledger yet, so nothing has been applied here")
    answer = admin.post("/api/v2/connections/test", json={**form, "port": 1, "password": "tr0ub4dor"}).json()
    assert answer["status"] is False
    assert "Connection refused" in answer["message"]
    assert "tr0ub4dor" not in answer["message"]
