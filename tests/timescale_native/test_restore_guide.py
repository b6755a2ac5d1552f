"""The guides that need TimescaleDB do what they say: every command is run, every output compared. Needs the full
edition, whose programs this machine can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.cluster import Cluster
from dev.walkthrough import NEEDS_TIMESCALEDB, normalised, walk

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
PAGES = [page for page in sorted(GUIDES.glob("*.md")) if NEEDS_TIMESCALEDB in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_guide_for_timescaledb(cluster: Cluster, full_edition: None, page: Path) -> None:
    count = 0
    for answer in walk(page.read_text(encoding="utf-8"), cluster):
        count += 1
        said = normalised(answer.step.output or "")
        assert answer.as_the_page_says, (answer.step.line, answer.step.command, answer.output, said)
    assert count > 10
