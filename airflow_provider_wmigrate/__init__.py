"""wmigrate: PostgreSQL and TimescaleDB schema migrations as Apache Airflow tasks.

The names below are loaded when they are first used, because this module is imported by every task process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .approval import Approval, ApproveMigrationsOperator
    from .assets import schema_asset, schema_changes_asset
    from .backup_operator import BackUpOperator
    from .callbacks import roll_back_on_failure
    from .guards import GuardedTaskGroup, guarded, load_guard
    from .health import CheckHealthOperator, health_interval
    from .hooks import MigrationHook
    from .notifications import MigrationNotifier
    from .operators import ApplyMigrationOperator, PlanMigrationsOperator, RollBackMigrationOperator
    from .promotion import PromotionTaskGroup
    from .run_ends import ReportMigrationsOperator, RollBackRunOperator
    from .sensors import MigrationSensor
    from .task_group import MigrationTaskGroup, RollbackTaskGroup
    from .verifying import VerifyMigrationsOperator

__version__ = "0.1.0"

_WHERE = {
    "ApplyMigrationOperator": "operators",
    "Approval": "approval",
    "ApproveMigrationsOperator": "approval",
    "BackUpOperator": "backup_operator",
    "CheckHealthOperator": "health",
    "GuardedTaskGroup": "guards",
    "MigrationHook": "hooks",
    "MigrationNotifier": "notifications",
    "MigrationSensor": "sensors",
    "MigrationTaskGroup": "task_group",
    "PlanMigrationsOperator": "operators",
    "PromotionTaskGroup": "promotion",
    "ReportMigrationsOperator": "run_ends",
    "RollBackMigrationOperator": "operators",
    "RollBackRunOperator": "run_ends",
    "RollbackTaskGroup": "task_group",
    "VerifyMigrationsOperator": "verifying",
    "guarded": "guards",
    "health_interval": "health",
    "load_guard": "guards",
    "roll_back_on_failure": "callbacks",
    "schema_asset": "assets",
    "schema_changes_asset": "assets",
}

__all__ = [
    "ApplyMigrationOperator",
    "Approval",
    "ApproveMigrationsOperator",
    "BackUpOperator",
    "CheckHealthOperator",
    "GuardedTaskGroup",
    "MigrationHook",
    "MigrationNotifier",
    "MigrationSensor",
    "MigrationTaskGroup",
    "PlanMigrationsOperator",
    "PromotionTaskGroup",
    "ReportMigrationsOperator",
    "RollBackMigrationOperator",
    "RollBackRunOperator",
    "RollbackTaskGroup",
    "VerifyMigrationsOperator",
    "guarded",
    "health_interval",
    "load_guard",
    "roll_back_on_failure",
    "schema_asset",
    "schema_changes_asset",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
