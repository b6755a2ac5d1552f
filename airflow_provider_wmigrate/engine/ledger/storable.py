"""Texts as the database's encoding can hold them. What it cannot hold is escaped: the ledger never fails for it.

In a database that is not UTF-8 a character may have no equivalent; nowhere can a text hold the character NUL, or half
of a surrogate pair (a user's name that is not UTF-8 has these). Each is written as \\uXXXX or \\UXXXXXXXX.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

ESCAPED = "-- wmigrate: characters that this database cannot store are written \\uXXXX, and each backslash twice\n"
"""First line of a stored script that had to be escaped. One that begins with this line by itself is escaped too."""

_ANY = ("UTF8", "SQL_ASCII")
"""Server encodings that hold every character: SQL_ASCII keeps the bytes it is given, which are UTF-8 here."""

_PARTS_OF_8859 = (1, 2, 3, 4, 9, 10, 13, 14, 15, 16)
"""Which part of ISO 8859 is LATIN1, LATIN2 and so on."""

CODECS = {
    **{f"LATIN{n}": f"iso8859-{part}" for n, part in enumerate(_PARTS_OF_8859, start=1)},
    **{f"ISO_8859_{n}": f"iso8859-{n}" for n in (5, 6, 7, 8)},
    **{f"WIN{n}": f"cp{n}" for n in (866, 874, *range(1250, 1259))},
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
}
"""PostgreSQL's encodings of one byte, in which Python and the server agree on every character. Of the others only ASCII
is relied upon."""


def storable(text: str, encoding: str) -> str:
    """The text with an escape for every character that a database of this encoding cannot hold."""
    if text.isascii() and "\0" not in text:
        return text
    return "".join(c if _fits(c, encoding) else _escape(c) for c in text)


def storable_data(data: Any, encoding: str) -> Any:
    """JSON data with every text in it, keys too, as `storable` gives it."""
    return data if _is_storable(json.dumps(data, ensure_ascii=False, default=str)) else _storable(data, encoding)


def storable_json(data: dict[str, Any], encoding: str) -> tuple[dict[str, Any], str]:
    """The same, of data whose keys are texts, and the canonical text of it: without JSON's own \\u escapes, which a
    server of another encoding than UTF-8 refuses."""
    text = canonical_json(data)
    if _is_storable(text):
        return data, text
    stored = _storable(data, encoding)
    return stored, canonical_json(stored)


def _is_storable(text: str) -> bool:
    """Whether this JSON can be stored anywhere, as can be seen at a glance."""
    return text.isascii() and "\\u0000" not in text


def canonical_json(data: Any) -> str:
    """The one text of JSON data: keys in order, no blanks, no character escaped that need not be."""
    return _ENCODER.encode(data)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def _storable(data: Any, encoding: str) -> Any:
    if isinstance(data, str):
        return storable(data, encoding)
    if isinstance(data, Mapping):
        return {_storable(key, encoding): _storable(value, encoding) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_storable(value, encoding) for value in data]
    return data


def stored_script(text: str, encoding: str) -> str:
    """A script in the form in which it is stored: as it is, or escaped so that `original_script` gives it back."""
    if storable(text, encoding) == text and not text.startswith(ESCAPED):
        return text
    return ESCAPED + storable(text.replace("\\", "\\\\"), encoding)


def original_script(stored: str) -> str:
    """The script that was stored."""
    if not stored.startswith(ESCAPED):
        return stored
    return _WRITTEN.sub(_unescape, stored.removeprefix(ESCAPED))


def jsonb(data: Any, conn: Connection[Any]) -> Jsonb:
    """A parameter of type jsonb that the database takes whatever its encoding: without JSON's own \\u escapes, which a
    server of another encoding than UTF-8 refuses."""
    return Jsonb(storable_data(data, server_encoding(conn)), dumps=partial(json.dumps, ensure_ascii=False))


def server_encoding(conn: Connection[Any]) -> str:
    """The database's encoding, as the server told it at login."""
    return conn.info.parameter_status("server_encoding") or "UTF8"


def _fits(character: str, encoding: str) -> bool:
    if character == "\0" or "\ud800" <= character <= "\udfff":
        return False
    if character.isascii() or encoding in _ANY:
        return True
    try:
        character.encode(CODECS.get(encoding, "ascii"))
    except UnicodeEncodeError:
        return False
    return True


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _unescape(found: re.Match[str]) -> str:
    return "\\" if found[0] == "\\\\" else chr(int(found[0][2:], 16))


_WRITTEN = re.compile(r"\\\\|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}")
