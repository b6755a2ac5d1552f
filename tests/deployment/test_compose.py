"""docker-compose.yaml as it stands: valid, complete, without a secret of its own, and true to Airflow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.compose import Compose, ComposeError, Service, read_env_file

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yaml"
TEXT = FILE.read_text()
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
CHOICES = re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE)
SERVICES = list(yaml.safe_load(TEXT)["services"])
ONE_SHOT = "airflow-init"


def schema_check(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(params=SERVICES)
def service(compose: Compose, request: pytest.FixtureRequest) -> Service:
    return compose.services[request.param]


def test_it_follows_the_compose_specification(tmp_path: Path) -> None:
    answer = schema_check(FILE)
    assert answer.returncode == 0, answer.stdout
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text(TEXT.replace("healthcheck:", "healthchek:", 1))
    assert schema_check(wrong).returncode == 1


@pytest.mark.parametrize("name", read_env_file(EXAMPLE))
def test_a_missing_secret_is_refused_with_a_sentence(secrets: dict[str, str], name: str) -> None:
    for rest in ({key: value for key, value in secrets.items() if key != name}, {**secrets, name: ""}):
        with pytest.raises(ComposeError, match=rf"set {name} in \.env, see \.env\.example"):
            Compose.read(FILE, rest)


def test_the_example_names_every_variable_and_its_default() -> None:
    references = re.findall(r"(?<!\$)\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}", TEXT)
    defaults = {name: default for name, default in references if default}
    documented = dict(CHOICES)
    assert documented.pop("COMPOSE_PROFILES") == "celery"
    assert documented.pop("AIRFLOW_EXECUTOR") == "CeleryExecutor"
    assert documented == {name: value for name, value in defaults.items() if name != "AIRFLOW_EXECUTOR"}
    assert {name for name, default in references if not default} == set(read_env_file(EXAMPLE))
    assert set(read_env_file(EXAMPLE).values()) == {""}, "an example value would end up in somebody's deployment"


def test_the_page_for_operators_names_every_variable() -> None:
    table = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "docs" / "deployment.md").read_text(), re.MULTILINE)
    described = [name for cell in table for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(described) == sorted([*read_env_file(EXAMPLE), *dict(CHOICES)])


def test_no_password_stands_in_the_file(compose: Compose, secrets: dict[str, str]) -> None:
    """Every place that looks like a secret is one of .env, and the database URLs carry one."""
    found = []
    for service in compose.services.values():
        for name, value in service.environment.items():
            url = re.search(r"//[^/@]*:([^/@]*)@", value)
            if url or re.search(r"PASSWORD$|SECRET|_KEY$|AUTH$", name):
                found.append(url[1] if url else value)
    assert set(found) == set(secrets.values())


def test_a_secret_reaches_only_who_needs_it(compose: Compose, secrets: dict[str, str]) -> None:
    def holders(name: str) -> set[str]:
        text = {service.name: str(service.raw) for service in compose.services.values()}
        return {service for service, raw in text.items() if secrets[name] in raw}

    assert holders("ADMIN_PASSWORD") == {ONE_SHOT}
    assert holders("WAREHOUSE_ADMIN_PASSWORD") == {"warehouse"}
    assert not [s for s in compose.services.values() for word in s.command for v in secrets.values() if v in word]


def test_every_service_can_be_watched_and_is_bounded(service: Service) -> None:
    limits = service.raw["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory"}
    if service.name == ONE_SHOT:
        assert (service.raw["restart"], service.health_check) == ("no", [])
        return
    assert service.raw["restart"] == "unless-stopped"
    assert service.health_check
    assert {"interval", "timeout", "retries"} <= set(service.raw["healthcheck"])
    assert service.raw["logging"]["options"]["max-size"], "a log without a bound fills the disk"
    assert "no-new-privileges:true" in service.raw["security_opt"]


def test_what_others_wait_for_can_be_waited_for(compose: Compose, service: Service) -> None:
    for name, how in service.depends_on.items():
        other = compose.services[name]
        assert how["condition"] == ("service_completed_successfully" if name == ONE_SHOT else "service_healthy")
        assert name == ONE_SHOT or other.health_check
        optional = set(other.profiles) - set(service.profiles)
        assert how.get("required", True) is not bool(optional), f"{name} is not there without the profile {optional}"


def test_ports_are_open_on_this_machine_only(service: Service) -> None:
    for port in service.raw.get("ports", []):
        assert port.startswith("127.0.0.1:"), port
    assert not service.raw.get("ports") or service.name in ("warehouse", "api-server")


def test_images_are_pinned(service: Service) -> None:
    if "build" in service.raw:
        assert (ROOT / service.raw["build"]["dockerfile"]).exists()
    else:
        assert re.search(r":\d+\.\d+[\w.-]*$", service.image), service.image


def test_volumes_are_declared_and_mounted_paths_exist(compose: Compose, service: Service) -> None:
    assert set(service.named_volumes.values()) <= set(compose.raw["volumes"])
    for place, source in service.bind_mounts.items():
        assert (ROOT / source).exists(), source
        assert f"{source}:{place}:ro" in service.raw["volumes"], f"{source} can be written to"


def test_without_the_profile_there_is_no_celery(secrets: dict[str, str]) -> None:
    plain = Compose.read(FILE, secrets)
    assert set(SERVICES) - set(plain.services) == {"redis", "worker"}
    assert plain.services["scheduler"].environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"


def test_what_stops_politely_may_take_its_time(compose: Compose) -> None:
    for name in ("scheduler", "worker"):
        service = compose.services[name]
        assert service.raw["stop_grace_period"] == "10m"
        assert service.environment["DUMB_INIT_SETSID"] == "0"


class TestDockerfile:
    def test_it_builds_on_the_tested_airflow(self) -> None:
        airflow = re.search(r"^apache-airflow==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
        assert airflow
        assert f"FROM apache/airflow:slim-{airflow[1]}-python3.12\n" in DOCKERFILE

    def test_every_package_it_names_is_constrained(self) -> None:
        instructions = re.sub(r"^#.*$", "", DOCKERFILE, flags=re.MULTILINE)
        packages = re.findall(r"apache-airflow-providers-\w+", instructions)
        constrained = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
        assert packages
        assert set(packages) <= set(constrained)

    def test_what_it_copies_is_sent_to_the_builder(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        copied = [word for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
        sources = [word for word in copied if not word.startswith("--")]
        assert {f"!{source}" for source in sources} == {line for line in ignored if line.startswith("!")}
        assert "*" in ignored
        assert all((ROOT / source).exists() for source in sources)


class TestMakeEnv:
    def make(self, folder: Path) -> subprocess.CompletedProcess[str]:
        for name in (".env.example", "docker/make-env.sh"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text((ROOT / name).read_text())
        command = ["sh", "docker/make-env.sh"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    def test_every_secret_is_set_and_another_one(self, tmp_path: Path) -> None:
        from cryptography.fernet import Fernet

        assert self.make(tmp_path).returncode == 0
        written: dict[str, Any] = read_env_file((tmp_path / ".env").read_text())
        assert set(written) == set(read_env_file(EXAMPLE))
        assert len(set(written.values())) == len(written)
        assert Fernet(written.pop("FERNET_KEY"))
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in written.values())
        assert (tmp_path / ".env").stat().st_mode & 0o077 == 0, "others can read it"

    def test_it_never_replaces_the_secrets_of_a_deployment(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("KEPT=1\n")
        answer = self.make(tmp_path)
        assert answer.returncode == 1
        assert ".env exists" in answer.stderr
        assert (tmp_path / ".env").read_text() == "KEPT=1\n"
