"""Heads of the audit log with a signature, to be kept outside the database. Pure.

Who may write everywhere in the database can compute the whole chain again, and it adds up. The signature of an older
head does not fit it then, and cannot be made again without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, Literal, TypeGuard

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from msgspec import Struct
from msgspec.structs import asdict

from airflow_provider_wmigrate.engine.errors import SigningError
from airflow_provider_wmigrate.engine.model import Finding

from .trail import position

Algorithm = Literal["ed25519", "hmac-sha256"]
_HMAC = "hmac-sha256:"
_HOW = (
    "a key is an Ed25519 key in PEM (`openssl genpkey -algorithm ed25519`), its public half (`openssl pkey -pubout`),"
    f" or the line {_HMAC}HEX with at least 64 digits (`openssl rand -hex 32`)"
)


class AuditKey(Struct, frozen=True):
    """A key with which heads are signed or, if it is the public half, only verified."""

    algorithm: Algorithm
    key_id: str
    """Names the key without giving it away: 16 hexadecimal digits."""
    sign: Callable[[bytes], bytes] | None
    """None: it is the public half."""
    accepts: Callable[[bytes, bytes], bool]
    """Whether a signature (the first argument) is that of a text."""


class SignedHead(Struct, frozen=True):
    """What the head of an audit log was at a moment, with a signature over all the other fields."""

    algorithm: str
    at: str
    """When it was signed, in UTC."""
    database: str
    head: str
    """`count:hash`."""
    key_id: str
    schema: str
    """The ledger's."""
    signature: str = ""
    """In Base64."""

    def text(self) -> bytes:
        """What is signed: the fields without the signature as JSON, keys sorted, no spaces, in UTF-8."""
        values = {name: value for name, value in asdict(self).items() if name != "signature"}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def line(self) -> str:
        """The head as a line of a file of signed heads."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_key(text: str, source: str) -> AuditKey:
    """A key from its text.

    :param source: where the text is from, for the message.
    :raises SigningError: it is no such key. What it is instead is not repeated.
    """
    text = text.strip().replace("\\n", "\n")  # a connection's password is one line
    try:
        if text.startswith(_HMAC):
            return _hmac_key(bytes.fromhex(text.removeprefix(_HMAC)))
        if "PUBLIC KEY" in text:
            return _ed25519_key(None, load_pem_public_key(text.encode()))
        private = load_pem_private_key(text.encode(), password=None)
        return _ed25519_key(private, private.public_key())
    except (ValueError, TypeError) as error:
        locked = isinstance(error, TypeError) and "encrypted" in str(error)
        why = "the key has a passphrase" if locked else "there is no key that can be used"
        hint = "write it without one: `openssl pkey -in KEY -out NEW_KEY`" if locked else _HOW
        raise SigningError(f"{source}: {why}", hint=hint) from None


def _hmac_key(secret: bytes) -> AuditKey:
    if len(secret) < 32:
        raise ValueError("too short")

    def sign(text: bytes) -> bytes:
        return hmac.digest(secret, text, "sha256")

    key_id = sign(b"wmigrate key id").hex()[:16]
    return AuditKey("hmac-sha256", key_id, sign, lambda signature, text: hmac.compare_digest(signature, sign(text)))


def _ed25519_key(private: object, public: object) -> AuditKey:
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError("another kind of key")

    def accepts(signature: bytes, text: bytes) -> bool:
        try:
            public.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    key_id = hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]
    return AuditKey("ed25519", key_id, private.sign if isinstance(private, Ed25519PrivateKey) else None, accepts)


def sign_head(key: AuditKey, head: str, *, database: str, schema: str, at: datetime) -> SignedHead:
    """:raises SigningError: the key is a public half."""
    if key.sign is None:
        raise SigningError("the key is a public half, with which nothing can be signed", hint="give the private key")
    moment = at.astimezone(timezone.utc).isoformat(timespec="microseconds")
    unsigned = SignedHead(key.algorithm, moment, database, head, key.key_id, schema)
    values = {**asdict(unsigned), "signature": b64encode(key.sign(unsigned.text())).decode()}
    return SignedHead(**values)


def read_heads(lines: Iterable[str], source: str) -> Iterator[tuple[int, SignedHead]]:
    """The signed heads of a file with the number of their line; lines that are rows of an export are passed over.

    :raises SigningError: a line is neither.
    """
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line) if line.strip() else {"hash": None}
        except ValueError:
            values = None
        if isinstance(values, dict) and "hash" in values:
            continue
        if not _is_signed_head(values):
            hint = "give a file that `audit sign` or `audit export` has written"
            raise SigningError(f"{source}:{number}: this line is no signed head", hint=hint)
        yield number, SignedHead(**values)


def _is_signed_head(values: Any) -> TypeGuard[dict[str, str]]:
    if not isinstance(values, dict) or set(values) != set(SignedHead.__struct_fields__):
        return False
    return all(isinstance(value, str) for value in values.values()) and position(values["head"]) is not None


def unproven(signed: SignedHead, key: AuditKey, source: str, line: int, schema: str) -> Finding | None:
    """Why this signature proves nothing; None: the head was signed with the key.

    :param schema: of the ledger that is looked at.
    """
    if signed.schema != schema:
        reason = f"this head is of a ledger in schema {signed.schema}, not {schema}"
        nxt = "give the file that belongs to this ledger, or the right settings.ledger.schema"
    elif (signed.algorithm, signed.key_id) != (key.algorithm, key.key_id):
        reason = f"this head was signed with the {signed.algorithm} key {signed.key_id}, not with {key.key_id}"
        nxt = "verify it with that key"
    elif not _accepted(signed, key):
        reason = "the signature does not fit: the line was changed after it was signed"
        nxt = "find out who has write access to the file, and take it from a backup"
    else:
        return None
    return Finding("signature_wrong", reason, nxt, file=source, line=line)


def _accepted(signed: SignedHead, key: AuditKey) -> bool:
    try:
        return key.accepts(b64decode(signed.signature, validate=True), signed.text())
    except ValueError:
        return False
