"""The part of the format whose effect is not built yet: using it is a finding, so that nobody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from airflow_provider_wmigrate.engine.model import Finding

from .settings import Backup, Settings

PLANNED = {"settings.backup": "backup"}
"""Dotted key, as the docs write it -> what will give it its effect."""


def planned_findings(
    levels: Mapping[str, Settings], file: str, line_of: Callable[[str], int | None]
) -> Iterator[Finding]:
    """One for each level at which a backup is asked for. A default asks for nothing.

    :param levels: `settings`, and `environments.name` of each.
    """
    for level, settings in levels.items():
        backup, name = settings.backup, f"{level}.backup"
        used = {k: v for k, v in backup.as_dict().items() if k in backup.given and v != Backup.keys[k].default}
        if used:
            # Only true and false are told with their keys: another value may be a password.
            words = [f"{k}: {str(v).lower()}" if isinstance(v, bool) else k for k, v in used.items()]
            yield Finding(
                "planned_key",
                f"{name} has no effect yet ({', '.join(words)}): backups are not built yet",
                "remove it and make the backup yourself: none would be made",
                file=file,
                line=min((line for k in used if (line := line_of(f"{name}.{k}"))), default=None),
            )
