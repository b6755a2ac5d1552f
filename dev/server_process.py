"""Whether a process is the PostgreSQL server of a data folder."""

from __future__ import annotations

import subprocess
from pathlib import Path


def is_server_on(pid: int, data_dir: Path) -> bool:
    """Process numbers are used again: only a PostgreSQL server that was told this very folder counts."""
    command = _command_line(pid)
    return Path(command.split(" ", 1)[0]).name == "postgres" and f"-D {data_dir} " in command


def _command_line(pid: int) -> str:
    """From /proc where there is one: slim containers have no ps."""
    file = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/cmdline").exists():
        try:
            return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    answer = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout
