"""Tables of Markdown, and the part of a page that is generated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BEGIN, END = "<!-- generated: python -m dev.references -->\n", "<!-- end of generated -->\n"


def table(heads: str, rows: Iterable[Sequence[str]]) -> str:
    """After an empty line; nothing where there are no rows.

    :param heads: of the columns, with bars between them.
    """
    names = heads.split("|")
    lines = [names, ["---"] * len(names), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) if len(lines) > 2 else ""


def with_generated(page: str, text: str, begin: str = BEGIN) -> str:
    """The page with what stands between its marks made anew.

    :param begin: the first mark, which tells what writes the part.
    """
    before, _, rest = page.partition(begin)
    return before + begin + text + "\n" + END + rest.partition(END)[2]
