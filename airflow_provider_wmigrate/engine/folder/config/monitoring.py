"""`monitoring`: health, metrics and alerts."""

from __future__ import annotations

from pydantic import Field

from .kinds import Bool, WholeSeconds
from .section import Section


class HealthCheck(Section):
    """A periodic look at the target."""

    enabled: Bool = Field(default=True, description="Whether CheckHealthOperator looks at the target.")
    interval_seconds: WholeSeconds = Field(default=300, description="Time between two looks.")
    timeout_seconds: WholeSeconds = Field(
        default=30, description="Time after which what has not answered is unhealthy, in every kind of look."
    )


class Metrics(Section):
    """Numbers for a monitoring system."""

    enabled: Bool = Field(default=True, description="Whether metrics are sent.")
    collect_timing: Bool = Field(default=True, description="Whether durations are sent.")
    collect_success_rate: Bool = Field(default=True, description="Whether successes and failures are counted.")
    collect_error_details: Bool = Field(default=True, description="Whether failures are counted by SQLSTATE.")


class Alerts(Section):
    """What a person is told about at once."""

    enabled: Bool = Field(default=True, description="Whether alerts are raised.")
    migration_failure: Bool = Field(default=True, description="Alert when a migration fails.")
    migration_timeout: Bool = Field(
        default=True, description="Alert when a budget runs out or a run misses its deadline."
    )
    database_connection_failure: Bool = Field(default=True, description="Alert when the target cannot be reached.")
    rollback_failure: Bool = Field(default=True, description="Alert when a rollback fails.")


class Monitoring(Section):
    """Health, metrics and alerts."""

    health_check: HealthCheck = Field(default_factory=HealthCheck, description="A periodic look at the target.")
    metrics: Metrics = Field(default_factory=Metrics, description="Numbers for a monitoring system.")
    alerts: Alerts = Field(default_factory=Alerts, description="What a person is told about at once.")
