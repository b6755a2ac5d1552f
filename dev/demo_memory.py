"""What one demo of a checkout tells the next: its ports and passwords, so that open browser tabs keep working."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dev.ports import free_ports, port_taken

PORTS = ("postgres", "airflow", "worker_log", "trigger_log")
ROLES = ("postgres", "warehouse", "airflow")


@dataclass
class Memory:
    """Kept in ``.demo/demo.json``, readable by its owner only.

    :param passwords: of the roles in PostgreSQL. Airflow keeps its own in its home.
    """

    passwords: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Memory:
        memory = cls(**json.loads(file.read_text())) if file.exists() else cls()
        for role in ROLES:
            memory.passwords.setdefault(role, secrets.token_urlsafe(16))
        memory.write(file)
        return memory

    def write(self, file: Path) -> None:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump(asdict(self), stream)

    def choose_ports(self) -> None:
        """The same as last time, where nobody else has taken them since."""
        for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True):
            if port_taken(self.ports.get(name, 0)) or not self.ports.get(name):
                self.ports[name] = port
