"""`make licenses`: what is installed with wmigrate, beyond what Airflow itself brings, and under which licence.

Read from the metadata of what is installed. A licence that is not in the list fails, and so does one that says nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "airflow-provider-wmigrate"
AIRFLOW = ("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk")
"""What they bring is their users' own choice, made before wmigrate came."""

PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"),
    *("PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
}

EXCEPTIONS = {
    "psycopg": ("LGPL-3.0-only", "used as a library, neither changed nor included; anyone can replace it"),
    "psycopg-binary": ("LGPL-3.0-only", "part of psycopg, installed beside it as a wheel of its own"),
    "psycopg2-binary": ("LGPL", "needed by apache-airflow-providers-postgres; wmigrate never imports it"),
}
"""Distribution -> the one licence it may have although it is not permissive, and why that is all right."""

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
_NAMES = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "mit license": "MIT",
    "the mit license": "MIT",
    "bsd license": "BSD",
    "3-clause bsd": "BSD-3-Clause",
    "psf": "PSF-2.0",
}
Metadata = Callable[[str], Message]


@dataclass(frozen=True)
class Verdict:
    """One distribution and what is to be said of its licence. `reason` is empty where nothing is wrong or special."""

    name: str
    version: str
    license: str
    allowed: bool
    reason: str = ""


def check(name: str, metadata: Message) -> Verdict:
    """Judge one distribution by its metadata."""
    found = license_of(metadata)
    known, reason = EXCEPTIONS.get(name, ("", ""))
    if found and found == known:
        return Verdict(name, metadata["Version"], found, True, reason)
    if not found:
        return Verdict(name, metadata["Version"], "unknown", False, "its metadata names no licence that is known here")
    allowed = _allowed(found)
    return Verdict(name, metadata["Version"], found, allowed, "" if allowed else "not in the list of dev/licenses.py")


def _allowed(expression: str) -> bool:
    """`MIT OR Apache-2.0` as well as `BSD-3-Clause AND MIT`; one part that is not permissive spoils an AND."""
    choices = re.split(r"\s+OR\s+", expression.replace("(", "").replace(")", ""))
    return any(all(part.strip() in PERMISSIVE for part in re.split(r"\s+AND\s+", choice)) for choice in choices)


def license_of(metadata: Message) -> str:
    """An SPDX expression: as the metadata has it, or from its classifiers, or from a short `License` field."""
    expression = metadata["License-Expression"]
    if expression:
        return str(expression)
    classifiers = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier", []) if c.startswith("License :: ")]
    named = {_CLASSIFIERS.get(c, c) for c in classifiers if c != "OSI Approved"}
    if named:
        return " AND ".join(sorted(named))
    text = " ".join((metadata["License"] or "").split())
    return _NAMES.get(text.lower(), text if text in PERMISSIVE else "")


def closure(roots: Iterable[str], metadata: Metadata) -> set[str]:
    """The distributions that some need at run time, with those that these need, as they are installed here."""
    seen: set[str] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        key = f"{name}[{','.join(sorted(wanted.extras))}]"
        if key in seen:
            continue
        seen.add(key)
        try:
            waiting += _needs(metadata(name), wanted.extras)
        except PackageNotFoundError:
            seen.discard(key)  # for another platform
    return {key.partition("[")[0] for key in seen}


def _needs(found: Message, extras: Iterable[str]) -> Iterator[Requirement]:
    for line in found.get_all("Requires-Dist", []):
        needed = Requirement(line)
        chosen = ("", *extras)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in chosen):
            yield needed


def brought(metadata: Metadata) -> set[str]:
    """What wmigrate brings: its own requirements, named by itself or by those, less what Airflow brings anyway."""
    own = {canonicalize_name(need.name) for need in _needs(metadata(PACKAGE), ())}
    airflow = closure(AIRFLOW, metadata)
    return (closure([PACKAGE], metadata) - airflow | own) - {PACKAGE}


def installed(name: str) -> Message:
    return distribution(name).metadata  # type: ignore[return-value]


def main(metadata: Metadata = installed) -> int:
    verdicts = [check(name, metadata(name)) for name in sorted(brought(metadata))]
    _show(verdicts)
    wrong = [verdict for verdict in verdicts if not verdict.allowed]
    for verdict in wrong:
        print(f"{verdict.name} {verdict.version}: licence {verdict.license}: {verdict.reason}", file=sys.stderr)
    return 1 if wrong else 0


def _show(verdicts: Iterable[Verdict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Distribution", "Version", "Licence", "Remark")
    for verdict in verdicts:
        cells = (verdict.name, verdict.version, verdict.license, verdict.reason)
        table.add_row(*cells, style="" if verdict.allowed else "red")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    sys.exit(main())
