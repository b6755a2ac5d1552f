"""What a statement does that no ROLLBACK takes back: to the server, to files, to other servers, to sequences. Pure.

Only calls that stand in the statement are seen, not those inside of functions and DO blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from .script import Analysis
from .statements import Statement

_CALLS = (
    r"pg_(?:create|copy)_(?:logical|physical)_replication_slot|pg_drop_replication_slot|pg_replication_slot_advance"
    r"|pg_logical_slot_get_(?:binary_)?changes|pg_sync_replication_slots|pg_switch_(?:wal|xlog)"
    r"|pg_create_restore_point|pg_promote|pg_wal_replay_(?:pause|resume)|pg_reload_conf|pg_rotate_logfile"
    r"|pg_(?:terminate|cancel)_backend|pg_backup_(?:start|stop)|pg_(?:start|stop)_backup|pg_stat_reset\w*"
    r"|pg_stat_statements_reset|pg_file_(?:write|rename|unlink|sync)|lo_export|dblink(?:_exec|_send_query)?|setval"
)
_CALL = re.compile(_CALLS)
_WORTH_LOOKING = re.compile(rf"\b(?:{_CALLS})\b|\bcopy\b", re.IGNORECASE)


class Lasting(Struct, frozen=True):
    """One such effect.

    :param what: in words, for a message.
    :param of_sequence: the names in the argument of setval, one of which is the sequence or its table. None: it is
        something else, and stays in any case. Of a sequence that is new the transaction takes it back.
    """

    statement: Statement
    what: str
    of_sequence: tuple[str, ...] | None = None


def lasting(analysis: Analysis) -> Iterator[Lasting]:
    """The effects of a script that stay although its transaction is rolled back."""
    if not _WORTH_LOOKING.search(analysis.script.text):
        return
    for statement in analysis.statements:
        if statement.data is None and _WORTH_LOOKING.search(text := analysis.text_of(statement)):
            yield from _of(statement, text)


def _of(statement: Statement, text: str) -> Iterator[Lasting]:
    from postgast import parse, walk

    for _, node in walk(parse(text)):
        kind = node.DESCRIPTOR.name
        if kind == "CopyStmt" and not node.is_from and (node.filename or node.is_program):
            yield Lasting(statement, "COPY to a file or a program")
        elif kind == "CopyStmt" and node.is_program:
            yield Lasting(statement, "COPY FROM PROGRAM")
        elif kind == "FuncCall" and _CALL.fullmatch(name := node.funcname[-1].string.sval):
            yield Lasting(statement, f"{name}()", _names(node) if name == "setval" else None)


def _names(call: Any) -> tuple[str, ...]:
    from postgast import walk

    constants = [node for _, node in walk(call.args[0]) if node.DESCRIPTOR.name == "A_Const"] if call.args else []
    return tuple(node.sval.sval for node in constants if node.HasField("sval"))
