"""The tools that a project can come from, by the name that `--from` takes."""

from __future__ import annotations

from .alembic import ALEMBIC
from .diesel import DIESEL
from .django import DJANGO
from .liquibase import LIQUIBASE
from .marked import DBMATE, GOOSE, NODE_PG_MIGRATE
from .renamed import FLYWAY, GOLANG_MIGRATE, SEED
from .sqitch import SQITCH
from .yoyo import YOYO

TOOLS = {
    tool.name: tool
    for tool in (
        FLYWAY, LIQUIBASE, ALEMBIC, GOLANG_MIGRATE, DBMATE, SQITCH, YOYO, GOOSE, NODE_PG_MIGRATE, DIESEL, DJANGO, SEED,
    )
}  # fmt: skip
