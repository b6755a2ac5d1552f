"""The tests here follow the pages of docs/ as a reader does, and compare what is generated with the code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dev.cluster import Cluster
from dev.walkthrough import normalised, walk

Follow = Callable[[str], int]


@pytest.fixture
def follow(cluster: Cluster) -> Follow:
    """Follow a page and hold it to what its commands print; how many commands it has."""

    def follow(page: str) -> int:
        count = 0
        for answer in walk(page, cluster):
            count += 1
            if not answer.as_the_page_says:
                said = normalised(answer.step.output or "")
                assert normalised(answer.output) == said, f"line {answer.step.line}: $ {answer.step.command}"
        return count

    return follow
