"""Starts the commands that are measured, and tells what each cost. Standard library only, and small.

A child's peak memory begins with that of the process it was forked from, so the one that forks must be a small one.
Reads JSON from stdin, a line for each command ([command, environment, folder, file for what it says]), and answers so.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    for line in sys.stdin:
        command, environment, folder, said = json.loads(line)
        os.chdir(folder)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        began = time.perf_counter()
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        answer = {
            "wall": time.perf_counter() - began,
            "client": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss / 1024,
            "status": os.waitstatus_to_exitcode(status),
        }
        print(json.dumps(answer), flush=True)


main()
