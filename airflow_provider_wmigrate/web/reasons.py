"""Why a database was not read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

ReasonCode = Literal[
    "no_right_on_connection",  # the caller may read the DAG but not its connection
    "unresolved_target",  # conn_id is a template, and no run has said yet what it stands for
    "mapped_group",  # one group, many databases
    "no_connection",  # Airflow has no connection of that id
    "unreachable",  # refused, host unknown, wrong password ...
    "timeout",  # no answer within the limit
    "busy",  # too many requests wait for databases at this moment
    "ledger_unreadable",  # the ledger is damaged, too new, or the role may not read it
]


class Reason(BaseModel):
    """Why the database was not read."""

    code: ReasonCode
    message: str = Field(description="One sentence: what, and what next. Holds no secret.")
