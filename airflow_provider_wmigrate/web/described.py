"""What every answer says of its group: which database, which DAG, who may do what, where the answer comes from."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ModeName = Literal["apply", "dry_run"]


class Answer(BaseModel):
    # What the engine or an older run tells beyond these fields is left out.
    model_config = ConfigDict(extra="ignore", json_schema_serialization_defaults_required=True)


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


class Source(Answer):
    """Where an answer comes from, and how old it is."""

    kind: Literal["live", "report", "none"] = Field(
        description="`live`: just read. `report`: what the last run left in Airflow. `none`: the DAG file is all."
    )
    as_of: datetime | None = Field(default=None, description="When what is told was true; null for `none`.")
    age_seconds: float | None = Field(default=None, description="Seconds since `as_of`; 0 for `live`.")
    dag_id: str | None = Field(default=None, description="Of the run that left the report.")
    run_id: str | None = Field(default=None, description="Of the run that left the report.")
    reason: Reason | None = Field(default=None, description="Why it is not live; null when it is.")


class AskedPerson(Answer):
    """A task that asks a person something, and waits for the answer: an approval, or a task of the DAG's author."""

    task_id: str
    map_index: int = Field(description="-1: not mapped.")
    since: datetime | None = None
    url: str = Field(description="Where Airflow shows what is asked, and takes the answer.")


class Run(Answer):
    """One DAG run of a group."""

    dag_id: str
    run_id: str
    state: str = Field(description="Airflow's: queued, running, success, failed.")
    direction: Literal["apply", "rollback"]
    mode: ModeName | None = Field(default=None, description="Null while the plan has not run.")
    to: str | None = Field(default=None, description="Target version; null: everything.")
    environment: str | None = None
    actor: str | None = Field(default=None, description="Who triggered it; null: a schedule.")
    run_after: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: int | None = None
    applied: list[str] = Field(default_factory=list, description="Versions.")
    rolled_back: list[str] = Field(default_factory=list, description="Versions.")
    dry_run: list[str] = Field(default_factory=list, description="Versions tried in a dry run.")
    not_tried: dict[str, str] = Field(default_factory=dict, description="Of a dry run: version -> reason.")
    failed: list[str] = Field(default_factory=list, description="Ids of the tasks that failed.")
    asks: list[AskedPerson] = Field(
        default_factory=list,
        description="Whom the run waits for, in any of its tasks, those of other groups too; its state is `running`.",
    )
    url: str = Field(description="The run's page in Airflow.")


class Rights(Answer):
    """What the caller may do with a group. Decided again when it is done."""

    read_database: bool = Field(description="May read the connection, so answers can be live.")
    migrate: bool
    rollback: bool


class RollbackDag(Answer):
    """The DAG that rolls the same target back."""

    dag_id: str
    group_id: str
    is_paused: bool


class Server(Answer):
    """Where a target database is."""

    host: str | None = Field(default=None, description="Name, address, or directory of a Unix socket.")
    port: int | None = None
    database: str | None = None


class Choices(Answer):
    """What a caller can choose when starting a run; what cannot be chosen is fixed by the DAG."""

    to: bool
    modes: list[ModeName]
    environments: list[str] | None = Field(default=None, description="Null: cannot be chosen. Empty: any name.")
    environment: str | None = Field(default=None, description="The one a run gets that does not choose.")
    rollback_script: bool = Field(
        default=False, description="Whether a run can say whose rollback script is run, where there are two."
    )


class Group(Answer):
    """A migration group: one folder of migrations on one target, in one DAG."""

    dag_id: str
    dag_display_name: str
    group_id: str
    description: str | None = Field(default=None, description="Of the DAG.")
    conn_id: str | None = Field(default=None, description="Airflow connection of the target; null: not known yet.")
    server: Server | None = Field(
        default=None, description="Null: this answer did not ask the database, or the caller may not read it."
    )
    environment: str | None = None
    ledger_schema: str
    is_mapped: bool = Field(description="A mapped task group gives it a database for each map index.")
    map_index: int | None = Field(default=None, description="Which of them this is; null: not mapped, or all of them.")
    is_paused: bool
    is_stale: bool = Field(description="The DAG's file is gone or no longer holds it.")
    has_import_errors: bool
    rollback_dag: RollbackDag | None = Field(default=None, description="Null: none, or the caller may not read it.")
    migrate: Choices
    rollback: Choices | None = None
    rights: Rights
    url: str = Field(description="The DAG's page in Airflow.")
