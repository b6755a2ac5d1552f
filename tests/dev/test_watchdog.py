"""Whoever started a server may be ended before it could clear up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until

STARTER = """
import os, signal, subprocess, sys
from pathlib import Path
from dev.watchdog import Watchdog

folder = Path(sys.argv[1])
watchdog = Watchdog()
watchdog.remove(folder)
mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder / "disk"]).returncode == 0
(folder / "disk" / "file").write_text("")
print(mounted, flush=True)
os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("signal", ["15", "9"])
def test_a_file_system_of_one_that_was_ended_is_unmounted(tmp_path: Path, signal: str) -> None:
    folder = tmp_path / "room"
    (folder / "disk").mkdir(parents=True)
    ended = subprocess.run([sys.executable, "-c", STARTER, folder, signal], capture_output=True, text=True, check=False)
    assert ended.returncode == -int(signal), ended.stderr
    if ended.stdout != "True\n":
        pytest.skip("this machine does not let root mount")
    wait_until(lambda: not folder.exists())
    assert str(folder) not in Path("/proc/self/mounts").read_text()
