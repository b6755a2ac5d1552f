"""`monitoring`: health, metrics and alerts."""

from __future__ import annotations

from .kinds import BOOLEAN, WHOLE_SECONDS
from .section import Section, key


class HealthCheck(Section):
    """A periodic look at the target."""

    enabled: bool = key(BOOLEAN, "Whether CheckHealthOperator looks at the target.", True)
    interval_seconds: int = key(WHOLE_SECONDS, "Time between two looks.", 300)
    timeout_seconds: int = key(
        WHOLE_SECONDS, "Time after which what has not answered is unhealthy, in every kind of look.", 30
    )


class Metrics(Section):
    """Numbers for a monitoring system."""

    enabled: bool = key(BOOLEAN, "Whether metrics are sent.", True)
    collect_timing: bool = key(BOOLEAN, "Whether durations are sent.", True)
    collect_success_rate: bool = key(BOOLEAN, "Whether successes and failures are counted.", True)
    collect_error_details: bool = key(BOOLEAN, "Whether failures are counted by SQLSTATE.", True)


class Alerts(Section):
    """What a person is told about at once."""

    enabled: bool = key(BOOLEAN, "Whether alerts are raised.", True)
    migration_failure: bool = key(BOOLEAN, "Alert when a migration fails.", True)
    migration_timeout: bool = key(BOOLEAN, "Alert when a budget runs out or a run misses its deadline.", True)
    database_connection_failure: bool = key(BOOLEAN, "Alert when the target cannot be reached.", True)
    rollback_failure: bool = key(BOOLEAN, "Alert when a rollback fails.", True)


class Monitoring(Section):
    """Health, metrics and alerts."""

    health_check: HealthCheck = key(HealthCheck, "A periodic look at the target.")
    metrics: Metrics = key(Metrics, "Numbers for a monitoring system.")
    alerts: Alerts = key(Alerts, "What a person is told about at once.")
