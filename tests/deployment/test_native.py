"""docker-compose.yaml without docker: its commands, environment and health checks as processes of this machine.

With two Celery workers, one of which is shot in the middle of a migration and one stopped politely. The tests are
one story in the order of the file; `dev/deployment.py` says what differs from containers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deployment.story import Story, deployed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.needs_program("redis-server", "curl")]

CELERY = {"AIRFLOW_EXECUTOR": "CeleryExecutor", "COMPOSE_PROFILES": "celery"}
AIRFLOW = ["triggerer", "dag-processor", "scheduler", "api-server"]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with deployed(CELERY, worker=2) as story:
        yield story


def test_the_first_run_and_every_health_check(story: Story) -> None:
    deployment = story.deployment
    run_id = story.run_shipped()
    replicas = [*deployment.clusters, *deployment.processes]

    def becomes_healthy(replica: str) -> bool:
        """A container has several tries too, and a busy machine may need them."""
        return deployment.poll(lambda: deployment.healthy(replica), 120)

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(replicas, pool.map(becomes_healthy, replicas), strict=True))
    wanted = [*AIRFLOW, "redis", "warehouse", "metadata", "worker-1", "worker-2"]
    assert answers == dict.fromkeys(wanted, True)
    story.wait(run_id)
    assert story.query("SELECT DISTINCT status FROM wmigrate.schema_migrations") == [("applied",)]
    assert story.query("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]


def test_a_shot_worker_is_replaced_by_the_other(story: Story) -> None:
    """Nobody clears anything: the scheduler misses the heartbeats, and the task's own retry does the rest."""
    deployment = story.deployment
    run_id, worker = story.start_slow("009")
    deployment.kill(worker)
    killed = time.monotonic()
    tasks = story.wait(run_id)
    print(f"\nfrom the kill of {worker} to the end of the run: {time.monotonic() - killed:.1f} s")
    assert tasks["009_slow"]["try_number"] == 2
    assert story.query("SELECT count(*) FROM warehouse.slow_009") == [(1,)]
    assert story.status("009") == "applied"
    assert story.events("009") == ["applied"]
    story.verify_audit()

    first, second = (story.log(run_id, "migrate.009_slow", number) for number in (1, 2))
    assert "009_slow" in first, "the log of the worker that is gone"
    assert "009_slow: applied" not in first
    assert "009_slow: applied" in second, "the log of the worker that is still there"
    deployment.start(worker)


def test_a_stopped_worker_ends_its_migration_first(story: Story) -> None:
    run_id, worker = story.start_slow("010")
    story.deployment.stop(worker)
    assert story.status("010") == "applied"
    assert story.wait(run_id)["010_slow"]["try_number"] == 1
    assert story.events("010") == ["applied"]
    assert not story.deployment.healthy(worker), "its health check cannot fail"


def test_a_shot_scheduler_does_not_disturb_the_workers(story: Story) -> None:
    run_id, _ = story.start_slow("011")
    story.deployment.kill("scheduler")
    story.deployment.start("scheduler")
    assert story.wait(run_id)["011_slow"]["try_number"] == 1
    assert story.events("011") == ["applied"]


@pytest.mark.parametrize("name", [*AIRFLOW, "redis", "warehouse", "metadata"])
def test_the_health_check_of_a_stopped_service_fails(story: Story, name: str) -> None:
    story.deployment.stop(name, 5)
    assert story.deployment.poll(lambda: not story.deployment.healthy(name), 30), "its last heartbeat counts for ever"
