"""Other tools' files, which hold both ways in one: what stands below a marker undoes what stands above it.

Run whole, such a file would apply a migration and undo it, rows and all. A marker is a line comment of exactly the form
that its tool knows, in any spelling the tool accepts; or any heading such as "Rollback", below which goes what was made
above. What stands inside a string, a dollar quote, another comment or COPY data is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.model import Script

from .pieces import without_comments
from .psql import comments


class _Marker(Struct, frozen=True):
    at: int
    text: str
    tool: str
    word: str
    """In lower case; empty where the tool keeps both ways apart by other means."""

    @property
    def down(self) -> bool:
        return self.word in _UP_OF


def refuse_both_ways(script: Script) -> None:
    """Refuse a script that holds its own way back.

    :raises ScriptError: with the marker's line and the way out; or as `cut` does.
    """
    if not ("--" in script.text or "/*" in script.text) or not _worth_looking(script.text):
        return
    found, back = tuple(_candidates(script.text)), script.file.endswith(".rollback.sql")
    undoing = () if back else tuple(_undoing(script.text))
    there = set(comments(script)) if found or undoing else set()
    markers = [marker for marker in found if marker.at in there]
    for marker in markers:
        if marker.tool == _LIQUIBASE or (marker.down is not back and _counts(marker, markers, script.text)):
            raise _refusal(script, marker, back=back)
    for marker in undoing:
        if marker.at in there:
            raise _refusal(script, marker, back=back)


_SQITCH, _ANOTHER, _LIQUIBASE = "Sqitch", "another tool", "Liquibase"

_CONVERTED = ("dbmate", "goose", "node-pg-migrate", _SQITCH, _LIQUIBASE)
"""Tools whose folders `wmigrate convert` reads."""

_UP_OF = {
    "down": ("up", "migration"),
    "downs": ("ups",),
    "undo": ("do",),
    "revert": ("deploy",),
    "downgrade": ("upgrade",),
    "backward": ("forward",),
    "backwards": ("forwards",),
    "rollback": ("apply", "migrate"),
    "drop below": (),
}
"""What undoes, and which words stand above it."""
_WORDS = "|".join((*(word for words in _UP_OF.values() for word in words), *_UP_OF))

_FORMS = (
    ("dbmate", r"--\s*migrate:(?P<word>up|down)(?:\s+\w+:\S+)*"),
    ("sql-migrate", r"--\s*\+\s*migrate\s+(?P<word>up|down)(?:\s+notransaction)?"),
    ("", r"--\s*\+\s*(?P<tool>[a-z]\w*)\s+(?P<word>up|down)"),  # goose, micrate ...
    ("rambler", r"--\s*rambler\s+(?P<word>up|down)"),
    ("MyBatis Migrations", r"--\s*(?://)?\s*@(?P<word>undo)"),
    ("Play", r"--[\s#-]*!(?P<word>ups|downs)"),
    ("node-pg-migrate", r"--[\s-]*(?P<word>up|down)\s+migration[\s-]*"),
    ("shmig", r"--\s*=+\s*(?P<word>up|down)\s*=+"),
    ("tern", r"----\s*create above / (?P<word>drop below)\s*----"),
    ("Atlas", r"--\s*(?P<word>migration|down)\.sql\s*--"),
    (_LIQUIBASE, r"--\s*(?:liquibase\s+formatted\s+sql\b.*|changeset\s+[^\s:]+:\S+.*)"),
    (_SQITCH, r"--\s*(?P<word>deploy|revert)\s+\S+\s+(?:to|from)\s+\w+"),
    (_ANOTHER, rf"--[\s\-=*#@/:\[(<]*(?P<word>{_WORDS})[\s\-=*#:\])>]*"),
)
"""Tool and form of its marker. Patterns are texts here: few scripts need one, and `re` keeps what it has compiled."""
_WORTH_LOOKING = rf"(?<![a-z])(?:{_WORDS}|reverts|roll[ -]?backs?|reverse|teardown|liquibase|changeset)(?![a-z])"
_COMMENT_LINE = r"--[^\n]*"


def _worth_looking(text: str) -> bool:
    return re.search(_WORTH_LOOKING, text, re.IGNORECASE) is not None


def _candidates(text: str) -> Iterator[_Marker]:
    """Whatever looks like a marker and has a line of its own, wherever it stands. Play writes a # before it."""
    for line in re.finditer(_COMMENT_LINE, text):
        if not _worth_looking(line[0]) or text[text.rfind("\n", 0, line.start()) + 1 : line.start()].strip(" \t#"):
            continue
        said = line[0].rstrip()
        for tool, form in _FORMS:
            if match := re.fullmatch(form, said, re.IGNORECASE):
                named = match.groupdict()
                yield _Marker(line.start(), said, tool or named["tool"], (named.get("word") or "").lower())
                break


_SAYS_UNDO = r"(?ms)(?:--[^\n]*|/\*(?:(?!\*/).){0,200}\*/)(?=[ \t]*$)"
_UNDO = r"(?i)\b(?:downs?|undo|reverts?|roll[ -]?backs?|downgrade|backwards?|reverse|teardown)\b"
_LONGEST = 8
"""Words of a heading; more are a sentence."""
_IF = r"(?:CONCURRENTLY\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?([\w.\"$]+)"
_KINDS = r"(?:MATERIALIZED\s+)?(TABLE|VIEW|INDEX|SEQUENCE|TYPE|DOMAIN|FUNCTION|PROCEDURE|SCHEMA|TRIGGER|POLICY|ROLE)"
_MAKES, _TAKES = (
    "|".join(forms)
    for forms in (
        (
            rf"\bCREATE\s+(?:OR\s+REPLACE\s+|UNLOGGED\s+|UNIQUE\s+)?{_KINDS}\s+{_IF}",
            rf"\bADD\s+(?:COLUMN\s+|CONSTRAINT\s+)?{_IF}",
            r"\bINSERT\s+INTO\s+([\w.\"$]+)",
        ),
        (
            rf"\bDROP\s+{_KINDS}\s+{_IF}",
            rf"\bDROP\s+(?:COLUMN\s+|CONSTRAINT\s+)?{_IF}",
            r"\b(?:DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?)\s+([\w.\"$]+)",
        ),
    )
)
"""The same groups in both: kind and name, column or constraint, table of rows."""


def _undoing(text: str) -> Iterator[_Marker]:
    """Headings such as `-- Rollback`, whosever they are, where what stands below takes away what stands above made."""
    for comment in re.finditer(_SAYS_UNDO, text):
        said = " ".join(comment[0].split())
        alone = not text[text.rfind("\n", 0, comment.start()) + 1 : comment.start()].strip()
        if not alone or not re.search(_UNDO, said) or len(said.split()) > _LONGEST:
            continue
        above, below = (without_comments(part) for part in (text[: comment.start()], text[comment.end() :]))
        if _named(_MAKES, above) & _named(_TAKES, below):
            yield _Marker(comment.start(), said, _ANOTHER, "")


def _named(forms: str, text: str) -> set[tuple[str, ...]]:
    found = re.finditer(forms, text, re.IGNORECASE)
    return {tuple((part or "").lower().replace('"', "") for part in each.groups()) for each in found}


def _counts(marker: _Marker, markers: Sequence[_Marker], text: str) -> bool:
    """Whether it is a marker for certain: known tools' are; others are ordinary words without their counterpart."""
    if marker.tool not in (_SQITCH, _ANOTHER):
        return True
    others = [m for m in markers if m.tool == marker.tool]
    pair = [m for m in others if marker.word in _UP_OF.get(m.word, ()) or m.word in _UP_OF.get(marker.word, ())]
    if not pair or marker.tool == _SQITCH:
        return bool(pair)
    first = min(m.at for m in (marker, *pair))
    return not without_comments(text[:first]).strip()


def _refusal(script: Script, marker: _Marker, *, back: bool) -> ScriptError:
    stem = script.file.removesuffix(".rollback.sql").removesuffix(".sql")
    if marker.tool == _LIQUIBASE:
        what = "which keeps changesets and their rollbacks in one file"
        way = "make a migration of each changeset, and its .rollback.sql of what follows --rollback"
    elif back:
        what, way = "and what is below it applies the migration: it would be run too", "keep only what undoes it here"
    else:
        what = "and what is below it undoes the migration: it would be run too"
        way = f"move what is below into {stem}.rollback.sql"
    if marker.tool in _CONVERTED and (not back or marker.tool == _LIQUIBASE):
        way += f", or convert the whole folder: `wmigrate convert --from {marker.tool.lower()} SOURCE DEST`"
    if marker.tool == _ANOTHER:
        way += ", or word the comment otherwise if it is none"
    line = script.text.count("\n", 0, marker.at) + 1
    reason = f"{marker.text} belongs to {marker.tool}, {what}"
    if not marker.word and not back and marker.tool == _ANOTHER:
        reason = f"what is below {marker.text} takes away what is made above it: both would be run"
    return ScriptError(script.file, line, reason, hint=way)
