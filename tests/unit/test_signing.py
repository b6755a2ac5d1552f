"""Signed heads of the audit log: two keys whose signatures were computed by hand, and what is no key, head or proof."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from msgspec.structs import asdict, replace

from airflow_provider_wmigrate.engine.errors import SigningError
from airflow_provider_wmigrate.engine.ledger.signing import SignedHead, read_heads, read_key, sign_head, unproven
from airflow_provider_wmigrate.engine.model import Finding


def pem(encryption: KeySerializationEncryption) -> str:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


PRIVATE = pem(NoEncryption())
PUBLIC = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
HMAC = "hmac-sha256:" + "5a" * 32
HEAD = "3:" + "ab" * 32
AT = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1)))
SIGNED = {
    "ed25519": SignedHead(
        "ed25519", "2026-01-31T11:00:00.000000+00:00", "jürgen", HEAD, "56475aa75463474c", "wmigrate",
        "x3Tgyu2iDfMzk6bpuFvabgXZxb8jNMYo3HZz+S/VBoOXBE/T5YhGxDaG1dCYyLwMaCOV6vpyTLJ4QWTHlpxNCQ==",
    ),
    "hmac-sha256": SignedHead(
        "hmac-sha256", "2026-01-31T11:00:00.000000+00:00", "jürgen", HEAD, "f7b49a450613a4b7", "wmigrate",
        "vYYHeU/xRzTMfi/0OhR3lqr8kWHbwzpTWkBAjuJ0ZeQ=",
    ),
}  # fmt: skip
KEYS = {"ed25519": PRIVATE, "hmac-sha256": HMAC}
HOW = (
    "a key is an Ed25519 key in PEM (`openssl genpkey -algorithm ed25519`), its public half (`openssl pkey -pubout`),"
    " or the line hmac-sha256:HEX with at least 64 digits (`openssl rand -hex 32`)"
)


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("written", ["{}", "\n {} \n", "one line"])
def test_a_head_is_signed_and_read_again(algorithm: str, written: str) -> None:
    text = KEYS[algorithm]
    key = read_key(text.replace("\n", "\\n") if written == "one line" else written.format(text), "here")
    signed = SIGNED[algorithm]
    assert sign_head(key, HEAD, database="jürgen", schema="wmigrate", at=AT) == signed
    assert (key.algorithm, key.key_id) == (algorithm, signed.key_id)
    assert unproven(signed, key, "heads", 7, "wmigrate") is None
    values = asdict(signed)
    assert signed.line() == json.dumps(dict(sorted(values.items())), separators=(",", ":"), ensure_ascii=False)
    assert list(read_heads([signed.line()], "heads")) == [(1, signed)]


def test_the_public_half_only_verifies() -> None:
    key, signed = read_key(PUBLIC, "here"), SIGNED["ed25519"]
    assert (key.algorithm, key.key_id, key.sign) == ("ed25519", signed.key_id, None)
    assert unproven(signed, key, "heads", 7, "wmigrate") is None
    with pytest.raises(SigningError) as refused:
        sign_head(key, HEAD, database="d", schema="s", at=AT)
    said = "the key is a public half, with which nothing can be signed; give the private key"
    assert str(refused.value) == said


OTHER = generate_private_key(SECP256R1())
NO_KEYS = {
    "nothing": "",
    "words": "no key",
    "no hex": "hmac-sha256:" + "zz" * 32,
    "short": "hmac-sha256:" + "5a" * 31,
    "another kind": OTHER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    "another kind's public half": OTHER.public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode(),
    "cut off": PUBLIC[:60],
}


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_key_is_not_repeated(text: str) -> None:
    with pytest.raises(SigningError) as refused:
        read_key(text, "here")
    assert str(refused.value) == f"here: there is no key that can be used; {HOW}"


def test_a_key_with_a_passphrase() -> None:
    with pytest.raises(SigningError) as refused:
        read_key(pem(BestAvailableEncryption(b"secret")), "here")
    hint = "write it without one: `openssl pkey -in KEY -out NEW_KEY`"
    assert str(refused.value) == f"here: the key has a passphrase; {hint}"


CHANGED = (
    "the signature does not fit: the line was changed after it was signed",
    "find out who has write access to the file, and take it from a backup",
)


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"database": "other"}, CHANGED),
        ({"head": "2:" + "ab" * 32}, CHANGED),
        ({"at": "2026-01-31T11:00:00.000001+00:00"}, CHANGED),
        ({"signature": "no base64"}, CHANGED),
        ({"signature": ""}, CHANGED),
        (
            {"schema": "other"},
            (
                "this head is of a ledger in schema other, not wmigrate",
                "give the file that belongs to this ledger, or the right settings.ledger.schema",
            ),
        ),
        (
            {"key_id": "0" * 16},
            ("this head was signed with the {0} key 0000000000000000, not with {1}", "verify it with that key"),
        ),
        (
            {"algorithm": "none"},
            ("this head was signed with the none key {1}, not with {1}", "verify it with that key"),
        ),
    ],
)
def test_what_proves_nothing(algorithm: str, changes: dict[str, str], said: tuple[str, str]) -> None:
    key, signed = read_key(KEYS[algorithm], "here"), SIGNED[algorithm]
    reason, nxt = said[0].format(algorithm, key.key_id), said[1]
    expected = Finding("signature_wrong", reason, nxt, "error", None, "heads", 7)
    assert unproven(replace(signed, **changes), key, "heads", 7, "wmigrate") == expected


def test_a_signature_in_base64_with_other_signs_between_is_no_signature() -> None:
    signed = SIGNED["hmac-sha256"]
    changed = replace(signed, signature=f"{signed.signature[:4]}!{signed.signature[4:]}")
    found = unproven(changed, read_key(HMAC, "here"), "heads", 7, "wmigrate")
    assert found == Finding("signature_wrong", *CHANGED, file="heads", line=7)


def test_rows_of_an_export_and_empty_lines_are_passed_over() -> None:
    first, second = SIGNED.values()
    lines = ['{"hash": "ab", "position": 1}', first.line(), "", " \n", second.line() + "\n"]
    assert list(read_heads(lines, "heads")) == [(2, first), (5, second)]


@pytest.mark.parametrize(
    "values",
    [
        "no JSON",
        "[]",
        "null",
        '"hash"',
        "{}",
        json.dumps({**asdict(SIGNED["ed25519"]), "more": "x"}),
        json.dumps({name: value for name, value in asdict(SIGNED["ed25519"]).items() if name != "signature"}),
        json.dumps({**asdict(SIGNED["ed25519"]), "at": 5}),
        json.dumps({**asdict(SIGNED["ed25519"]), "head": "3"}),
    ],
)
def test_a_line_that_is_no_signed_head(values: str) -> None:
    with pytest.raises(SigningError) as refused:
        list(read_heads([SIGNED["ed25519"].line(), values], "heads"))
    hint = "give a file that `audit sign` or `audit export` has written"
    assert str(refused.value) == f"heads:2: this line is no signed head; {hint}"
