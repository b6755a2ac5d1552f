"""`make release-notes VERSION=1.2.3`: what the changelog says of one version, as the text of its release."""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"
_HEADING = r"^## \[([^\]]+)\](?: - \d{4}-\d{2}-\d{2})?$"


def notes(changelog: str, version: str) -> str:
    """The section of a version, without its heading.

    :raises ValueError: there is none, or nothing stands in it.
    """
    _, *parts = re.split(_HEADING, changelog, flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    if version not in sections:
        raise ValueError(f"CHANGELOG.md has no section [{version}]; it has: {', '.join(sections) or 'none'}")
    if not sections[version].strip():
        raise ValueError(f"CHANGELOG.md says nothing of {version}: write what changed below its heading")
    return sections[version].strip()


def main() -> int:
    (version,) = sys.argv[1:] or ("Unreleased",)
    try:
        print(notes(CHANGELOG.read_text(), version))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
