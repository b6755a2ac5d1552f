"""What a test needs and a machine may lack. Without it a test is skipped; in CI, which has everything, it fails."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from dev.programs import PACKAGES, find


def need(*programs: str) -> list[str]:
    """Where these programs are, if all of them are here."""
    return [find(name) or lacks(name) for name in programs]


def lacks(program: str) -> NoReturn:
    """End the test for want of a program."""
    reason = f"{program} is not installed (as root: make test-system, or Debian's package {PACKAGES[program]})"
    if os.environ.get("CI"):
        pytest.fail(f"CI must have everything: {reason}", pytrace=False)
    pytest.skip(reason)
