"""What starts a run, and what is said of it then. See `schemas` for times and addresses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .described import ModeName


class _Start(BaseModel):
    model_config = ConfigDict(extra="forbid")

    mode: ModeName = Field(description="`dry_run`: really execute, measure, and roll back.")
    environment: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="One of the group's `environments`; left out: the one the group is shown in."
    )
    note: Annotated[str, Field(max_length=1000)] | None = Field(default=None, description="The run's note in Airflow.")


_Version = Annotated[str, Field(pattern="^[0-9]{1,250}$")]


class MigrateRequest(_Start):
    """Start a run that applies what is pending."""

    to: _Version | None = Field(default=None, description="Last version to apply; left out: everything.")


class RollbackRequest(_Start):
    """Start a run that rolls back."""

    to: _Version = Field(description="The version that stays, with all before it; `0` rolls back everything.")
    rollback_script: Literal["folder", "ledger"] | None = Field(
        default=None, description="Which one is run where the two differ; left out: such a rollback is refused."
    )


class Started(BaseModel):
    """A run was started; what it did is told by `status` and `history`."""

    dag_id: str
    group_id: str
    run_id: str
    state: str
    conf: dict[str, Any] = Field(description="What the run was given.")
    message: str = Field(description="One sentence, also telling what the run waits for.")
    url: str = Field(description="The run's page in Airflow.")
