"""squawk's rules, by squawk itself: a linter of its own, which is asked if it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.model import Finding

INSTALL = "pip install 'airflow-provider-wmigrate[lint]'"
SQUAWK = "squawk/"
"""What the codes of its findings begin with."""
_LEFT_OUT = (  # here, since squawk refuses to leave out a rule that its version does not know
    # wmigrate itself sets limits for locks and statements, and opens the transaction.
    "require-lock-timeout",
    "require-statement-timeout",
    "require-timeout-settings",
    "transaction-nesting",
    # What was interrupted is resumed statement by statement, and what cannot be in a transaction runs outside of one.
    "prefer-robust-stmts",
    "ban-concurrent-index-creation-in-transaction",
    # `check` tells it with PostgreSQL's own grammar.
    "syntax-error",
)


def program() -> str | None:
    """Where squawk is: beside our Python, else on the path; None: it is not installed."""
    beside = Path(sys.executable).with_name("squawk")
    return str(beside) if beside.is_file() else shutil.which("squawk")


def squawk(path: str, files: Mapping[str, str], folder: Path, *, major: int | None) -> Iterator[Finding]:
    """What squawk finds in scripts.

    :param path: the program.
    :param files: name of a file -> the version of its migration.
    :param major: of the server; None: not known.
    :raises WMigrateError: squawk ends with an answer that nobody understands.
    """
    known = ["--pg-version", f"{major}.0"] if major else []
    command = [path, "--reporter", "json", "--assume-in-transaction", *known]
    done = subprocess.run(
        [*command, *sorted(files)], cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False
    )
    for found in _read(done.stdout, done.stderr):
        help_ = str(found.get("help") or "see https://squawkhq.com/docs/" + found["rule_name"])
        yield Finding(
            f"squawk/{found['rule_name']}",
            str(found["message"]).rstrip("."),
            help_.rstrip("."),
            "warning",
            files.get(found["file"]),
            found["file"],
            int(found["line"]) + 1,  # it counts from 0
        )


def _read(out: str, err: str) -> Sequence[Any]:
    try:
        found = json.loads(out)
    except ValueError:
        reason = next(iter((err or out).strip().splitlines()), "it gives no answer")
        raise WMigrateError(f"squawk failed: {reason}", hint="update squawk-cli") from None
    return [each for each in found if each.get("rule_name") not in _LEFT_OUT]
