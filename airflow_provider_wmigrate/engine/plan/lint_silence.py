"""What of lint's findings a person has said not to tell: by a comment with a reason, or because it was known. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.sql.script import Analysis

_ALLOWS = re.compile(r"--\s*wmigrate\s*:\s*allow\s+(\S+?)\s*(?::[ \t]*(.*?))?\s*$", re.MULTILINE)


class Allowance(Struct, frozen=True):
    """A comment `-- wmigrate: allow CODE: reason`."""

    code: str
    reason: str
    file: str
    line: int
    """Where it stands."""
    first: int
    last: int
    """The lines of the statement that it is about: the one it stands in, else the next one."""


def allowances(analysis: Analysis) -> Iterator[Allowance]:
    """The comments of a script, wherever they stand in their line."""
    from airflow_provider_wmigrate.engine.sql.tokens import scanned

    text = analysis.script.text
    spans = [(s.line, text.count("\n", 0, s.end) + 1) for s in analysis.statements]
    for token in scanned(text).tokens if "wmigrate" in text else ():
        found = _ALLOWS.match(token.text) if token.kind == "comment" else None
        if found:
            line = text.count("\n", 0, token.start) + 1
            first, last = next(((a, b) for a, b in spans if b >= line), (line, line))
            yield Allowance(found[1], found[2] or "", analysis.script.file, line, first, last)


def told(findings: Iterable[Finding], allowed: Sequence[Allowance], *, untried: Sequence[str] = ()) -> list[Finding]:
    """The findings that nobody allows, and what is wrong with the comments.

    :param untried: what the codes of rules begin with that were not tried on every script: a comment that allows one of
        them may be right.
    """
    left, used = list[Finding](), set[Allowance]()
    for finding in findings:
        fits = [a for a in allowed if a.reason and _fits(a, finding)]
        used.update(fits)
        if not fits:
            left.append(finding)
    for each in allowed:
        if not each.reason:
            nxt = f"write it: -- wmigrate: allow {each.code}: REASON"
            left.append(_of(each, f"allows {each.code} without a reason", nxt))
        elif each not in used and not each.code.startswith(tuple(untried)):
            left.append(_of(each, f"allows {each.code}, which is not found here", "take the comment out"))
    return left


def _fits(allowance: Allowance, finding: Finding) -> bool:
    inside = finding.line is not None and allowance.first <= finding.line <= allowance.last
    return (allowance.code, allowance.file) == (finding.code, finding.file) and inside


def _of(allowance: Allowance, message: str, nxt: str) -> Finding:
    return Finding("allowance", message, nxt, "warning", None, allowance.file, allowance.line)


def known_as(finding: Finding, analyses: Mapping[str, Analysis]) -> str:
    """What a finding is called in a baseline: the same when its lines move, another when its statement is edited.

    :param analyses: by file.
    """
    analysis = analyses.get(finding.file or "")
    text = finding.message
    if analysis is not None and finding.line is not None:
        before = [s for s in analysis.statements if s.line <= finding.line]
        text = analysis.text_of(before[-1]).strip() if before else ""
    return f"{finding.code} {finding.file} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
