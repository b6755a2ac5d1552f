"""From an Airflow connection to a psycopg connection, and what a person is told when that fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from airflow_provider_wmigrate import MigrationHook
from dev.cluster import Cluster

StartCluster = Callable[..., AbstractContextManager[Cluster]]


def connection(monkeypatch: pytest.MonkeyPatch, **fields: object) -> MigrationHook:
    value = {"conn_type": "postgres", "host": "127.0.0.1", "login": "postgres", "schema": "postgres", **fields}
    monkeypatch.setenv("AIRFLOW_CONN_ODD_DB", json.dumps(value))
    return MigrationHook("odd_db")


def test_a_password_with_every_character_a_url_minds(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "a%40b@c#d:e/f?g&h=i j'k\"l\\m%s"
    with start_cluster(password=password) as cluster:
        works, says = connection(monkeypatch, port=cluster.port, password=password).test_connection()
        assert works, says
        assert says.startswith("PostgreSQL")
        works, says = connection(monkeypatch, port=cluster.port, password="wrong" + password).test_connection()
        assert not works
        assert "password authentication failed" in says
        assert password not in says
