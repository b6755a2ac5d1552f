"""The templates of `new`: what each is for, the words it leaves open, and what the config must say beside it.

Their SQL lies in templates/. A word that nobody can guess must be given: no migration is written that only looks whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

from msgspec import Struct, field

from .failure import UsageError


class Pattern(Struct, frozen=True):
    """:param words: what can be filled in, with what stands there otherwise (None: it must be given); {name}: the
        migration's, without create_.
    :param config: lines for the migration's block in the config."""

    help: str
    words: Mapping[str, str | None] = field(default_factory=dict)
    config: tuple[str, ...] = ()


class Part(Struct, frozen=True):
    """One migration that a template makes.

    :param suffix: of its name, where a template makes several. :param config: more lines for its block in the config.
    :param follows: it needs the one before it, which a config without `dependencies` says.
    """

    suffix: str
    apply: str
    rollback: str | None
    config: tuple[str, ...] = ()
    follows: bool = False


CHANGE_AGGREGATE = "change-aggregate"

_TABLE = {"table": None}
_COLUMN = {**_TABLE, "column": None}
_TIMESCALEDB = ("requires_extensions: [timescaledb]",)
COMMUNITY = ("requires_extensions:", "  - {name: timescaledb, license: timescale}")
"""The Apache edition has neither continuous aggregates nor policies."""
_STEP_BY_STEP = ("transactional:", "  apply: false")
REPEATABLE = (*_STEP_BY_STEP, "repeatable:", "  apply: true")

PATTERNS: Mapping[str, Pattern] = {
    "empty": Pattern("Two scripts to be written."),
    "table": Pattern("A table with a key.", {"table": "{name}"}),
    "column": Pattern("A column, without rewriting the table.", {**_COLUMN, "type": "text"}),
    "not-null": Pattern(
        "NOT NULL in safe steps: a check constraint is added, then validated, then used as the proof.",
        {**_COLUMN, "constraint": "{table}_{column}_not_null"},
        _STEP_BY_STEP,
    ),
    "index-concurrently": Pattern(
        "An index, while others read and write.", {**_COLUMN, "index": "{table}_{column}_idx"}
    ),
    "enum-value": Pattern("A value for an enum type.", {"type": None, "value": None, **_COLUMN}),
    "foreign-key": Pattern(
        "A foreign key: added without looking at the rows, then validated.",
        {**_COLUMN, "references": None, "constraint": "{table}_{column}_fkey"},
        _STEP_BY_STEP,
    ),
    "hypertable": Pattern("A TimescaleDB hypertable.", {"table": "{name}", "chunk": "7 days"}, _TIMESCALEDB),
    "continuous-aggregate": Pattern(
        "A TimescaleDB continuous aggregate with its policy.",
        {"view": "{name}", **_TABLE, "time": "at", "group": "source", "value": "value", "bucket": "1 day"},
        COMMUNITY,
    ),
    CHANGE_AGGREGATE: Pattern(
        "Three migrations that change a TimescaleDB continuous aggregate and keep the buckets whose raw rows are gone."
        " Reads the database.",
        {"aggregate": None},
    ),
    "aggregate-column": Pattern(
        "A column for a TimescaleDB continuous aggregate, filled as far as raw rows go. TimescaleDB 2.28.",
        {"aggregate": None, "column": None, "type": "double precision", "expression": None, "since": None},
        (*_STEP_BY_STEP, "requires_extensions:", '  - {name: timescaledb, min_version: "2.28", license: timescale}'),
    ),
    "backfill": Pattern(
        "Fill a column in batches. Each batch commits.",
        {**_COLUMN, "key": "id", "expression": None, "batch": "5000"},
        REPEATABLE,
    ),
    "view": Pattern("A view, created or replaced.", {"view": "{name}", **_TABLE}),
    "function": Pattern(
        "A function, created or replaced.",
        {"function": "{name}", "arguments": "", "returns": "integer", "body": None},
    ),
}


_ONE_WAY = ("aggregate-column",)
"""TimescaleDB cannot drop a column of an aggregate."""


def check_words(name: str, given: Mapping[str, str]) -> None:
    """:raises UsageError: a word that this template does not have, or one that it needs and that is not given."""
    words = PATTERNS[name].words
    for word in given:
        if word not in words:
            raise UsageError.unknown(f"word of template {name}", word, words)
    missing = [word for word, default in words.items() if default is None and word not in given]
    if missing:
        hint = "give " + " ".join(f"--set {word}=..." for word in missing)
        raise UsageError(f"template {name} needs {' and '.join(missing)}", hint=hint)


def filled_in(name: str, given: Mapping[str, str], *, migration: str, stem: str, description: str) -> Part:
    """The template with its words. One without a rollback script is of a change that has no way back."""
    pattern = PATTERNS[name]
    words = {"name": re.sub(r"^(create|add)_|_table$", "", migration) or migration}
    for word, default in pattern.words.items():
        words[word] = given[word] if word in given else _fill(default or "", _plain(words))
    title = " ".join(description.split())
    words |= {"stem": stem, "title": title, "description": title.replace("'", "''")}
    rollback = template(f"{name}.rollback.sql", **words) if name not in _ONE_WAY else None
    return Part("", template(f"{name}.sql", **words), rollback, pattern.config)


def words_told(pattern: Pattern) -> list[str]:
    """The words as a list shows them: in brackets those that may be left out."""
    return [word if default is None else f"[{word}]" for word, default in pattern.words.items()]


def _plain(words: Mapping[str, str]) -> dict[str, str]:
    """For names made of names: without the schema."""
    return {word: text.rsplit(".", 1)[-1] for word, text in words.items()}


def template(file: str, **words: str) -> str:
    """The text of a file of templates/ with its words filled in."""
    return _fill(files(__package__).joinpath("templates").joinpath(file).read_text(encoding="utf-8"), words)


def _fill(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda match: words[match[1]], text)
