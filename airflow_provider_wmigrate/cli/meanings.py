"""What other tools call our verbs and options, for suggestions. Loaded only after a mistake."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from airflow_provider_wmigrate.engine.errors import nearest

_VERBS = {
    "up": "apply deploy execute forward migrate push run sync update upgrade",
    "down": "back backward downgrade revert rewind rollback unapply undo",
    "check": "test validate verify",
    "verify": "prove",
    "lint": "linter squawk sqlfluff",
    "new": "add create gen generate init make revision",
    "status": "current list ls show state",
    "history": "events log logs",
    "plan": "diff pending preview",
    "info": "about env version",
    "health": "doctor monitor",
    "repair": "accept fix forget resolve",
    "baseline": "fake mark stamp",
    "adopt": "takeover take-over",
    "convert": "import transform",
    "export": "dump",
    "graph": "dag deps heads tree",
    "wait": "ping ready",
    "completion": "autocomplete completions",
}

_OPTIONS = {
    "to": "count number revision step steps target-version until upto",
    "dsn": "conn connection connection-string database database-url db target u uri url",
    "folder": "dir directory location locations migrations migrations-dir path",
    "environment": "e env profile stage",
    "env-file": "dotenv envfile",
    "yes": "assume-yes auto-approve f force no-input no-interaction no-prompt noinput non-interactive",
    "dry-run": "check dry n simulate what-if",
    "steps": "count last limit n number step",
    "only": "migration single",
    "jobs": "concurrency j parallel threads workers",
    "migration": "only",
    "limit": "count lines n number tail",
    "since": "after from",
    "before": "cursor offset page",
    "until": "to",
    "actor": "by user who",
    "accept": "ignore skip without",
    "event": "kind type",
    "daily": "per-day stats",
    "reason": "because comment m message",
    "description": "comment m message",
    "depends-on": "after dependency needs requires",
    "templates": "list list-templates",
    "template": "kind t type",
    "set": "param var",
    "format": "o output type",
    "statuses": "status",
    "timeout": "limit seconds t",
    "strict": "fail-on-warning werror",
    "offline": "no-database no-db",
    "verbose": "debug",
    "json": "format o output",
}
"""Without dashes. A word may stand for several; the first one that the verb has is meant."""


def verb_meant(word: str, known: Collection[str]) -> str | None:
    """The verb that somebody most likely meant, also where another tool's word is misspelt."""
    names, word = _names(known, _VERBS), word.lower()
    return names.get(nearest(word, names, alike=0.8) or "") or nearest(word, known)


def option_meant(flag: str, known: Iterable[str]) -> str | None:
    """The option that somebody most likely meant. Dashes do not count: with them `--steps` is much like `--yes`.

    :param known: the options that the verb has.
    """
    own = {option.lstrip("-"): option for option in known if option.startswith("--")}
    word = flag.lstrip("-").lower()
    meant = _names(own, _OPTIONS).get(word) or nearest(word, own)
    return own.get(meant or "")


def _names(known: Iterable[str], called: dict[str, str]) -> dict[str, str]:
    """Every name -> what it is the name of; the first in the table counts."""
    known = set(known)
    others = {name: meant for meant in reversed(called) if meant in known for name in called[meant].split()}
    return others | {name: name for name in known}
