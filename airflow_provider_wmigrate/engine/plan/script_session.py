"""The session of a script that runs statement by statement: what of it a later run must have again. Pure.

It is observed, never guessed from the script: whatever made a setting (SET, set_config, a DO block, a function), the
server says what holds. The grammar serves for one thing only: to refuse less often than one would have to without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.sql.pieces import has_word, without_comments
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement

ROLE, AUTHORIZATION = "role", "session_authorization"


class Possession(Struct, frozen=True):
    """Something that ends with a session.

    :param kind: "temporary table", "prepared statement", "cursor", "channel" (of LISTEN) or "advisory lock".
    :param name: of an advisory lock: classid, objid, objsubid and mode of pg_locks.
    """

    kind: str
    name: str


class Observed(Struct, frozen=True):
    """A session at one moment: every setting made in it, as the server writes it, and what it possesses."""

    settings: Mapping[str, str] = field(default_factory=dict)
    possessions: frozenset[Possession] = frozenset()


class ScriptSession(Struct, frozen=True):
    """What of a session is the script's own: the ledger keeps it until the migration is done.

    :param unsure: settings that may have held for their transaction alone; the runner died before it could look.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    possessions: tuple[Possession, ...] = ()
    unsure: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any] | None:
        """As the ledger keeps it; None: nothing of the session is the script's."""
        if not (self.settings or self.possessions or self.unsure):
            return None
        possessions = [[p.kind, p.name] for p in self.possessions]
        return {"settings": dict(self.settings), "possessions": possessions, "unsure": list(self.unsure)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any] | None) -> ScriptSession:
        kept = kept or {}
        possessions = tuple(Possession(kind, name) for kind, name in kept.get("possessions", ()))
        return cls(dict(kept.get("settings", {})), possessions, tuple(kept.get("unsure", ())))

    def in_order(self) -> list[tuple[str, str]]:
        """The settings in the order in which they can be made again: the role last, since it may take rights away."""
        last = (AUTHORIZATION, ROLE)
        plain = [(name, value) for name, value in self.settings.items() if name not in last]
        return plain + [(name, self.settings[name]) for name in last if name in self.settings]


def of_script(start: Observed, now: Observed, ours: Mapping[str, Iterable[str]]) -> ScriptSession:
    """What the script made of the session that it was given.

    :param start: the session before its first statement.
    :param ours: setting -> the values that we give it ourselves, as limits.
    """
    settings = {
        name: value
        for name, value in sorted(now.settings.items())
        if start.settings.get(name) != value and value not in ours.get(name, ())
    }
    possessions = sorted(now.possessions - start.possessions, key=lambda p: (p.kind, p.name))
    return ScriptSession(settings, tuple(possessions))


def perhaps_local(before: ScriptSession, inside: ScriptSession, statements: Sequence[Statement]) -> tuple[str, ...]:
    """Settings seen inside a transaction of which only its end shows whether they outlive it.

    Not those that a plain SET or set_config of these very statements made, and none for the transaction alone.
    """
    names = before.settings.keys() | inside.settings.keys()
    changed = [name for name in sorted(names) if before.settings.get(name) != inside.settings.get(name)]
    plain, local = _set_by(statements)
    return tuple(name for name in changed if name.lower() not in plain - local)


def _set_by(statements: Iterable[Statement]) -> tuple[set[str], set[str]]:
    """Names that SET, RESET or a SELECT of set_config name: for the session, and for the transaction alone."""
    plain: set[str] = set()
    local: set[str] = set()
    for statement in statements:
        named = _SETTERS.get(statement.kind, _names_nothing)
        for name, is_local in named(statement.node):
            (local if is_local else plain).add(name.lower())
    return plain, local


def _set(node: Any) -> Iterator[tuple[str, bool]]:
    yield node.name, node.is_local


def _selected(node: Any) -> Iterator[tuple[str, bool]]:
    """Calls of set_config that run once and say in constants what they do.

    :param node: None: of a large script, of which no SELECT's tree is kept.
    """
    if (
        node is None
        or node.from_clause
        or any(node.HasField(part) for part in ("where_clause", "having_clause", "limit_count", "limit_offset"))
    ):
        return
    for target in node.target_list:
        call = target.res_target.val.func_call
        if len(call.args) != 3 or call.funcname[-1].string.sval != "set_config":
            continue
        name, how = call.args[0].a_const, call.args[2].a_const
        if name.HasField("sval") and how.HasField("boolval"):
            yield name.sval.sval, how.boolval.boolval


def _names_nothing(_: Any) -> Iterator[tuple[str, bool]]:
    return iter(())


_SETTERS = {"variable_set_stmt": _set, "select_stmt": _selected}


def lacking(analysis: Analysis, version: str, kept: ScriptSession, first: int) -> Finding | None:
    """Why a new session cannot take the old one's place for the statements from `first` on."""
    named = _unsettled(analysis, kept, first)
    if named:
        message = (
            f"statement {first} of migration {version} was the last to run, and it is not known whether"
            f" {', '.join(named)} was set for its transaction alone"
        )
        return _finding(analysis, version, first, message, f"write SET {named[0]} ... before the next statement")
    for possession in kept.possessions:
        needs = _first_that_needs(analysis, possession, first)
        if needs is not None:
            message = (
                f"statement {needs + 1} of migration {version} names {possession.kind} {possession.name}, which is gone"
                " with the session that made it"
            )
            return _finding(analysis, version, needs, message, "make it again in a statement before that one")
    return None


def refused(analysis: Analysis, version: str, name: str, why: str, first: int) -> Finding:
    """The finding for a setting that a new session could not be given. Its value is not told: it may be a secret."""
    message = f"the session of migration {version} cannot be restored: {name} was set by its script, and now: {why}"
    return _finding(analysis, version, first, message, "make that possible again, or settle the migration with repair")


def _finding(analysis: Analysis, version: str, index: int, message: str, next_step: str) -> Finding:
    known = index < len(analysis.statements)
    line = analysis.statements[index].line if known else None
    return Finding("session_lost", message, next_step, version=version, file=analysis.script.file, line=line)


def _unsettled(analysis: Analysis, kept: ScriptSession, first: int) -> list[str]:
    """The unsure settings that the next statements do not make themselves."""
    if not kept.unsure:
        return []
    leading = []
    for statement in analysis.statements[first:]:
        if statement.kind != "variable_set_stmt":
            break
        leading.append(statement)
    plain, _ = _set_by(leading)
    return [name for name in kept.unsure if name.lower() not in plain]


_MAKERS = {
    "temporary table": {"create_stmt", "create_table_as_stmt", "view_stmt", "create_seq_stmt"},
    "prepared statement": {"prepare_stmt"},
    "cursor": {"declare_cursor_stmt"},
}
"""What cannot be made again by anybody but the script: kind -> the statements that do."""


def _first_that_needs(analysis: Analysis, possession: Possession, first: int) -> int | None:
    """The statement that names it, unless one before makes it anew."""
    if possession.kind not in _MAKERS:
        return None
    for index in range(first, len(analysis.statements)):
        statement = analysis.statements[index]
        if has_word(without_comments(analysis.text_of(statement)), possession.name):
            return None if statement.kind in _MAKERS[possession.kind] else index
    return None


_CUSTOM = re.compile(r"(?:set_config|current_setting)\s*\(\s*'(\w+(?:\.\w+)+)'", re.IGNORECASE)


def custom_settings(analysis: Analysis) -> tuple[str, ...]:
    """Settings with a dot in their name, of which no catalog has a list: those that the script names."""
    named = set(_CUSTOM.findall(analysis.script.text))
    named |= {node.name for _, node in analysis.statements.nodes("variable_set_stmt") if "." in node.name}
    return tuple(sorted(named))


def leaves_what_nobody_sees(analysis: Analysis) -> bool:
    """Whether a script may leave something in its session that no statement can take away or show: the next script
    then gets another session.

    That is a custom setting (it never goes away as a whole), a loaded library, what a procedural language keeps, a
    random seed, a connection of dblink. Found by words, since a function that is made here may do it anywhere; one
    word too many costs a connection.
    """
    return analysis.unparsed is not None or bool(_UNSEEN.search(analysis.script.text))


_UNSEEN = re.compile(
    r"\bset_config\b|\bset\s+(?:session\s+|local\s+)?\w+\.\w|\bsetseed\b|\bload\s|\bdblink|\blanguage\s+['\"]?(?!sql\b|plpgsql\b)\w"
    r"|\bextension\b",
    re.IGNORECASE,
)
