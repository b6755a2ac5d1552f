"""Findings as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_wmigrate.engine.model import Finding

from .screen import Screen


def show_findings(screen: Screen, findings: Sequence[Finding]) -> None:
    """Findings as a person reads them: one line each, errors first."""
    for finding in sorted(findings, key=lambda f: f.severity != "error"):
        screen.line(f"{finding.severity}: {finding}")
