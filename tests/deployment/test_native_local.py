"""The same without the profile celery: the scheduler runs the tasks itself, and is the one that is stopped and shot."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.deployment.story import Story, deployed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.needs_program("curl")]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with deployed({}) as story:
        story.wait(story.run_shipped())
        yield story


def test_there_is_no_celery(story: Story) -> None:
    assert set(story.deployment.processes) == {"api-server", "scheduler", "dag-processor", "triggerer"}


def test_a_stopped_scheduler_ends_its_migration_first(story: Story) -> None:
    run_id, scheduler = story.start_slow("009")
    assert scheduler == "scheduler"
    story.deployment.stop(scheduler)
    assert story.status("009") == "applied"
    story.deployment.start(scheduler)
    assert story.wait(run_id)["009_slow"]["try_number"] == 1
    assert story.events("009") == ["applied"]


def test_a_shot_scheduler_is_replaced_by_the_next(story: Story) -> None:
    """As by its container's restart policy. The new one looks after the old one's tasks at its next check."""
    run_id, scheduler = story.start_slow("010")
    story.deployment.kill(scheduler)
    killed = time.monotonic()
    story.deployment.start(scheduler)
    assert story.wait(run_id)["010_slow"]["try_number"] == 2
    print(f"\nfrom the kill of the scheduler to the end of the run: {time.monotonic() - killed:.1f} s")
    assert story.query("SELECT count(*) FROM warehouse.slow_010") == [(1,)]
    assert story.events("010") == ["applied"]
    story.verify_audit()
