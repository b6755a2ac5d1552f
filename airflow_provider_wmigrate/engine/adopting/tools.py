"""The tools that a project can come from, by the name that `--from` takes."""

from __future__ import annotations

from .alembic import ALEMBIC
from .dbmate import DBMATE
from .diesel import DIESEL
from .django import DJANGO
from .flyway import FLYWAY
from .golang_migrate import GOLANG_MIGRATE
from .goose import GOOSE
from .liquibase import LIQUIBASE
from .node_pg_migrate import NODE_PG_MIGRATE
from .seed import SEED
from .sqitch import SQITCH
from .yoyo import YOYO

TOOLS = {
    tool.name: tool
    for tool in (
        FLYWAY, LIQUIBASE, ALEMBIC, GOLANG_MIGRATE, DBMATE, SQITCH, YOYO, GOOSE, NODE_PG_MIGRATE, DIESEL, DJANGO, SEED,
    )
}  # fmt: skip
