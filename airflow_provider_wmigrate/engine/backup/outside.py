"""What is handed in, so that the engine itself reads nothing of the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.plan.backup_needs import Needs

OpenRemote = Callable[[str], "tuple[Any, str]"]
"""From a URL to a file system of fsspec, and the path in it."""

Snapshot = Callable[[str, "Needs"], str]
"""Makes a backup by other means: given its name and what it is for, says what it has made."""


class Outside(Struct, frozen=True):
    """What making a backup takes of the machine and of whoever runs wmigrate there.

    :param environ: of the process: where programs are.
    :param open_remote: reaches a place that is no folder; None: fsspec does, if it is installed.
    :param snapshot: makes the backup in place of pg_dump.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    open_remote: OpenRemote | None = None
    snapshot: Snapshot | None = None
