"""`make release-notes VERSION=1.2.3`: what the changelog says of one version, as the text of its release."""

from __future__ import annotations

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"
_HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - \d{4}-\d{2}-\d{2})?$", re.MULTILINE)


def notes(changelog: str, version: str) -> str:
    """The section of a version, without its heading.

    :raises ValueError: there is none, or nothing stands in it.
    """
    headings = list(_HEADING.finditer(changelog))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] == version:
            text = changelog[heading.end() : following.start() if following else None].strip()
            if not text:
                raise ValueError(f"CHANGELOG.md says nothing of {version}: write what changed below its heading")
            return text
    known = ", ".join(heading["version"] for heading in headings) or "none"
    raise ValueError(f"CHANGELOG.md has no section [{version}]; it has: {known}")


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
