"""Every name of Airflow's in docker-compose.yaml is one Airflow 3.3 and the Celery provider know."""

from __future__ import annotations

import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from dev.compose import Compose

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "airflow"))
# Airflow reads its settings when it is imported: a home of the tests' own comes first.
import airflow_home  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)$")
IMAGES_OWN = {"DUMB_INIT_SETSID", "ADMIN_PASSWORD", "AIRFLOW_CONN_WAREHOUSE_DB"}


def known_options() -> set[tuple[str, str]]:
    from airflow.configuration import conf
    from airflow.providers_manager import ProvidersManager

    sections = dict(conf.configuration_description)
    for _, described in ProvidersManager().provider_configs:
        sections.update(described)
    return {(section, option) for section, described in sections.items() for option in described["options"]}


def test_every_setting_is_an_option_of_airflow(compose: Compose) -> None:
    known = known_options()
    for service in compose.services.values():
        if "build" not in service.raw:
            continue
        for name in set(service.environment) - IMAGES_OWN:
            match = VARIABLE.match(name)
            assert match, name
            assert (match[1].lower(), match[2].lower()) in known, name


def test_every_setting_of_the_chart_is_an_option_of_airflow() -> None:
    values = yaml.safe_load((ROOT / "deploy" / "helm-values.yaml").read_text())
    options = {(section, option) for section, options in values["config"].items() for option in options}
    assert options
    assert options <= known_options()
    assert {secret["envName"] for secret in values["secret"]} == {"AIRFLOW_CONN_WAREHOUSE_DB"}
    assert values["airflowVersion"] == version("apache-airflow")


def test_the_broker_option_is_the_one_celery_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.configuration import conf
    from airflow.providers.celery.executors.default_celery import get_default_celery_config

    monkeypatch.setenv("AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT", "4711")
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", "redis://:x@redis:6379/0")
    config = get_default_celery_config(conf)
    assert config["broker_transport_options"]["visibility_timeout"] == 4711
    assert config["task_acks_late"] is True


def test_every_command_is_one_of_airflows(compose: Compose) -> None:
    from airflow.cli.cli_parser import get_parser

    airflow = [service for service in compose.services.values() if "build" in service.raw]
    commands = [service.command for service in airflow if service.command[0] != "bash"]
    commands += [service.health_check[1:] for service in airflow if service.health_check[:1] == ["airflow"]]
    script = compose.services["airflow-init"].command[-1]
    commands += [line.split()[1:] for line in script.splitlines() if line.startswith("airflow ")]
    assert len(commands) == 8
    for words in commands:
        assert get_parser().parse_args(words).func


def test_the_dags_are_read_where_they_are_mounted(compose: Compose, tmp_path: Path) -> None:
    """The folder beside the DAGs, as the workers see it."""
    from airflow.dag_processing.dagbag import DagBag

    for place, source in compose.services["worker"].bind_mounts.items():
        assert place.startswith("/opt/airflow/")
        shutil.copytree(ROOT / source, tmp_path / place.lstrip("/"))
    dags = tmp_path / "opt" / "airflow" / "dags"
    bag = DagBag(dag_folder=dags, bundle_path=dags)
    assert bag.import_errors == {}
    assert "migrate.001_initial_schema" in bag.dags["warehouse_migrations"].task_dict
    shutil.rmtree(dags.parent / "migrations")
    assert DagBag(dag_folder=dags, bundle_path=dags).import_errors != {}
