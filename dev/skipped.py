"""What the parts of `make test` have skipped, in one table at the end: which tests, why, and what would change it.

Each part adds its own to a list, since it is a process of its own. ``python -m dev.skipped FILE`` prints the table.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dev.programs import lacking

ROOT = Path(__file__).resolve().parents[1]


def add_to_list(file: Path, skipped: Iterable[tuple[str, int, str]]) -> None:
    """Lines that one write appends, so that parts at the same time do not mix them.

    :param skipped: as pytest describes it: file, line, reason.
    """
    lines = [json.dumps([_inside(path), reason.removeprefix("Skipped: ")]) + "\n" for path, _, reason in skipped]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as listed:
        listed.write("".join(lines))


def _inside(path: str) -> str:
    place = Path(path)
    return str(place.relative_to(ROOT)) if place.is_relative_to(ROOT) else path


def table(lines: Iterable[str]) -> str:
    """Of the lines of a list; nothing if nothing was skipped."""
    counted = Counter((file, reason) for file, reason in map(json.loads, lines))
    if not counted:
        return ""
    files = max(len(file) for file, _ in counted)
    rows = [f"  {file:<{files}}  {count:>5}  {reason}" for (file, reason), count in sorted(counted.items())]
    return "\n".join([f"skipped: {sum(counted.values())}", f"  {'file':<{files}}  tests  why", *rows])


def main() -> int:
    file = Path(sys.argv[1])
    text = table(file.read_text().splitlines()) if file.exists() else ""
    missing = lacking()
    if text:
        print(text)
    if missing:
        print(f"as root, `make test-system` installs what is missing here: {' '.join(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
