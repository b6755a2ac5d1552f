"""docker-compose.yaml as a compose implementation reads it: anchors, merges, profiles, ``${...}``.

podman-compose does the reading; with ``--dry-run`` it asks for no container engine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class ComposeError(Exception):
    """The compose file cannot be used as it stands; the message is the reader's own."""


@dataclass(frozen=True)
class Service:
    """One entry of ``services``, interpolated. ``raw`` is all of it."""

    name: str
    raw: Mapping[str, Any]

    @property
    def image(self) -> str:
        return str(self.raw["image"])

    @property
    def command(self) -> list[str]:
        return [str(word) for word in self.raw.get("command", [])]

    @property
    def environment(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.raw.get("environment", {}).items()}

    @property
    def profiles(self) -> list[str]:
        return list(self.raw.get("profiles", []))

    @property
    def depends_on(self) -> dict[str, Mapping[str, Any]]:
        return dict(self.raw.get("depends_on", {}))

    @property
    def health_check(self) -> list[str]:
        """As arguments of a process; empty for a service without one."""
        kind, *words = self.raw.get("healthcheck", {}).get("test", ["NONE"])
        before: dict[str, list[str]] = {"CMD": [], "CMD-SHELL": ["/bin/sh", "-c"], "NONE": []}
        return [*before[kind], *words]

    @property
    def bind_mounts(self) -> dict[str, str]:
        """Place in the container -> path beside the compose file."""
        mounts = [str(volume).split(":") for volume in self.raw.get("volumes", [])]
        return {mount[1]: mount[0] for mount in mounts if mount[0].startswith((".", "/"))}

    @property
    def named_volumes(self) -> dict[str, str]:
        mounts = [str(volume).split(":") for volume in self.raw.get("volumes", [])]
        return {mount[1]: mount[0] for mount in mounts if not mount[0].startswith((".", "/"))}


@dataclass(frozen=True)
class Compose:
    """The services of the wanted profiles, and the top level of the file."""

    services: Mapping[str, Service]
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path, variables: Mapping[str, str], profiles: Iterable[str] = ()) -> Compose:
        """:param variables: all there are: neither .env nor the caller's own environment is looked at.

        :raises ComposeError: a variable that has to be set is not, or the file is not a compose file.
        """
        command = [sys.executable, "-m", "podman_compose", "--dry-run", "--env-file", os.devnull, "--file", str(file)]
        for profile in profiles:
            command += ["--profile", profile]
        answer = subprocess.run(
            [*command, "config"],
            env={"PATH": os.defpath, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise ComposeError(f"{file.name}: {answer.stderr.strip().rpartition(chr(10))[2]}")
        raw = yaml.safe_load(answer.stdout)
        return cls({name: Service(name, service) for name, service in raw["services"].items()}, raw)


def read_env_file(text: str) -> dict[str, str]:
    """``NAME=value`` lines; we write neither quotes nor references into it."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
