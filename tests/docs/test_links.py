"""Every link of README and docs leads somewhere: to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WORDS = [
    "migration", "folder", "ledger", "entry", "status", "finding", "plan", "apply, roll back", "dry run", "drift",
    "baseline", "repair", "target",
]  # fmt: skip
"""What code, messages and pages are written with."""

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def links(page: str) -> list[str]:
    """Targets of links and pictures within this repository."""
    text = re.sub(r"`[^`\n]+`", "", _FENCE.sub("", page))
    return re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text)


def anchors(page: str) -> set[str]:
    """As GitHub and the usual site generators make them of headings; a heading that comes again gets a number."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#+ (.+)$", _FENCE.sub("", page), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        found[f"{slug}-{found[slug]}" if slug in found else slug] = 0
        found[slug] += 1
    return set(found)


def broken(file: Path, page: str) -> list[str]:
    """Links that lead nowhere."""
    wrong = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        if not target.exists():
            wrong.append(link)
        elif anchor and target.suffix == ".md":
            text = page if target == file else target.read_text(encoding="utf-8")
            wrong += [] if anchor in anchors(text) else [link]
    return wrong


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links(file: Path) -> None:
    assert broken(file, file.read_text(encoding="utf-8")) == []


def test_a_link_to_nowhere_is_found() -> None:
    page = "# A title: `it`\n\n[x](#a-title-it) [y](tutorial.md#no-such-heading) [z](gone.md) ![p](pictures/gone.png)"
    assert broken(ROOT / "docs" / "index.md", page) == ["tutorial.md#no-such-heading", "gone.md", "pictures/gone.png"]


def test_the_glossary_has_every_word() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [word for word in WORDS if f"\n| {word} |" not in glossary] == []
