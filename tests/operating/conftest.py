"""Health, metrics and alerts: a real PostgreSQL, a real Airflow, and real listeners for what it sends."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "airflow"))

from airflow_home import metadata_database, runner, task_log
from listeners import Mailbox, mailbox

__all__ = ["metadata_database", "runner", "task_log"]


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """What Airflow's connection `smtp_default` leads to."""
    with mailbox() as box:
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": box.port}
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com", "retry_limit": 1}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps({**smtp, "extra": extra}))
        yield box
