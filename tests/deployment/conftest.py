"""docker-compose.yaml, read with a value of its own for every variable .env has to name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.compose import Compose, read_env_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    return {name: f"value-of-{name}" for name in read_env_file((ROOT / ".env.example").read_text())}


@pytest.fixture(scope="session")
def compose(secrets: dict[str, str]) -> Compose:
    """With every profile."""
    return Compose.read(ROOT / "docker-compose.yaml", secrets, ["celery"])
