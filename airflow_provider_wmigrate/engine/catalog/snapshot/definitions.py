"""Texts that the server makes of definitions, in one form for every major version. Pure."""

from __future__ import annotations

import re

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"([a-z_][a-z0-9_]*)\"")
_PLAIN_PARTS = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*\Z")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_$]*|\s+|.""", re.DOTALL)


def dotted(parts: list[str]) -> str:
    """A name of several parts, quoted where its letters make it necessary.

    Not by keywords, as the server does: each version has others.
    """
    joined = ".".join(parts)
    if _PLAIN_PARTS.match(joined) and joined.count(".") == len(parts) - 1:
        return joined
    return ".".join(map(_quoted, parts))


def _quoted(part: str) -> str:
    return part if _PLAIN.match(part) else '"' + part.replace('"', '""') + '"'


def unquoted(text: str) -> str:
    """A definition without the quotes that keywords alone made necessary. Strings stay as they are."""
    return _QUOTED.sub(lambda match: match[1] or match[0], text) if '"' in text else text


def without_qualifiers(definition: str) -> str:
    """A view's definition as servers from 16 on tell it: up to 15, they name the table before each column even if the
    query reads one table alone. Inner queries name it everywhere.
    """
    tokens = _TOKEN.findall(definition)
    levels = _levels(tokens)
    source = _only_source(tokens, levels)
    if source is None:
        return definition
    return "".join(
        token
        for at, token in enumerate(tokens)
        if not (
            levels[at] == 0
            and (_qualifies(tokens, at, source) or (at and token == "." and _qualifies(tokens, at - 1, source)))
        )
    )


def _qualifies(tokens: list[str], at: int, source: str) -> bool:
    """A whole row is told by the table's name on every server."""
    around = tokens[at - 1] if at else "", tokens[at], *tokens[at + 1 : at + 3]
    return around[1:3] == (source, ".") and around[0] != "." and around[3:] != ("*",)


def _levels(tokens: list[str]) -> list[int]:
    """Of each token, in how many inner queries it is."""
    found, opened = [], [False]
    for at, token in enumerate(tokens):
        if token == "(":
            following = next((t for t in tokens[at + 1 :] if not t.isspace()), "")
            opened.append(following in ("SELECT", "WITH", "VALUES"))
        found.append(sum(opened))
        if token == ")":
            opened.pop()
    return found


def _only_source(tokens: list[str], levels: list[int]) -> str | None:
    """The name before the columns of the outermost query, if it reads from one table or the like; else None."""
    words = [token for at, token in enumerate(tokens) if levels[at] == 0 and not token.isspace()]
    outer = list(zip(words, _depths(words), strict=True))
    if any(word in ("UNION", "INTERSECT", "EXCEPT", "JOIN") for word, _ in outer) or ("FROM", 0) not in outer:
        return None
    source = outer[outer.index(("FROM", 0)) + 1 :]
    end = next((at for at, (word, depth) in enumerate(source) if word in _ENDS and not depth), len(source))
    source = source[:end]
    if (",", 0) in source:
        return None
    names = [word for word, _ in source]
    if names[-1:] == [")"]:  # names for its columns follow: `FROM generate_series(1, 3) g(number)`
        names = names[: _opening(names)]
    return names[-1] if names else None


def _depths(words: list[str]) -> list[int]:
    """Of each word, in how many brackets it is; a bracket itself is outside."""
    found, depth = [], 0
    for word in words:
        depth -= word == ")"
        found.append(depth)
        depth += word == "("
    return found


def _opening(tokens: list[str]) -> int:
    """Where the bracket was opened with which the tokens end."""
    depth = 0
    for at in range(len(tokens) - 1, -1, -1):
        depth += (tokens[at] == ")") - (tokens[at] == "(")
        if not depth:
            return at
    return 0


_ENDS = ("WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", ";", "TABLESAMPLE")
