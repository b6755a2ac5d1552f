"""Rows of the shipped warehouse, written with as few columns as it takes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

Warehouse = psycopg.Connection[Any]


def insert(warehouse: Warehouse, table: str, **values: object) -> UUID:
    """Insert one row into a warehouse table and return its id."""
    columns = sql.SQL(", ").join(map(sql.Identifier, values))
    placeholders = sql.SQL(", ").join(map(sql.Placeholder, values))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier("warehouse", table), columns, placeholders
    )
    row = warehouse.execute(statement, values).fetchone()
    assert row is not None
    new_id: UUID = row[0]
    return new_id
