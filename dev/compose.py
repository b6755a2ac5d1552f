"""Reads a compose file as ``docker compose`` would, as far as ours goes: anchors, merges, profiles, ``${...}``.

What it does not know it refuses, so that a test never passes because something was overlooked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:-|:\?)(?P<text>[^}]*))?\}|(?P<unknown>))"
)


class ComposeError(Exception):
    """The compose file cannot be used as it stands; the message names the place."""


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
        """:raises ComposeError: a variable that has to be set is not, or something unknown is in the file."""
        wanted = set(profiles)
        raw = _interpolated(yaml.safe_load(file.read_text()), variables, file.name)
        found = {name: Service(name, service) for name, service in raw["services"].items()}
        chosen = {
            name: service
            for name, service in found.items()
            if not service.profiles or wanted & set(service.profiles) or "*" in wanted
        }
        return cls(chosen, raw)


def read_env_file(text: str) -> dict[str, str]:
    """``NAME=value`` lines; we write neither quotes nor references into it."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def _interpolated(value: Any, variables: Mapping[str, str], place: str) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(item, variables, f"{place}: {key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item, variables, place) for item in value]
    if not isinstance(value, str):
        return value
    return _REFERENCE.sub(lambda match: _resolved(match, variables, place), value)


def _resolved(match: re.Match[str], variables: Mapping[str, str], place: str) -> str:
    if match["dollar"]:
        return "$"
    name = match["plain"] or match["name"]
    if name is None:
        raise ComposeError(f"{place}: a reference of a kind not known here at {match.string[match.start() :][:30]!r}")
    value = variables.get(name, "")
    if value:
        return value
    if match["how"] == ":?":
        raise ComposeError(f"{place}: {match['text']}")
    if match["how"] == ":-":
        return match["text"] or ""
    raise ComposeError(f"{place}: {name} has neither a default nor a sentence for when it is unset")
