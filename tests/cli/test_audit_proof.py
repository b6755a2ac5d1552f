"""A superuser can compute the whole chain again; signed heads that are kept elsewhere show it, without wmigrate too."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from airflow_provider_wmigrate.engine.ledger.audit_log import AuditLog

ROOT = Path(__file__).resolve().parents[2]
Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]


@pytest.fixture(params=["ed25519", "hmac-sha256"])
def key(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / "audit.key"
    if request.param == "ed25519":
        private = Ed25519PrivateKey.generate()
        file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / "audit.pub").write_bytes(public)
    else:
        file.write_text("hmac-sha256:" + "5a" * 32 + "\n")
        (tmp_path / "audit.pub").write_text(file.read_text())
    return file


@pytest.fixture
def public(key: Path) -> Path:
    return key.with_name("audit.pub")


def compute_again(conn: Conn) -> None:
    """As somebody does who may do everything and knows the form: another actor, and a chain that adds up."""
    log = AuditLog("wmigrate")
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER")
    conn.execute("UPDATE wmigrate.audit_log SET actor = 'bob@laptop'")
    previous = "0" * 64
    for row in list(log.rows(conn)):
        conn.execute("UPDATE wmigrate.audit_log SET previous_hash = %s WHERE position = %s", [previous, row.position])
        previous = next(iter(log.rows(conn, after=row.position - 1, limit=1))).computed_hash()
        conn.execute("UPDATE wmigrate.audit_log SET hash = %s WHERE position = %s", [previous, row.position])
    head = f"{row.position}:{previous}"
    conn.execute("UPDATE wmigrate.application_metadata SET value = %s WHERE key = 'audit_head'", [head])
    conn.execute("ALTER TABLE wmigrate.audit_log ENABLE TRIGGER USER")


def signed(wmigrate: Wmigrate, key: Path, heads: str = "heads.jsonl") -> Any:
    done = wmigrate("audit", "sign", "--key", str(key), "--heads", heads, "--json")
    assert done.code == 0, done
    return done.json["signed_head"]


def test_a_chain_that_was_computed_again_is_found(
    shop: Path, wmigrate: Wmigrate, conn: Conn, key: Path, public: Path
) -> None:
    wmigrate("up", "--yes", "--to", "1")
    first = signed(wmigrate, key)
    wmigrate("up", "--yes")
    signed(wmigrate, key)
    verified = wmigrate("audit", "verify", "--key", str(public), "--heads", "heads.jsonl")
    assert verified.code == 0
    assert verified.out.splitlines()[-1].startswith(
        "It contains all heads of heads.jsonl (2); the newest was signed at 20"
    )

    compute_again(conn)
    # As entries agree with nobody's name but the log's, the actor there is all that was changed.
    assert [f["code"] for f in wmigrate("audit", "verify", "--json").json["findings"]] == []
    found = wmigrate("audit", "verify", "--key", str(public), "--heads", "heads.jsonl", "--json")
    findings = found.json["findings"]
    assert (found.code, found.json["intact"]) == (3, False)
    assert [(f["code"], f["file"], f["line"]) for f in findings] == [
        ("audit_chain_broken", "heads.jsonl", 1),
        ("audit_chain_broken", "heads.jsonl", 2),
    ]
    assert findings[0]["message"].endswith(f"and the known head is {first['head']}")
    before = Path("heads.jsonl").read_text()
    again = wmigrate("audit", "sign", "--key", str(key), "--heads", "heads.jsonl")
    assert (again.code, again.out.splitlines()[-1]) == (3, "Nothing was signed.")
    assert Path("heads.jsonl").read_text() == before
    exported = wmigrate("audit", "export", "--key", str(key), "--heads", "heads.jsonl", "--out", "log.jsonl")
    assert exported.code == 3
    assert exported.out.splitlines()[-1] == "Nothing was written. Without a key the log is exported as it is."
    assert not Path("log.jsonl").exists()
    kept = wmigrate("audit", "export", "--heads", "heads.jsonl", "--out", "log.jsonl", "--json").json["written"]
    assert kept["signed_heads"] == 2  # the evidence


def test_a_line_that_was_changed_after_it_was_signed(shop: Path, wmigrate: Wmigrate, key: Path) -> None:
    wmigrate("up", "--yes")
    values = signed(wmigrate, key)
    other = "0" * 15 + ("1" if values["key_id"][-1] != "1" else "2")
    lines = [{**values, "at": "2020-01-01T00:00:00.000000+00:00"}, {**values, "key_id": other}]
    lines += [{**values, "schema": "other"}, {**values, "signature": "no base64"}]
    Path("heads.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = wmigrate("audit", "verify", "--key", str(key), "--heads", "heads.jsonl", "--json").json["findings"]
    changed = "the signature does not fit: the line was changed after it was signed"
    assert [(f["code"], f["line"], f["message"]) for f in found] == [
        ("signature_wrong", 1, changed),
        (
            "signature_wrong",
            2,
            f"this head was signed with the {values['algorithm']} key {other}, not with {values['key_id']}",
        ),
        ("signature_wrong", 3, "this head is of a ledger in schema other, not wmigrate"),
        ("signature_wrong", 4, changed),
    ]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The one in the guide."""
    text = (ROOT / "docs" / "how-to" / "prove-the-audit-log.md").read_text()
    (found,) = re.findall(r'```python\n("""python verify_export\.py.*?)```', text, re.S)
    assert found.count("\n") <= 60
    file = tmp_path / "verify_export.py"
    file.write_text(found)
    return file


def run(program: Path, *words: object) -> tuple[int, str]:
    command = [sys.executable, "-I", str(program), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_others_verify_an_export_without_wmigrate(
    shop: Path, wmigrate: Wmigrate, conn: Conn, key: Path, public: Path, program: Path
) -> None:
    wmigrate("up", "--yes", "--to", "1")
    signed(wmigrate, key)
    wmigrate("up", "--yes")
    done = wmigrate("audit", "export", "--key", str(key), "--heads", "heads.jsonl", "--out", "log.jsonl")
    rows = conn.execute("SELECT count(*) FROM wmigrate.audit_log").fetchone()
    assert done.code == 0
    assert rows
    database = conn.info.dbname
    assert re.fullmatch(
        rf"{rows[0]} rows of the audit log of .*{database}.* and 2 signed heads are in log\.jsonl\.",
        done.out.replace("\n", " ").strip(),
    )
    code, told = run(program, "log.jsonl", public)
    assert (code, told) == (0, f"{rows[0]} rows, 2 signed heads: nothing was changed up to row {rows[0]}\n")

    lines = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    # A row is changed, cut out, and the whole chain is computed again.
    Path("bad.jsonl").write_text("".join(json.dumps({**line, "actor": "bob"}) + "\n" for line in lines))
    assert run(program, "bad.jsonl", public) == (1, "row 1 was changed\n")
    Path("bad.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines if line.get("position") != 2))
    assert run(program, "bad.jsonl", public) == (1, "row 2 is gone or out of place\n")
    compute_again(conn)
    Path("bad.jsonl").unlink()
    wmigrate("audit", "export", "--heads", "heads.jsonl", "--out", "bad.jsonl")
    head = lines[-2]["head"]
    assert run(program, "bad.jsonl", public) == (1, f"the chain does not contain the signed head {head}\n")
    # A signature cannot be made without the key, and rows without any signature prove nothing.
    forged = [json.loads(line) for line in Path("bad.jsonl").read_text().splitlines()]
    rows_only, last = forged[:-1], forged[-1]
    row = next(line for line in rows_only if line["position"] == int(head.partition(":")[0]))
    last["head"] = f"{row['position']}:{row['hash']}"
    Path("bad.jsonl").write_text("".join(json.dumps(line) + "\n" for line in forged))
    assert run(program, "bad.jsonl", public) == (1, f"a signature does not fit: {last['at']}\n")
    Path("bad.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows_only))
    assert run(program, "bad.jsonl", public) == (1, "there is no signed head: nothing is proven\n")


def test_the_key_in_the_environment(shop: Path, wmigrate: Wmigrate, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wmigrate("up", "--yes")
    monkeypatch.setenv("WMIGRATE_AUDIT_KEY", key.read_text().replace("\n", "\\n"))
    line = wmigrate("audit", "sign").out
    assert json.loads(line)["database"].startswith("test_")
    Path("heads.jsonl").write_text(line)
    assert wmigrate("audit", "verify", "--heads", "heads.jsonl").code == 0
    assert wmigrate("audit", "verify").code == 0


HOW = (
    "a key is an Ed25519 key in PEM (`openssl genpkey -algorithm ed25519`), its public half (`openssl pkey -pubout`),"
    " or the line hmac-sha256:HEX with at least 64 digits (`openssl rand -hex 32`)"
)
SET = "give its file with --key, or set WMIGRATE_AUDIT_KEY; `openssl genpkey -algorithm ed25519` makes one"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sign"], f"a key is needed to sign; {SET}"),
        (["sign", "--key", "gone"], "gone: No such file or directory; correct --key"),
        (["sign", "--key", "bad.key"], f"bad.key: there is no key that can be used; {HOW}"),
        (["sign", "--key", "short.key"], f"short.key: there is no key that can be used; {HOW}"),
        (
            ["sign", "--key", "public.key"],
            "the key is a public half, with which nothing can be signed; give the private key",
        ),
        (["sign", "--head", "1:" + "0" * 64, "--key", "good.key"], "--head belongs to `audit verify`"),
        (
            ["verify", "--key", "good.key"],
            "--key verifies signed heads, and no file of them is given; give it with --heads",
        ),
        (
            ["verify", "--heads", "good.jsonl"],
            "signed heads can be verified only with the key: give --key, or set WMIGRATE_AUDIT_KEY",
        ),
        (
            ["verify", "--key", "good.key", "--heads", "bad.jsonl"],
            "bad.jsonl:1: this line is no signed head; give a file that `audit sign` or `audit export` has written",
        ),
        (
            ["verify", "--key", "good.key", "--heads", "empty.jsonl"],
            "empty.jsonl has no signed head; `audit sign --heads FILE` writes one",
        ),
        (["export"], "`audit export` needs a file; give it with --out"),
        (["export", "--out", "no-folder/log"], "no-folder/log.part: No such file or directory"),
        (["show", "--key", "good.key"], "--key belongs to `audit verify`"),
        (["show", "--out", "x"], "--out belongs to `audit export`"),
    ],
)
def test_wrong_input(shop: Path, wmigrate: Wmigrate, words: list[str], told: str) -> None:
    wmigrate("up", "--yes", "--to", "1")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    Path("good.key").write_bytes(pem)
    Path("public.key").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    Path("bad.key").write_bytes(pem[:-40])
    Path("short.key").write_text("hmac-sha256:5a5a")
    Path("empty.jsonl").write_text("\n")
    Path("bad.jsonl").write_text('{"head": "1:zz"}\n')
    wmigrate("audit", "sign", "--key", "good.key", "--heads", "good.jsonl")
    done = wmigrate("audit", *words)
    assert (done.code, done.err) == (2 if "no-folder" not in told else 1, f"wmigrate: {told}\n")


def test_where_there_is_no_ledger_nothing_is_signed_or_exported(shop: Path, wmigrate: Wmigrate) -> None:
    Path("k").write_text("hmac-sha256:" + "5a" * 32)
    for words in (["sign", "--key", "k"], ["export", "--out", "x"]):
        done = wmigrate("audit", *words)
        assert done.code == 2
        assert "has no ledger in schema wmigrate" in done.err
    assert not Path("x").exists()
