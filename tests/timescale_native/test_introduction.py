"""What a target with TimescaleDB says of itself when a connection is tried."""

from __future__ import annotations

import re

import psycopg

from airflow_provider_wmigrate.engine.health.introduction import introduce

_VERSION = r"TimescaleDB \d+\.\d+\.\d+"


def test_version_and_edition_are_told(database: str) -> None:
    with psycopg.connect(database) as conn:
        assert re.fullmatch(_VERSION + r" \((Apache 2|Community) Edition\)", introduce(conn).timescaledb)


def test_an_extension_that_nobody_created(bare: str) -> None:
    with psycopg.connect(bare) as conn:
        assert re.fullmatch(_VERSION + " not created in this database", introduce(conn).timescaledb)
