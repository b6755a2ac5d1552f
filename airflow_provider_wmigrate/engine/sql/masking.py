"""Shows SQL, and what the server says of it, without the secrets in them. Pure.

What can be a secret in a script is found by `secrecy`, which is loaded when there is something to mask: every session
loads this module. Lines keep their numbers.
"""

from __future__ import annotations

import re
from functools import lru_cache

_MASKED = '"***"'
_LARGE = 1_000_000
"""Characters of a script from which on its strings are not collected one by one."""


def masked_sql(text: str) -> str:
    """SQL as it may be shown: strings that can be secrets are `'***'`.

    A text that was cut off anywhere may be given: what cannot be read any more is masked. The first call of a process
    loads PostgreSQL's grammar (some 50 ms); text without any string, setting or comment does not need it.
    """
    from .secrecy import read, worth_reading

    shown, at = [], 0
    for start, end, instead in sorted(read(text, masks_only=True).masks if worth_reading(text) else []):
        if start >= at:
            shown += [text[at:start], instead]
            at = end
    return "".join([*shown, text[at:]])


def masked_error(message: str, script: str = "") -> str:
    """An error text of the server as it may be shown: primary message, DETAIL, HINT, CONTEXT or a notice.

    Masked are the strings of the script, the statements and rows that the server quotes, and a word beside a password
    that the grammar did not understand. Names of relations and columns stay, unless they are also a secret.

    :param script: the script, or the statement, that made the server say it. Empty: not known.
    """
    for what, instead in _QUOTED_BY_SERVER:
        message = what.sub(instead, message)
    message = _STATEMENT.sub(lambda m: f'{m[1]}"{masked_sql(m[2])}"', message)
    message = _REMOTE.sub(lambda m: m[1] + masked_sql(m[2]), message)
    if script:
        message = _said(script).masked(message)
    return _URL.sub(r"\1***@", message)


_QUOTED_BY_SERVER = (
    (re.compile(r"(unterminated [^\"\n]* at or near )\".*", re.DOTALL), rf"\1{_MASKED}"),
    (re.compile(r"(at or near )\"(?:(?:[eEbBxXnN]|[uU]&)?'|\$\w*\$).*\"", re.DOTALL), rf"\1{_MASKED}"),
    (re.compile(r"^(COPY [^\n]*?, line \d+(?:, column [^:\n]*)?: )\".*\"$", re.MULTILINE), rf"\1{_MASKED}"),
    (re.compile(r"(JSON data, line \d+: )[^\n]*"), r"\1***"),
    (re.compile(r"(Failing row contains )\(.*\)", re.DOTALL), r"\1(***)"),
    (re.compile(r"(\$\d+ = )(?:'(?:[^']|'')*'?|[^\s,]+)"), r"\1'***'"),
)
"""Values that the server quotes whosever they are: of the script, of rows, of another server."""
_URL = re.compile(r"(://[^/\s:@']*:)[^/\s@']+@")
_STATEMENT = re.compile(
    r"(SQL statement |SQL expression |PL/pgSQL assignment |PL/pgSQL expression |[Qq]uery )\"(.*?)\"(?=\s*$|\n)",
    re.DOTALL | re.MULTILINE,
)
_REMOTE = re.compile(r"(remote SQL command: )(.*)", re.DOTALL)

_QUOTED = re.compile(r'"([^"\n]+)"')
_KEY = re.compile(r"(Key \([^\n]*?\)=)\((.*?)\)(?= )")
_OBJECT = re.compile(
    r"(?:relation|table|column|view|index|sequence|schema|database|constraint|function|procedure|aggregate|operator|type"
    r"|domain|role|user|extension|trigger|rule|policy|server|publication|subscription|tablespace|language|collation"
    r"|hypertable|chunk|catalog|attribute|partition|encoding|module|configuration parameter) $"
)
"""Before a quoted name, in the server's messages."""


@lru_cache(maxsize=1)
def _said(script: str) -> _Said:
    """A script that talks a lot is read once."""
    return _Said(script)


class _Said:
    """What a script said, to find it in what the server answers."""

    def __init__(self, script: str) -> None:
        from .secrecy import Found, read

        small = len(script) <= _LARGE
        self.found = read(script) if small else Found()
        self.secrets = "\0".join(self.found.secrets)
        self.literals = "\0".join(self.found.literals) if small else script
        self.rows = "".join(self.found.data)

    def masked(self, message: str) -> str:
        for secret in sorted((s for s in self.found.secrets if s in message), key=len, reverse=True):
            message = message.replace(f'"{secret}"', _MASKED)
            if len(secret) >= 4:
                message = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", message)
        for literal in self.found.literals:
            if literal in message and literal.lower() not in self.found.names:
                message = re.sub(f'"{re.escape(literal)}"', self._unless_object, message)
        message = _KEY.sub(lambda m: f"{m[1]}({', '.join(map(self._value, m[2].split(', ')))})", message)
        return _QUOTED.sub(self._part, message)

    def _unless_object(self, match: re.Match[str]) -> str:
        return match[0] if _OBJECT.search(match.string[: match.start()]) else _MASKED

    def _value(self, value: str) -> str:
        return "***" if value in self.found.literals | self.found.secrets else value

    def _part(self, match: re.Match[str]) -> str:
        """A quoted part of a string, as when a word in JSON or in a connection string is refused; or of COPY's rows."""
        part = match[1]
        shown = match[0] if part.lower() in self.found.names else self._unless_object(match)
        if re.search(rf"(?:^|[\t\n,]){re.escape(part)}(?:$|[\t\n,])", self.rows):
            return shown
        if len(part) < 3:
            return match[0]
        if part in self.secrets:
            return self._unless_object(match)
        return shown if part in self.literals or part in self.rows else match[0]
