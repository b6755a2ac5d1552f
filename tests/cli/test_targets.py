"""What names the target: an option, the environment, a .env file or the config. One counts; no password is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

Wmigrate = Callable[..., Any]
SECRET = "s3cret"


@pytest.fixture
def bare(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose target nothing names."""
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE"):
        monkeypatch.delenv(name)
    return shop


@pytest.fixture
def url(pg_environment: Mapping[str, str]) -> str:
    given = pg_environment
    return f"postgresql://{given['PGUSER']}:{SECRET}@{given['PGHOST']}:{given['PGPORT']}/{given['PGDATABASE']}"


def source(wmigrate: Wmigrate, *words: str) -> str:
    data = wmigrate("status", "--json", *words).json
    assert "error" not in data, data
    return str(data["target"]["source"])


def test_a_url_in_the_environment(bare: Path, wmigrate: Wmigrate, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in (url, url.replace("postgresql:", "postgres:"), url.replace("postgresql:", "postgresql+psycopg2:")):
        monkeypatch.setenv("DATABASE_URL", written)
        result = wmigrate("status", "-v")
        assert (result.code, result.err.endswith(" as postgres (from DATABASE_URL)\n")) == (0, True)
        assert SECRET not in result.out + result.err
        assert SECRET not in wmigrate("info").out + wmigrate("info", "--json").out


def test_a_file_in_the_working_directory(bare: Path, wmigrate: Wmigrate, url: str) -> None:
    Path(".env").write_text(f"# of this project\nexport OTHER='x'\nDATABASE_URL=\"{url}\"\n")
    assert source(wmigrate) == "DATABASE_URL of .env"
    info = wmigrate("info")
    assert re.search(r"^env file +\.env$", info.out, re.MULTILINE)
    assert SECRET not in info.out
    assert wmigrate("status", "--no-env-file").code == 2
    Path(".env").rename("local.env")
    assert wmigrate("status").code == 2
    assert source(wmigrate, "--env-file", "local.env") == "DATABASE_URL of local.env"


def test_a_file_with_variables_of_libpq(bare: Path, wmigrate: Wmigrate, pg_environment: Mapping[str, str]) -> None:
    lines = [f"{name}={value}" for name, value in pg_environment.items()]
    Path(".env").write_text("\n".join([*lines, f"PGPASSWORD={SECRET}", "PGAPPNAME=mine", "UNRELATED=1"]))
    assert source(wmigrate) == "PGHOST, PGDATABASE of .env"


def test_a_url_made_of_other_variables(bare: Path, wmigrate: Wmigrate, pg_environment: Mapping[str, str]) -> None:
    lines = [f"{name.replace('PG', 'DB_')}={value}" for name, value in pg_environment.items()]
    Path(".env").write_text(
        "\n".join([*lines, "DATABASE_URL=postgresql://${DB_USER}@${DB_HOST}:${DB_PORT}/${DB_DATABASE}"])
    )
    assert source(wmigrate) == "DATABASE_URL of .env"


def test_the_config_takes_its_variables_from_the_file(
    bare: Path, wmigrate: Wmigrate, pg_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "migration_config.yaml").write_text(
        "settings:\n  database: {host: '${SHOP_HOST}', name: '${SHOP_NAME}', user: postgres}\n"
    )
    Path(".env").write_text(f"SHOP_HOST=127.0.0.1\nSHOP_NAME=wrong\nPGPORT={pg_environment['PGPORT']}\n")
    monkeypatch.setenv("SHOP_NAME", pg_environment["PGDATABASE"])  # that of the process counts
    assert source(wmigrate) == "settings.database of migration_config.yaml"


def test_the_first_source_counts_and_the_others_are_told(
    bare: Path, wmigrate: Wmigrate, url: str, pg_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the last to the first; each hides those before it."""
    wrong = "postgresql://nobody@127.0.0.1:1/none"
    here = "host: 127.0.0.1, port: '{PGPORT}', user: postgres, name: '{PGDATABASE}'".format(**pg_environment)
    config = bare / "migration_config.yaml"
    config.write_text("settings:\n  database: {" + here + "}\n")
    assert source(wmigrate) == "settings.database of migration_config.yaml"
    config.write_text("settings:\n  database: {host: 127.0.0.1, port: '1'}\n")
    right = "".join(f"{name}={value}\n" for name, value in pg_environment.items())
    Path(".env").write_text(right)
    assert source(wmigrate) == "PGHOST, PGDATABASE of .env"
    Path(".env").write_text(f"PGHOST=127.0.0.1\nPGDATABASE=none\nDATABASE_URL={url}\n")
    assert source(wmigrate) == "DATABASE_URL of .env"
    Path(".env").write_text(f"PGHOST=127.0.0.1\nDATABASE_URL={wrong}\nPGUSER=nobody\n")
    for name, value in pg_environment.items():
        monkeypatch.setenv(name, value)
    assert source(wmigrate) == "PGHOST, PGDATABASE"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("PGDATABASE", "none")
    assert source(wmigrate) == "DATABASE_URL"
    monkeypatch.setenv("DATABASE_URL", wrong)
    assert source(wmigrate, "--dsn", url) == "--dsn"
    told = wmigrate("info", "--json", "--dsn", url).json
    assert (told["target"]["source"], told["env_file"]) == ("--dsn", ".env")
    assert told["passed_over"] == [
        "DATABASE_URL",
        "PGHOST, PGDATABASE",
        "DATABASE_URL of .env",
        "PGHOST of .env",
        "settings.database of migration_config.yaml",
    ]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("A=1\n\nDATABASE_URL='s3cret\nB=2\n", ".env:3", "is not NAME=VALUE, or has a quote that is not closed"),
        ("s3cret or so\n", ".env:1", "is not NAME=VALUE, or has a quote that is not closed"),
        ("A=1\nB=\xff\n".encode("latin-1"), ".env:2", "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read(
    bare: Path, wmigrate: Wmigrate, url: str, text: str | bytes, place: str, reason: str
) -> None:
    Path(".env").write_bytes(text if isinstance(text, bytes) else text.encode())
    result = wmigrate("status", "-v")
    way_out = "correct it, or leave the file out with --no-env-file"
    assert (result.code, result.out, result.err) == (2, "", f"wmigrate: {place}: {reason}; {way_out}\n")
    error = wmigrate("status", "--json").json["error"]
    assert (error["code"], f"{error['file']}:{error['line']}") == ("env_file_error", place)
    # whoever needs nothing of it is not kept from working
    assert wmigrate("check", "--offline").code == 0
    assert wmigrate("status", "--dsn", url).code == 0
    assert wmigrate("status", "--no-env-file").err.startswith(
        "wmigrate: no target is named; give --dsn, or set DATABASE"
    )


def test_a_file_that_may_not_be_read_or_is_none(bare: Path, wmigrate: Wmigrate) -> None:
    Path(".env").mkdir()  # a virtual environment
    assert wmigrate("status").err.startswith("wmigrate: no target is named;")
    missing = wmigrate("status", "--env-file", "nope")
    assert (missing.code, missing.err) == (
        2,
        "wmigrate: nope: there is no such file; correct --env-file, or leave it out\n",
    )
    both = wmigrate("status", "--env-file", ".env", "--no-env-file")
    assert (both.code, both.err) == (
        2,
        "wmigrate: --env-file and --no-env-file contradict each other; leave one out\n",
    )


@pytest.mark.parametrize(
    "written", ["mysql://ann:s3cret@h/x", "sqlite:///s3cret.db", "s3cret", "postgresql://a@s3cret@h"]
)
@pytest.mark.parametrize("where", ["DATABASE_URL", "DATABASE_URL of .env"])
def test_a_url_of_something_else(
    bare: Path, wmigrate: Wmigrate, where: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "DATABASE_URL":
        monkeypatch.setenv("DATABASE_URL", written)
    else:
        Path(".env").write_text(f"DATABASE_URL={written}\n")
    result = wmigrate("status")
    assert (result.code, result.out, result.err) == (
        2,
        "",
        f"wmigrate: {where} cannot be read as a PostgreSQL URL or as key=value pairs; write postgresql://user@host:port/"
        "name, and special characters of a password as %XX\n",
    )


def test_what_named_a_target_that_does_not_answer(
    bare: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ann:{SECRET}@127.0.0.1:1/x")
    result = wmigrate("up", "-v")
    assert (result.code, result.err) == (
        1,
        "target: from DATABASE_URL\n"
        'wmigrate: no connection to the target database: connection to server at "127.0.0.1", port 1 failed: Connection'
        " refused\n",
    )


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ("nowhere.invalid", "host nowhere.invalid cannot be resolved ("),
        ("one.invalid,two.invalid", "host one.invalid,two.invalid cannot be resolved ("),
        (
            "127.0.0.1,127.0.0.1",
            'port 1 failed: Connection refused; connection to server at "127.0.0.1", port 2 failed',
        ),
    ],
)
def test_every_host_is_named(bare: Path, wmigrate: Wmigrate, hosts: str, told: str) -> None:
    ports = "1,2" if "," in hosts else "1"
    result = wmigrate("status", "--dsn", f"host={hosts} port={ports} dbname=x password={SECRET}")
    assert result.code == 1
    assert told in result.err
    assert result.err.endswith("; correct the host's name, or have this machine resolve it\n") == ("invalid" in hosts)
    assert "Errno" not in result.err
    assert SECRET not in result.err
