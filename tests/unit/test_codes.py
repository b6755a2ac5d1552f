"""The tables of finding codes and audit events say everything that the code makes, and nothing else."""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path

import airflow_provider_wmigrate
from airflow_provider_wmigrate.engine.codes import EVENTS, FINDINGS

PACKAGE = Path(airflow_provider_wmigrate.__file__).parent

_MAKERS = {
    "Finding": None,
    "ConfigFinding": None,
    "FolderFinding": None,
    "Problem": None,
    "Lack": None,
    "finding_in": None,
}
"""What makes a finding of a code (its first argument, or `code=`), and in which file only."""
_HANDED_ON = {
    ("problems.py", "first.code"),
    ("problems.py", "code"),
    ("model.py", "code"),
    ("extensions.py", "found.code"),
}
"""Where a maker gets the code from its own caller."""
_WRITERS = {"append", "_append", "record", "migrator.record"}


def test_every_code_of_a_finding_is_in_the_table() -> None:
    assert codes_made() == set(FINDINGS)


def test_every_event_of_the_audit_log_is_in_the_table() -> None:
    assert events_written() == set(EVENTS)


def test_the_tables_say_something_about_each() -> None:
    for finding in FINDINGS.values():
        assert "" not in (finding.severity, finding.means, finding.do)
    for event in EVENTS.values():
        assert "" not in (event.means, event.details)


def test_the_page_offers_every_event() -> None:
    text = (PACKAGE / "web" / "static" / "view_audit.js").read_text(encoding="utf-8")
    listed = re.search(r"const EVENTS = \[(.*?)\];", text, re.DOTALL)
    assert listed is not None
    assert sorted(re.findall(r'"(\w+)"', listed[1])) == sorted(EVENTS)


def codes_made() -> set[str]:
    """The code of every finding that the engine, the command line and the operators can make."""
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MAKERS:
                found |= _code(file, node) if _MAKERS[node.func.id] in (None, file.name) else set()
    return found


def _code(file: Path, call: ast.Call) -> set[str]:
    named = [k.value for k in call.keywords if k.arg == "code"]
    if isinstance(call.func, ast.Name) and call.func.id == "Problem" and not named:
        return set()  # of another kind, or of the code that is the usual one
    given = named[0] if named else call.args[0]
    if isinstance(given, ast.Constant):
        return {str(given.value)}
    if isinstance(given, ast.JoinedStr):
        pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in given.values)
        return {code for code in FINDINGS if fnmatch.fnmatch(code, pattern)}
    handed_on = (file.name, ast.unparse(given)) in _HANDED_ON
    assert handed_on, f"{file.name}:{call.lineno}: where does the code {ast.unparse(given)} come from?"
    return set()


def events_written() -> set[str]:
    """Every event that the code writes: given to the log as a word, or named by a value that becomes one."""
    found = {"applied", "rolled_back"}  # Outcome's own values, by Execution._last_row
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in _WRITERS:
                found |= _words(node.args[:2])
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "event":
                found |= _words(ast.walk(node.value))
    return found - {"rollback", "apply"}


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _words(nodes: Iterable[ast.AST]) -> set[str]:
    values = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return {v for v in values if isinstance(v, str) and v.replace("_", "").isalpha() and v.islower()}
