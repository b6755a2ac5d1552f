"""Which strings of a script can be secrets: found with PostgreSQL's grammar, statement by statement. Pure.

Passwords of roles, options of servers and user mappings, connection strings, settings, and whatever stands beside a
word such as password or token. Of a statement that the grammar cannot read, every string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.model import Script

from .pieces import Piece, without
from .psql import cut
from .tokens import Token, scanned


@dataclass(slots=True)
class Found:
    """What was found in a script.

    :param masks: from where to where something else is shown, and what.
    :param secrets: contents of what is masked; `literals`: of all other strings.
    :param names: words of the script that are neither in a string nor masked, in lower case.
    :param data: the rows of COPY.
    """

    masks: list[tuple[int, int, str]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    literals: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    data: list[str] = field(default_factory=list)

    def mask(self, token: Token, at: int) -> None:
        """Mask a token of the text that begins at a position of the script."""
        string = token.kind == "string"
        content = token.content if string else token.text.strip('"')
        self.secrets.update({content, *_carried(content)} - {""})
        self.masks.append((at + token.start, at + token.end, _masked(token.text, "'" if string else "")))

    def keep(self, token: Token, at: int) -> None:
        """Show a token; of a string, what is a secret whatever stands around it is masked all the same."""
        if token.kind == "string":
            if _CARRIES.search(token.text):
                self.mask(token, at)
            else:
                self.literals.update({token.content} - {""})
        elif token.kind in ("name", "keyword"):
            self.names.add(token.text.strip('"').lower())


def worth_reading(text: str) -> bool:
    """False: there is neither a string, a setting nor a comment in the text, nor anything else that could be masked."""
    return _WORTH_READING.search(text) is not None


_WORTH_READING = re.compile(r"['$\"\0\\]|--|/\*|\bset\b|passw|secret|token", re.IGNORECASE)

_SECRET = re.compile(
    r"passw|(?<![a-z])pass(?![a-z])|passphrase|passcode|pwd|secret|token|credential|bearer|authorization|crypt|dblink"
    r"|pgp_|hmac|conninfo|connstr|connection\W?string|(?<![a-z])dsn(?![a-z])|(?<![a-z])salt(?![a-z])"
    r"|(?:api|access|private|account|auth|signing|encryption|master|shared|ssh|service)[\W_]?key(?![a-z])"
    r"|alter\s+system|user\s+mapping|(?:create|alter)\s+(?:server|subscription)|\boptions\s*\(|://[^/\s:@']*:[^/\s@']*@",
    re.IGNORECASE,
)
"""Words beside which a string may be a secret; also a URL with a password in it."""
_CARRIES = re.compile(
    r"://[^/\s:@']*:(?P<url>[^/\s@']+)@"
    r"|(?:passw\w*|pwd|secret\w*|token|\w*key)\s*[=:]\s*['\"]?(?P<value>[^\s'\";,]+)",
    re.IGNORECASE,
)
"""A secret inside of a text: in a URL, in a connection string, in a note."""
_SET_CONFIG = re.compile("set_config", re.IGNORECASE)
_IN_QUOTES = re.compile(r"'[^'\n]*'")

_OPTIONS = frozenset({
    "create_role_stmt", "alter_role_stmt", "create_user_mapping_stmt", "alter_user_mapping_stmt",
    "create_foreign_server_stmt", "alter_foreign_server_stmt", "create_fdw_stmt", "alter_fdw_stmt",
    "create_foreign_table_stmt", "import_foreign_schema_stmt", "create_subscription_stmt", "alter_subscription_stmt",
    "alter_system_stmt",
})  # fmt: skip
"""Statements whose strings are options and passwords."""
_SETTINGS = frozenset({"variable_set_stmt", "alter_role_set_stmt", "alter_database_set_stmt"})
_CLAUSES = {"create_stmt": 1, "alter_table_stmt": 0}
"""Statements of which each clause is judged alone, and how deep in parentheses the commas between them stand."""
_BODIES = frozenset({"do_stmt", "create_function_stmt"})
_ASSIGNS = frozenset({"=", ":=", "=>", "to"})
_RAISE_LEVELS = frozenset({"debug", "log", "info", "notice", "warning", "exception"})


def read(text: str, *, masks_only: bool = False) -> Found:
    """What in a script may be a secret, and what may not.

    :param masks_only: nobody asks for literals and names, so that most statements need no closer look.
    """
    found = Found()
    for piece, kind, node in _statements(text):
        statement = text[piece.start : piece.end]
        if masks_only and not _suspicious(statement, kind, node):
            continue
        secret = _statement(found, statement, piece.start, kind, node)
        if piece.data:
            found.data.append(text[slice(*piece.data)])
        if piece.data and secret:
            found.masks.append((*piece.data, f"***{_NOT_LINES.sub('', text[slice(*piece.data)])}"))
    return found


def _suspicious(text: str, kind: str | None, node: Any) -> bool:
    """Whether there can be anything to mask: what is said no to here, `_statement` would leave as it is."""
    if kind is None or kind in _OPTIONS | _SETTINGS | _BODIES or (kind == "copy_stmt" and node.filename):
        return True
    return any(words.search(text) for words in (_SECRET, _CARRIES, _SET_CONFIG))


_NOT_LINES = re.compile(r"[^\n]")


def _masked(text: str, quote: str) -> str:
    """With as many lines as it had."""
    return f"{quote}***{_NOT_LINES.sub('', text)}{quote}"


def _carried(text: str) -> set[str]:
    """The secrets themselves in a connection string."""
    return {match["url"] or match["value"] for match in _CARRIES.finditer(text)}


def _statements(text: str) -> Iterator[tuple[Piece, str | None, Any]]:
    """Each statement with its kind and tree; the kind is None where the grammar does not understand it."""
    try:
        found = cut(Script("", text, ""), 1)
    except ScriptError:
        yield Piece(0, len(text)), None, None
        return
    for piece in found.pieces:
        yield piece, *_parsed(without(text, found.blanks, piece.start, piece.end))


def _parsed(sql: str) -> tuple[str | None, Any]:
    from postgast import PgQueryError, parse

    try:
        statements = parse(sql).stmts
    except PgQueryError:
        return None, None
    if len(statements) > 1 or "\0" in sql:
        return None, None
    kind = statements[0].stmt.WhichOneof("node") if statements else ""
    return kind, getattr(statements[0].stmt, kind) if kind else None


def _statement(found: Found, text: str, at: int, kind: str | None, node: Any) -> bool:
    """Judge one statement.

    :return: whether it may hold a secret.
    """
    tokens = _readable(found, text, at)
    if kind is None:
        return _unreadable(found, tokens, at)
    if kind in _SETTINGS and _holds_secret(getattr(node, "setstmt", node).name):
        _hide_after(found, tokens, at, {"=", "to"})
        return True
    certain = kind in _OPTIONS or (kind == "copy_stmt" and bool(node.filename))
    secret = False
    for clause in _clauses(tokens, _CLAUSES.get(kind)):
        bodies = [t for t in clause if kind in _BODIES and t.dollar_quoted]
        for body in bodies:
            _body(found, body, at)
        secret |= _judge(found, [t for t in clause if t not in bodies], at, certain=certain)
    return secret


def _readable(found: Found, text: str, at: int) -> list[Token]:
    """The tokens without the comments. What cannot be read is masked, and what comments say of secrets."""
    scan = scanned(text)
    if scan.end < len(text):
        found.masks.append((at + scan.end, at + len(text), _masked(text[scan.end :], "'")))
        found.secrets.add(text[scan.end :].strip("'\"; \n"))
    for comment in (t for t in scan.tokens if t.kind == "comment" and _SECRET.search(t.text)):
        start = at + comment.start
        spans = [*_IN_QUOTES.finditer(comment.text)]
        found.masks += [(start + m.start(), start + m.end(), "'***'") for m in spans]
        for match in _CARRIES.finditer(comment.text):
            span = match.span("url" if match["url"] else "value")
            found.masks.append((start + span[0], start + span[1], "***"))
    return [t for t in scan.tokens if t.kind != "comment"]


def _unreadable(found: Found, tokens: Sequence[Token], at: int) -> bool:
    """Every string; and behind a suspicious word every word, since a password may have lost its quotes."""
    first = next((i for i, t in enumerate(tokens) if t.kind != "string" and _SECRET.search(t.text)), len(tokens))
    for index, token in enumerate(tokens):
        if token.kind == "string" or (index > first and token.kind != "sign"):
            found.mask(token, at)
        else:
            found.keep(token, at)
    return True


def _holds_secret(setting: str) -> bool:
    """A setting of one's own may hold anything; of the server's, few do."""
    return "." in setting or bool(_SECRET.search(setting)) or setting.endswith("_command")


def _hide_after(found: Found, tokens: Sequence[Token], at: int, words: set[str]) -> None:
    hidden = False
    for token in tokens:
        if hidden and token.kind != "sign":
            found.mask(token, at)
        else:
            found.keep(token, at)
        hidden = hidden or token.text.lower() in words


def _clauses(tokens: Sequence[Token], depth: int | None) -> Iterator[list[Token]]:
    """The tokens between commas that stand at most so deep in parentheses; all of them where it is None."""
    clause: list[Token] = []
    now = 0
    for token in tokens:
        now += {"(": 1, ")": -1}.get(token.text, 0)
        if depth is not None and token.text == "," and now <= depth:
            yield clause
            clause = []
        clause.append(token)
    yield clause


def _body(found: Found, body: Token, at: int) -> None:
    """The body of a function or of DO, between its dollar quotes: its statements end with semicolons."""
    start = body.text.index("$", 1) + 1
    at += body.start + start
    clause: list[Token] = []
    for token in _readable(found, body.content, at):
        clause.append(token)
        if token.text == ";":
            _judge(found, clause, at, certain=False)
            clause = []
    _judge(found, clause, at, certain=False)


def _judge(found: Found, tokens: Sequence[Token], at: int, *, certain: bool) -> bool:
    """Mask all strings of a clause that has a suspicious word, and numbers that are assigned to one."""
    said = _messages(tokens)
    words = " ".join(t.text for i, t in enumerate(tokens) if i not in said)
    secret = certain or bool(_SECRET.search(words)) or _sets_own(tokens)
    for index, token in enumerate(tokens):
        if secret and index not in said and (token.kind == "string" or _assigned_number(tokens, index)):
            found.mask(token, at)
        elif token.dollar_quoted:
            _body(found, token, at)
        else:
            found.keep(token, at)
    return secret


def _messages(tokens: Sequence[Token]) -> set[int]:
    """Which tokens are the messages of RAISE: the string behind it, or behind its level."""
    found = set()
    for index in (i for i, t in enumerate(tokens) if t.text.lower() == "raise"):
        at = index + 1
        if at < len(tokens) and tokens[at].text.lower() in _RAISE_LEVELS:
            at += 1
        if at < len(tokens) and tokens[at].kind == "string":
            found.add(at)
    return found


def _sets_own(tokens: Sequence[Token]) -> bool:
    """set_config('own.setting', ...)."""
    called = any(t.text.lower() == "set_config" for t in tokens)
    return called and any(t.kind == "string" and _holds_secret(t.content) for t in tokens)


def _assigned_number(tokens: Sequence[Token], index: int) -> bool:
    before = tokens[max(index - 2, 0) : index]
    if tokens[index].kind != "number" or len(before) < 2:
        return False
    return before[1].text.lower() in _ASSIGNS and bool(_SECRET.search(before[0].text))
