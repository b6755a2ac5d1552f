"""Findings for programs that show them beside the code: SARIF, and the annotations of GitHub Actions. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from airflow_provider_wmigrate.engine.codes import FINDINGS
from airflow_provider_wmigrate.engine.model import Finding

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(findings: Sequence[Finding], folder: str) -> str:
    """A SARIF 2.1.0 log with one run.

    :param folder: put before each file, as the repository has it.
    """
    rules = sorted({finding.code for finding in findings})
    driver = {
        "name": "wmigrate",
        "version": version("airflow-provider-wmigrate"),
        "rules": [{"id": code, "shortDescription": {"text": _means(code)}} for code in rules],
    }
    results = [_result(finding, rules, folder) for finding in findings]
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=2, ensure_ascii=False)


def _means(code: str) -> str:
    known = FINDINGS.get(code)
    return known.means if known else f"rule {code.partition('/')[2]} of squawk"


def _result(finding: Finding, rules: list[str], folder: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rules.index(finding.code),
        "level": finding.severity,
        "message": {"text": f"{finding.message}; {finding.next_step}"},
    }
    if finding.file:
        region = {"startLine": finding.line, **({"startColumn": finding.column} if finding.column else {})}
        place = {
            "artifactLocation": {"uri": _uri(folder, finding.file)},
            **({"region": region} if finding.line else {}),
        }
        result["locations"] = [{"physicalLocation": place}]
    return result


def _uri(folder: str, file: str) -> str:
    from urllib.parse import quote

    return quote(f"{folder}/{file}" if folder else file)


def github(findings: Sequence[Finding], folder: str) -> list[str]:
    """Workflow commands, one line each, with what GitHub's runner takes for its own signs escaped."""
    lines = []
    for finding in findings:
        parts = {
            "file": f"{folder}/{finding.file}" if finding.file and folder else finding.file,
            "line": finding.line,
            "col": finding.column,
            "title": finding.code,
        }
        given = ",".join(f"{name}={_property(str(value))}" for name, value in parts.items() if value)
        lines.append(f"::{finding.severity} {given}::{_data(f'{finding.message}; {finding.next_step}')}")
    return lines


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
