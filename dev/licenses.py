"""`make licenses`: what is installed with wmigrate, beyond what Airflow itself brings, and under which licence.

pip-licenses reads the licences. One that is not in the list fails, and so does a package that names none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "airflow-provider-wmigrate"
AIRFLOW = ("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk")
"""What they bring is their users' own choice, made before wmigrate came."""

PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
    *("Apache Software License", "BSD License", "ISC License (ISCL)", "MIT License"),
    *("Python Software Foundation License", "The Unlicense (Unlicense)"),
}
"""SPDX identifiers, and the names of the classifiers that older packages have instead."""

EXCEPTIONS = {
    "psycopg": ("LGPL-3.0-only", "used as a library, neither changed nor included; anyone can replace it"),
    "psycopg-binary": ("LGPL-3.0-only", "part of psycopg, installed beside it as a wheel of its own"),
    "psycopg2-binary": (
        "GNU Library or Lesser General Public License (LGPL)",
        "needed by apache-airflow-providers-postgres; wmigrate never imports it",
    ),
}
"""Distribution -> the one licence it may have although it is not permissive, and why that is all right."""


def allowed(name: str, license: str) -> bool:
    """Whether a distribution may have this licence. One part that is not permissive spoils an AND, not an OR."""
    if license == EXCEPTIONS.get(name, (None,))[0]:
        return True
    choices = re.split(r"\s+OR\s+", license.replace("; ", " AND "))
    return any(all(part.strip(" ()") in PERMISSIVE for part in choice.split(" AND ")) for choice in choices) or (
        license in PERMISSIVE
    )


def closure(roots: Iterable[str]) -> set[str]:
    """The distributions that some need at run time, with those that these need, as they are installed here."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(root) for root in roots]
    for wanted in waiting:  # it grows
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key not in seen:
            with suppress(PackageNotFoundError):  # for another platform
                waiting += _needs(*key)
                seen.add(key)
    return {name for name, _ in seen}


def _needs(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    for needed in map(Requirement, requires(name) or ()):
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield needed


def brought() -> set[str]:
    """What wmigrate brings: its own requirements, named by itself or by those, less what Airflow brings anyway."""
    own = {canonicalize_name(need.name) for need in _needs(PACKAGE, ())}
    return (closure([PACKAGE]) - closure(AIRFLOW) | own) - {PACKAGE}


def main() -> int:
    read = [sys.executable, "-m", "piplicenses", "--with-system", "--format"]
    packages = ["--packages", *sorted(brought())]
    subprocess.run([*read, "markdown", *packages], check=True)
    found = json.loads(subprocess.run([*read, "json", *packages], capture_output=True, text=True, check=True).stdout)
    wrong = [one for one in found if not allowed(canonicalize_name(one["Name"]), one["License"])]
    for one in wrong:
        print(f"{one['Name']} {one['Version']}: licence {one['License']}: not in dev/licenses.py", file=sys.stderr)
    return 1 if wrong or len(found) != len(brought()) else 0


if __name__ == "__main__":
    sys.exit(main())
