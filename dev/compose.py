"""docker-compose.yaml as a compose implementation reads it: anchors, merges, profiles, ``${...}``.

podman-compose does the reading; with ``--dry-run`` it asks for no container engine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from dev.server_binaries import told


class ComposeError(Exception):
    """The compose file cannot be used as it stands; the message is the reader's own."""


class Service(BaseModel, frozen=True, coerce_numbers_to_str=True):
    """One entry of ``services``, interpolated. ``raw`` is all of it."""

    name: str
    raw: dict[str, Any]
    image: str = ""
    command: list[str] = []
    environment: dict[str, str] = {}
    profiles: list[str] = []
    depends_on: dict[str, dict[str, Any]] = {}

    @property
    def health_check(self) -> list[str]:
        """As arguments of a process; empty for a service without one."""
        kind, *words = self.raw.get("healthcheck", {}).get("test", ["NONE"])
        before: dict[str, list[str]] = {"CMD": [], "CMD-SHELL": ["/bin/sh", "-c"], "NONE": []}
        return [*before[kind], *words]

    @property
    def bind_mounts(self) -> dict[str, str]:
        """Place in the container -> path beside the compose file."""
        return {place: source for place, source in self._mounts() if source.startswith((".", "/"))}

    @property
    def named_volumes(self) -> dict[str, str]:
        return {place: source for place, source in self._mounts() if not source.startswith((".", "/"))}

    def _mounts(self) -> Iterator[tuple[str, str]]:
        for source, place, *_ in (str(volume).split(":") for volume in self.raw.get("volumes", [])):
            yield place, source


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
        answer = told([*command, "config"], env={"PATH": os.defpath, **variables})
        if answer.returncode != 0:
            raise ComposeError(f"{file.name}: {answer.stderr.strip().rpartition(chr(10))[2]}")
        raw = yaml.safe_load(answer.stdout)
        return cls({name: Service(**service, name=name, raw=service) for name, service in raw["services"].items()}, raw)


def read_env_file(text: str) -> dict[str, str]:
    """``NAME=value`` lines; we write neither quotes nor references into it."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
