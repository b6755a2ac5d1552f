"""The tokens of SQL text, as PostgreSQL's own scanner reads them: also of text that its grammar does not understand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

Kind = Literal["string", "number", "name", "keyword", "comment", "sign"]


class Token(Struct, frozen=True):
    """One token. `start` and `end` are character offsets in the text that was read."""

    kind: Kind
    start: int
    end: int
    text: str

    @property
    def dollar_quoted(self) -> bool:
        return self.kind == "string" and self.text.startswith("$")

    @property
    def content(self) -> str:
        """Of a string: what it stands for. Escapes for characters by number are left as they are."""
        if self.dollar_quoted:
            tag = self.text.index("$", 1) + 1
            return self.text[tag:-tag]
        inner = _CONTINUED.sub("", self.text[self.text.index("'") + 1 : -1]).replace("''", "'")
        return _ESCAPED.sub(r"\1", inner) if self.text[0] in "eE" else inner


class Tokens(Struct, frozen=True):
    """The tokens of a text up to `end`; from there on (a quote that is never closed) nothing could be read."""

    tokens: tuple[Token, ...]
    end: int


def scanned(text: str) -> Tokens:
    """The tokens of a text, as far as it can be read."""
    from postgast import PgQueryError, scan

    end = text.find("\0")  # where the scanner, written in C, would stop without a word
    end = len(text) if end < 0 else end
    try:
        found = scan(text[:end])
    except PgQueryError as error:
        end = (error.cursorpos or 1) - 1
        try:
            found = scan(text[:end])
        except PgQueryError:
            return Tokens((), 0)
    return Tokens(tuple(_tokens(text[:end], found.tokens)), end)


def _tokens(text: str, found: Any) -> Iterator[Token]:
    """With character offsets; the scanner counts bytes of UTF-8."""
    raw = text.encode()
    byte_at = char_at = 0
    for token in found:
        char_at += len(raw[byte_at : token.start].decode())
        body = raw[token.start : token.end].decode()
        kind = _KINDS.get(token.token) or ("keyword" if token.keyword_kind else "sign")
        yield Token(kind, char_at, char_at + len(body), body)
        char_at, byte_at = char_at + len(body), token.end


# postgast.pg_query_pb2.Token, without paying for its names
_KINDS: dict[int, Kind] = {
    258: "name",
    259: "name",
    260: "number",
    261: "string",
    262: "string",
    263: "string",
    264: "string",
    266: "number",
    275: "comment",
    276: "comment",
}
_CONTINUED = re.compile(r"'[ \t\f\v]*\n\s*'")
"""Where a string goes on in the next line."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
