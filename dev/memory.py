"""What one start tells the next: secrets and ports, so that sessions and open browser tabs keep working."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypeVar

Values = TypeVar("Values")


def remembered(file: Path, fresh: dict[str, Values]) -> dict[str, Values]:
    """What stands in the file, and what is fresh where it says nothing; it then stands there too."""
    known = json.loads(file.read_text()) if file.exists() else {}
    remember(file, {**fresh, **known})
    return {**fresh, **known}


def remember(file: Path, values: dict[str, Values]) -> None:
    """Readable by its owner only."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump(values, stream)
