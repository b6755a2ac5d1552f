"""audit verify, sign and export: the proof that the audit log is what it was, for us and for others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .call import Answer, Call
from .failure import DONE, FOUND, UsageError
from .screen import Screen, show_findings

if TYPE_CHECKING:
    from psycopg import Connection

    from airflow_provider_wmigrate.engine.ledger.signing import AuditKey, SignedHead
    from airflow_provider_wmigrate.engine.model import Finding

_HEAD = re.compile(r"[0-9]+:[0-9a-f]{64}")
_KEY = "WMIGRATE_AUDIT_KEY"


class _Found(Struct, frozen=True):
    """What one look at the log has shown."""

    findings: list[Finding]
    head: str | None
    signed: list[SignedHead]
    """The heads of the file, each of which the log contains if there is no finding."""


def verify(call: Call) -> Answer:
    """Whether anybody changed the audit log, or what stands beside it."""
    refuse(call, "out")
    key = _key(call)
    if key is not None and call.arguments.key and not call.arguments.heads:
        raise UsageError("--key verifies signed heads, and no file of them is given", hint="give it with --heads")
    with call.session() as session:
        found = _look(call, session.conn, key)
    there = found.head is not None or bool(found.findings)
    data = {**_document(call, found), "expected_head": call.arguments.head}
    data["intact"] = not found.findings if there else None

    def show(screen: Screen) -> None:
        show_findings(screen, found.findings)
        if not there:
            screen.line(f"{call.target} has no ledger in schema {call.ledger.schema}, so there is nothing to verify.")
            screen.line("Nothing was applied here, or the ledger is gone: give the last head you know with --head.")
        elif not found.findings:
            count = (found.head or "").partition(":")[0]
            screen.line(f"The audit log of {call.target} is intact: {count} rows. Keep its head elsewhere:")
            screen.text(found.head or "")
            if found.signed:
                newest = max(found.signed, key=lambda signed: signed.at)
                known = f"all heads of {call.arguments.heads} ({len(found.signed)})"
                screen.line(f"It contains {known}; the newest was signed at {newest.at}.")

    return Answer(data, show, DONE if there and not found.findings else FOUND)


def sign(call: Call) -> Answer:
    """Sign the head of a log that was verified before, and keep the signature in a file."""
    refuse(call, "out", "head")
    key, file = _needed_key(call), call.arguments.heads
    with call.session() as session:
        found = _look(call, session.conn, key, may_begin=True)
        signed = _signed(call, session.conn, found, key)
    if signed is not None and file:
        _append(Path(file), signed.line())

    def show(screen: Screen) -> None:
        show_findings(screen, found.findings)
        if signed is None:
            screen.line("Nothing was signed.")
        elif file:
            screen.line(f"Head {signed.head.partition(':')[0]} of {call.target} was signed; the line is in {file}.")
        else:
            screen.text(signed.line())

    data = {**_document(call, found), "signed_head": signed, "file": file}
    return Answer(data, show, DONE if signed else FOUND)


def export(call: Call) -> Answer:
    """Write every row and the signed heads into a file that others can verify without wmigrate."""
    refuse(call, "head")
    if not call.arguments.out:
        raise UsageError("`audit export` needs a file", hint="give it with --out")
    key, out = _key(call), Path(call.arguments.out)
    with call.session() as session:
        found = _look(call, session.conn, key) if key else _Found([], call.ledger.head(session.conn), _heads(call))
        if found.head is None:
            hint = "nothing was applied here, or the ledger is gone: restore it from a backup"
            raise UsageError(f"{call.target} has no ledger in schema {call.ledger.schema}", hint=hint)
        fresh = [_signed(call, session.conn, found, key)] if key and key.sign and not found.findings else []
        signed = [*found.signed, *(head for head in fresh if head)]
        rows = 0 if found.findings else _write(call, session.conn, out, signed)

    def show(screen: Screen) -> None:
        show_findings(screen, found.findings)
        if found.findings:
            screen.line("Nothing was written. Without a key the log is exported as it is.")
        else:
            screen.line(f"{rows} rows of the audit log of {call.target} and {len(signed)} signed heads are in {out}.")

    written = None if found.findings else {"file": str(out), "rows": rows, "signed_heads": len(signed)}
    return Answer({**_document(call, found), "written": written}, show, FOUND if found.findings else DONE)


def refuse(call: Call, *options: str) -> None:
    """:raises UsageError: one is given that belongs to another action."""
    for option in options:
        if getattr(call.arguments, option):
            belongs = "export" if option == "out" else "verify"
            raise UsageError(f"--{option} belongs to `audit {belongs}`")


def _look(call: Call, conn: Connection[Any], key: AuditKey | None, *, may_begin: bool = False) -> _Found:
    """:param may_begin: the file of signed heads need not be there yet."""
    head = call.arguments.head
    if head is not None and not _HEAD.fullmatch(head):
        raise UsageError("--head is not COUNT:HASH", hint="copy `audit_head` from a report or from `wmigrate info`")
    file = call.arguments.heads
    numbered = _numbered_heads(file) if file and not (may_begin and not Path(file).exists()) else []
    if numbered and key is None:
        raise UsageError(f"signed heads can be verified only with the key: give --key, or set {_KEY}")
    findings = list(call.ledger.verify(conn, expected_head=head))
    findings += _of_signed(call, conn, numbered, key, file) if key else ()
    return _Found(findings, call.ledger.head(conn), [signed for _, signed in numbered])


def _of_signed(
    call: Call, conn: Connection[Any], numbered: Sequence[tuple[int, SignedHead]], key: AuditKey, file: str
) -> Iterable[Finding]:
    from msgspec.structs import replace

    from airflow_provider_wmigrate.engine.ledger.signing import unproven

    others = call.ledger.contradictions(conn, [signed.head for _, signed in numbered])
    for (line, signed), other in zip(numbered, others, strict=True):
        found = unproven(signed, key, file, line, call.ledger.schema)
        found = found or (replace(other, file=file, line=line) if other else None)
        if found:
            yield found


def _signed(call: Call, conn: Connection[Any], found: _Found, key: AuditKey) -> SignedHead | None:
    from airflow_provider_wmigrate.engine.ledger.signing import sign_head

    if found.findings:
        return None
    if found.head is None:
        raise UsageError(
            f"{call.target} has no ledger in schema {call.ledger.schema}, so there is no head to sign",
            hint="apply a migration first",
        )
    now = datetime.now(timezone.utc)
    return sign_head(key, found.head, database=conn.info.dbname, schema=call.ledger.schema, at=now)


# Files


def _key(call: Call) -> AuditKey | None:
    from airflow_provider_wmigrate.engine.ledger.signing import read_key

    if call.arguments.key:
        return read_key(_read(call.arguments.key, "--key"), call.arguments.key)
    text = call.environ.get(_KEY)
    return read_key(text, _KEY) if text else None


def _needed_key(call: Call) -> AuditKey:
    key = _key(call)
    if key is None:
        hint = f"give its file with --key, or set {_KEY}; `openssl genpkey -algorithm ed25519` makes one"
        raise UsageError("a key is needed to sign", hint=hint)
    return key


def _heads(call: Call) -> list[SignedHead]:
    return [signed for _, signed in _numbered_heads(call.arguments.heads)] if call.arguments.heads else []


def _numbered_heads(file: str) -> list[tuple[int, SignedHead]]:
    from airflow_provider_wmigrate.engine.ledger.signing import read_heads

    found = list(read_heads(_read(file, "--heads").splitlines(), file))
    if not found:
        raise UsageError(f"{file} has no signed head", hint="`audit sign --heads FILE` writes one")
    return found


def _read(file: str, option: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint=f"correct {option}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8", hint=f"correct {option}") from None


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def _write(call: Call, conn: Connection[Any], out: Path, signed: Sequence[SignedHead]) -> int:
    """All of it or nothing: a file that is cut off would look like a log that is."""
    rows = 0
    begun = out.with_name(f"{out.name}.part")
    try:
        with begun.open("w", encoding="utf-8") as file:
            for row in call.ledger.export(conn):
                file.write(f"{row.line()}\n")
                rows += 1
            file.writelines(f"{head.line()}\n" for head in signed)
        begun.replace(out)
    except BaseException:
        begun.unlink(missing_ok=True)
        raise
    return rows


# Words


def _document(call: Call, found: _Found) -> dict[str, Any]:
    return {
        "target": call.target_document(),
        "intact": not found.findings,
        "audit_head": found.head,
        "findings": found.findings,
    }
