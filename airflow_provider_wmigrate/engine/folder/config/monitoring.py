"""`monitoring`: health, metrics and alerts."""

from __future__ import annotations

from .kinds import BOOLEAN, WHOLE_SECONDS
from .section import Section, key


class HealthCheck(Section):
    enabled: bool = key(BOOLEAN, "Whether CheckHealthOperator looks at the target.", True)
    interval_seconds: int = key(WHOLE_SECONDS, "Time between two looks.", 300)
    timeout_seconds: int = key(
        WHOLE_SECONDS, "Time limit of every look; a check without an answer by then is unhealthy.", 30
    )


class Metrics(Section):
    enabled: bool = key(BOOLEAN, "Whether metrics are sent.", True)
    collect_timing: bool = key(BOOLEAN, "Whether durations are sent.", True)
    collect_success_rate: bool = key(BOOLEAN, "Whether successes and failures are counted.", True)
    collect_error_details: bool = key(BOOLEAN, "Whether failures are counted by SQLSTATE.", True)


class Alerts(Section):
    enabled: bool = key(BOOLEAN, "Whether alerts are sent.", True)
    migration_failure: bool = key(BOOLEAN, "Alert when a migration fails.", True)
    migration_timeout: bool = key(BOOLEAN, "Alert when a time limit ends or a run misses its deadline.", True)
    database_connection_failure: bool = key(BOOLEAN, "Alert when the target cannot be reached.", True)
    rollback_failure: bool = key(BOOLEAN, "Alert when a rollback fails.", True)


class Monitoring(Section):
    health_check: HealthCheck = key(HealthCheck, "A regular health check of the target.")
    metrics: Metrics = key(Metrics, "Metrics for a monitoring system.")
    alerts: Alerts = key(Alerts, "Messages to people when something fails.")
