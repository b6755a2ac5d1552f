"""What Airflow is told about this provider. Standard library only: every airflow process reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the form of Airflow's provider_info.schema.json.

    A connection of type `postgres` works as well as one of ours. What reads the configuration is in `defaults.py`.
    """
    info: dict[str, Any] = json.loads(Path(__file__).with_name("provider_info.json").read_text(encoding="utf-8"))
    return info
