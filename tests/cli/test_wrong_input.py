"""Whatever is typed wrong is answered with one sentence that helps, and never with a password."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from terminal import COMMAND

from airflow_provider_wmigrate.cli import meanings
from airflow_provider_wmigrate.cli.arguments import WMIGRATE
from airflow_provider_wmigrate.cli.call import find_folder
from airflow_provider_wmigrate.cli.meanings import option_meant
from airflow_provider_wmigrate.cli.verbs import VERBS, options

Wmigrate = Callable[..., Any]
SECRET = "s3cret"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["rollback"], 2, "unknown verb rollback; did you mean down?"),
        (["Rolback", "1"], 2, "unknown verb Rolback; did you mean down?"),
        (["statsu"], 2, "unknown verb statsu; did you mean status?"),
        (["zzz"], 2, "unknown verb zzz; known: status, plan, up,"),
        (["status", "--foldr", "x"], 2, "wmigrate: status has no option --foldr; did you mean --folder?"),
        (["--foldr=x", "status"], 2, "wmigrate: status has no option --foldr; did you mean --folder?"),
        (["--jsn"], 2, "wmigrate: there is no option --jsn; did you mean --json?"),
        (["up", "--qqq"], 2, "wmigrate: up has no option --qqq; see `wmigrate up --help`"),
        (
            ["up", "3"],
            2,
            "more words than expected: 3; a version is given as `up --to 3`, `down 3` or `history --migration 3`",
        ),
        (["status", "extra"], 2, "more words than expected: extra; see `wmigrate --help`"),
        (["down"], 2, "give one of these: the version to go back to, --steps or --only;"),
        (["down", "--to", "1"], 2, "down has no option --to; write the version without an option: `wmigrate down 003`"),
        (["down", "12", "--yes"], 2, "no migration 12 in this folder; the newest one is 003"),
        (["up", "--to", "0o2"], 2, "no migration 0o2 in this folder; did you mean 002?"),
        (
            ["up", "--to", ""],
            2,
            "wmigrate: --to is empty; is a variable not set? write a value, or leave the option out",
        ),
        (["down", "", "--yes"], 2, "wmigrate: VERSION is empty; is a variable not set?"),
        (["up", "--environment", " "], 2, "wmigrate: --environment is empty; is a variable not set?"),
        (["check", "--since="], 2, "wmigrate: --since is empty; is a variable not set?"),
        (["--folder", "", "status"], 2, "wmigrate: --folder is empty; is a variable not set?"),
        (["history", "--event", ""], 2, "wmigrate: --event is empty; is a variable not set?"),
        (["audit", "verify", "--key", ""], 2, "wmigrate: --key is empty; is a variable not set?"),
        (["plan", "--to", "-1"], 2, "no migration -1 in this folder; the newest one is 003"),
        (["--folder", "nope", "status"], 2, "nope: there is no such folder; correct --folder"),
        (["--folder", "file", "status"], 2, "file: is not a folder; correct --folder"),
        (["status", "--environment", "prd"], 2, "unknown environment prd; did you mean prod?"),
        (["history", "--environment", "prd"], 2, "unknown environment prd; did you mean prod?"),
        (["history", "--event", "aplied"], 2, "unknown event aplied; did you mean applied?"),
        (["audit", "--event", "x"], 2, "unknown event x; known: "),
        (["down", "-2"], 2, "-2 is not a version; for the last ones write `down --steps 2`"),
        (["history", "--limit", "0"], 2, "--limit: 0 is not a whole number above 0;"),
        (["history", "--limit", "many"], 2, "--limit: many is not a whole number above 0;"),
        (["history", "--since", "yesterday"], 2, "--since yesterday is not a time; write 2026-01-31,"),
        (["history", "--until", "999999w"], 2, "--until 999999w is not a time;"),
        (["history", "--migration", "two"], 2, "no migration two in"),
        (["audit", "verfy"], 2, "unknown action verfy; did you mean verify?"),
        (["audit", "--head", "1:x"], 2, "--head belongs to `audit verify`"),
        (["audit", "verify", "--head", "1:x"], 2, "--head is not COUNT:HASH;"),
        (["graph", "--format", "dott"], 2, "unknown format dott; did you mean dot?"),
        (["new"], 2, "a new migration needs a name;"),
        (["new", "add_email", "--template", "tabel"], 2, "unknown template tabel; did you mean table?"),
        (
            ["new", "add_email", "--template", "column", "--set", "tabel=x"],
            2,
            "unknown word of template column tabel; did",
        ),
        (["new", "add_email", "--set", "table"], 2, "--set table is not WORD=TEXT"),
        (["new", "Ünï"], 2, "Ünï is not a name for a migration;"),
        (["new", "../x"], 2, "../x is not a name for a migration;"),
        (["new", "x", "--depends-on", "9"], 2, "no migration 9 in this folder; the newest one is 003"),
        (["completion", "tcsh"], 2, "unknown shell tcsh;"),
        (["completion"], 2, "shell is missing; see"),
        (["convert"], 2, "--from, SOURCE, DEST are missing; see `wmigrate convert --help`"),
        (["new", "x", "--set", "a=b"], 2, "unknown word of template empty a; none is declared: leave it out"),
        (["repair", "1"], 2, "a repair needs one decision, 0 are given; one of --accept, --done,"),
        (["repair", "1", "--done", "--ran"], 2, "a repair needs one decision, 2 are given;"),
    ],
)
def test_words(shop: Path, wmigrate: Wmigrate, words: list[str], code: int, sentence: str) -> None:
    (shop / "migration_config.yaml").write_text("environments:\n  prod: {}\n")
    Path("file").touch()
    result = wmigrate(*words)
    assert result.code == code, result
    assert sentence in result.err
    assert (result.out, result.err.count("\n")) == ("", 1)
    assert result.err.startswith("wmigrate: ")
    told = wmigrate("--json", *words)
    assert told.code == code
    assert told.json["error"]["exit_code"] == code
    assert sentence.removeprefix("wmigrate: ") in told.json["error"]["message"]
    assert told.json["error"]["code"] in ("usage_error", "unknown_version")


@pytest.mark.parametrize(
    ("meant", "words"),
    [
        ("down", "rollback undo revert downgrade UNDO"),
        ("up", "migrate apply deploy update upgrade run"),
        ("check", "validate test"),
        ("new", "create generate make add"),
        ("status", "list ls"),
        ("history", "log"),
        ("baseline", "stamp"),
        ("repair", "resolve"),
    ],
)
def test_another_tools_verb_is_understood(wmigrate: Wmigrate, meant: str, words: str) -> None:
    for word in words.split():
        result = wmigrate(word)
        assert (result.code, result.out) == (2, "")
        assert result.err == f"wmigrate: unknown verb {word}; did you mean {meant}?\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("up --dryrun", "--dry-run"),
        ("up --force", "--yes"),
        ("up --yess", "--yes"),
        ("up --no-input", "--yes"),
        ("up --parallel 3", "--jobs"),
        ("up --steps 1", "--to"),
        ("up --until 3", "--to"),
        ("down --step 1", "--steps"),
        ("down --count 1", "--steps"),
        ("down --stepps 1", "--steps"),
        ("status --url x", "--dsn"),
        ("status --env prod", "--environment"),
        ("status --dir x", "--folder"),
        ("plan --output json", "--json"),
        ("history -n 3", "--limit"),
        ("new x --message y", "--description"),
        ("repair 1 -m y", "--reason"),
    ],
)
def test_another_tools_option_is_understood(wmigrate: Wmigrate, words: str, meant: str) -> None:
    verb, *_ = words.split()
    flag = next(word for word in words.split() if word.startswith("-"))
    result = wmigrate(*words.split())
    assert (result.code, result.out) == (2, "")
    assert result.err == f"wmigrate: {verb} has no option {flag}; did you mean {meant}?\n"


def test_every_suggestion_is_a_word_of_the_command() -> None:
    assert set(meanings._VERBS) <= {verb.name for verb in VERBS}
    flags = {flag for verb in VERBS for argument in options(verb, WMIGRATE) for flag in argument.flags}
    assert {f"--{name}" for name in meanings._OPTIONS} <= flags
    assert "--yes" not in {option_meant(flag, flags - {flag}) for flag in flags - {"--yes"}}


@pytest.mark.parametrize("words", [(), ("-v",), ("--folder", "x")])
def test_without_a_verb_there_is_help_and_nothing_is_done(wmigrate: Wmigrate, words: tuple[str, ...]) -> None:
    """Not 0: a script whose verb is an empty variable must not pass."""
    result = wmigrate(*words)
    assert (result.code, result.err) == (2, "")
    assert result.out == wmigrate("--help").out
    error = wmigrate("--json", *words).json["error"]
    assert (error["code"], error["exit_code"]) == ("usage_error", 2)
    assert error["message"].startswith("no verb is given; one of status, plan, up,")


def test_help_is_a_verb_too(wmigrate: Wmigrate) -> None:
    assert wmigrate("help") == wmigrate("--help")
    assert wmigrate("help", "down").code == 0
    assert wmigrate("help", "down") == wmigrate("down", "--help")
    assert wmigrate("help", "rollback").err == "wmigrate: unknown verb rollback; did you mean down?\n"


@pytest.mark.parametrize("words", [["up", "--yes"], ["up", "--yes", "--json"]])
@pytest.mark.parametrize("streams", [">&- 2>&-", "2>/dev/full", "2>&1 | true; exit ${PIPESTATUS[0]}"])
def test_a_run_goes_on_where_nobody_reads_any_more(shop: Path, conn: Any, words: list[str], streams: str) -> None:
    """It would end in the middle, and be called done: `wmigrate up --yes 2>&1 | head -1`."""
    (shop / "002_price.sql").write_text("ALTER TABLE shop ADD price int; SELECT pg_sleep(0.2);")
    done = subprocess.run(["bash", "-c", f'"$@" {streams}', "bash", *COMMAND, *words], stdin=subprocess.DEVNULL)
    assert (done.returncode, len(conn.execute("SELECT FROM wmigrate.schema_migrations").fetchall())) == (0, 3)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["status"], 1, "wmigrate: No space left on device\n"),
        (["status", "--json"], 1, "wmigrate: No space left on device\n"),
        (["down", "9", "--json"], 2, "wmigrate: no migration 9 in this folder; the newest one is 003\n"),
    ],
)
def test_an_answer_for_which_there_is_no_room(shop: Path, process: Any, words: list[str], code: int, says: str) -> None:
    with open("/dev/full", "w") as full:
        done = process(*words, stdout=full)
    assert (done.returncode, done.stderr) == (code, says)


def test_what_was_found_is_the_exit_code_where_nobody_reads_the_answer(shop: Path) -> None:
    (shop / "004_x.sql").write_bytes(b"\xff")
    script = '"$@" check --offline | true; exit ${PIPESTATUS[0]}'
    assert subprocess.run(["bash", "-c", script, "bash", *COMMAND]).returncode == 3


def test_a_migration_that_cannot_be_read(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "004_x.sql").write_bytes(b"SELECT '\xff'")
    assert wmigrate("plan").err == "wmigrate: 004_x.sql:1: is not UTF-8; save it as UTF-8\n"
    error = wmigrate("plan", "--json").json["error"]
    assert (error["code"], error["file"], error["line"]) == ("folder_error", "004_x.sql", 1)
    assert [finding["message"] for finding in error["findings"]] == ["is not UTF-8"]


def test_a_config_that_cannot_be_read(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "migration_config.yaml").write_text("setings: {}\n")
    result = wmigrate("history")
    assert result.code == 1
    assert result.err == "wmigrate: migration_config.yaml:1: setings: is not a known key; did you mean settings?\n"


def test_an_unexpected_error_is_one_sentence_even_when_verbose(
    shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("surprise\nsecond line")

    monkeypatch.setattr("airflow_provider_wmigrate.engine.planning.Planning.overview", broken)
    result = wmigrate("status", "-v")
    assert result.code == 1
    assert result.err == (
        "target: from PGHOST, PGDATABASE\nwmigrate: unexpected KeyError: 'surprise\\nsecond line'; please report this\n"
    )


# Targets


def test_no_target(shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST")
    monkeypatch.delenv("PGDATABASE")
    result = wmigrate("status")
    assert result.code == 2
    assert result.err.startswith("wmigrate: no target is named; give --dsn, or set DATABASE_URL, or PGHOST and")


@pytest.mark.parametrize(
    ("dsn", "code", "sentence"),
    [
        ("host=127.0.0.1 port=1 dbname=x password={s}", 1, 'server at "127.0.0.1", port 1 failed: Connection refused'),
        ("postgresql://ann:{s}@127.0.0.1:1/x", 1, "Connection refused"),
        ("postgresql://ann:{s}@nowhere.invalid/x", 1, "no connection to the target database"),
        (
            "postgresql://ann:{s}%zz@h/x",
            2,
            "--dsn cannot be read as a PostgreSQL URL or as key=value pairs; write postgresql://",
        ),
        ("postgresql://ann:p@{s}@h/x", 2, "special characters of a password as %XX"),
        ("postgresql://ann:p/{s}@h/x", 2, "--dsn cannot be read"),
        ("postgresql://ann:1/{s}@h/x", 2, "--dsn cannot be read"),
        ("postgresql://ann:p?{s}@nowhere.invalid/x", 1, "no connection to the target database"),
        ("postgresql://ann:p#{s}@nowhere.invalid/x", 1, "no connection to the target database"),
        ("postgresql://ann:{s}@h:port/x", 2, "--dsn cannot be read"),
        ("host=h pasword={s}", 2, "--dsn cannot be read"),
        ("{s}", 2, "--dsn cannot be read"),
        ("", 2, "--dsn is empty"),
        ("mysql://ann:{s}@h/x", 2, "--dsn cannot be read"),
    ],
)
def test_a_dsn_that_leads_nowhere(wmigrate: Wmigrate, shop: Path, dsn: str, code: int, sentence: str) -> None:
    for words in (["status", "-v"], ["up", "--yes", "--json"]):
        result = wmigrate(*words, "--dsn", dsn.format(s=SECRET))
        assert result.code == code
        told = result.json["error"]["message"] if "--json" in words else result.err
        assert sentence in told
        assert SECRET not in result.out + result.err


def test_a_wrong_password(shop: Path, wmigrate: Wmigrate, start_cluster: Any) -> None:
    with start_cluster(password="right") as cluster:
        dsn = cluster.dsn(password=SECRET)
        result = wmigrate("status", "--dsn", dsn)
        assert result.code == 1
        assert 'password authentication failed for user "postgres"' in result.err
        good = wmigrate("up", "--yes", "-v", "--dsn", cluster.dsn())
        assert good.code == 0
        told = good.out + good.err + wmigrate("up", "--dsn", cluster.dsn()).err
        told += wmigrate("info", "--json", "--dsn", cluster.dsn()).out + wmigrate("audit", "--json", "--dsn", dsn).out
    assert SECRET not in result.err
    assert ":right" not in told
    assert '"right"' not in told


def test_the_environment_wins_over_the_config_and_the_dsn_over_both(
    shop: Path, wmigrate: Wmigrate, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = "settings:\n  database: {host: 127.0.0.1, port: '${PORT}', name: nowhere, user: postgres}\n"
    (shop / "migration_config.yaml").write_text(settings)
    monkeypatch.setenv("PORT", os.environ["PGPORT"])
    assert wmigrate("status", "--json").json["target"]["source"] == "PGHOST, PGDATABASE"
    monkeypatch.delenv("PGHOST")
    assert wmigrate("status", "--json", "--dsn", database).json["target"]["source"] == "--dsn"
    monkeypatch.delenv("PGDATABASE")
    assert 'database "nowhere" does not exist' in wmigrate("status").err


def test_the_target_of_the_config(
    shop: Path, wmigrate: Wmigrate, pg_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["settings:", "  database:", "    host: ${SHOP_HOST}", "    name: elsewhere", "    user: postgres",
             "environments:", "  prod:", "    database:", f"      name: {pg_environment['PGDATABASE']}"]  # fmt: skip
    (shop / "migration_config.yaml").write_text("\n".join(lines))
    monkeypatch.delenv("PGHOST")
    monkeypatch.delenv("PGDATABASE")
    unset = wmigrate("status", "--environment", "prod")
    assert (unset.code, "settings.database.host: needs the environment variable SHOP_HOST" in unset.err) == (1, True)
    monkeypatch.setenv("SHOP_HOST", pg_environment["PGHOST"])
    target = wmigrate("status", "--json", "--environment", "prod").json["target"]
    assert target["database"] == pg_environment["PGDATABASE"]
    assert target["source"] == "settings.database of migration_config.yaml"


def test_a_service_file_names_a_target(
    shop: Path, wmigrate: Wmigrate, pg_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = pg_environment
    (tmp_path / "services").write_text(
        f"[shop]\nhost={given['PGHOST']}\nport={given['PGPORT']}\ndbname={given['PGDATABASE']}\nuser=postgres\n"
    )
    for name in given:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "shop")
    assert wmigrate("status", "--json").json["target"]["database"] == given["PGDATABASE"]
    monkeypatch.setenv("PGSERVICE", "shoop")
    assert wmigrate("status").code == 1
    monkeypatch.delenv("PGSERVICE")  # the fixtures connect too


# Folders


def test_which_folder_is_meant(tmp_path: Path) -> None:
    assert find_folder("x", tmp_path) == Path("x")
    assert find_folder(None, tmp_path) == tmp_path / "migrations"
    (tmp_path / "notes.sql").touch()
    assert find_folder(None, tmp_path) == tmp_path / "migrations"
    (tmp_path / "001_a.sql").touch()
    assert find_folder(None, tmp_path) == tmp_path


def test_inside_the_folder_it_is_the_folder(shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    assert wmigrate("status", "--json").json["folder"] == "."


def test_no_folder_at_all(shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = wmigrate("status")
    assert result.err == (
        "wmigrate: migrations: there is no such folder; give --folder, or begin one with `new NAME`\n"
    )
    assert wmigrate("history", "--json").code == 0  # asks the database alone


def test_a_file_of_another_tool_is_refused_before_anything_runs(shop: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("up", "--yes").code == 0
    both = "-- migrate:up\nCREATE TABLE IF NOT EXISTS shop (id int);\n\n-- migrate:down\nDROP TABLE shop;\n"
    (shop / "004_customers.sql").write_text(both)
    says = (
        "004_customers.sql:4: -- migrate:down belongs to dbmate, and what is below it undoes the migration: it would be"
        " run too; move what is below into 004_customers.rollback.sql, or convert the whole folder:"
        " `wmigrate convert --from dbmate SOURCE DEST`"
    )
    for words in (["check", "--offline"], ["check"], ["plan"], ["up", "--dry-run"], ["up", "--yes"]):
        result = wmigrate(*words)
        assert result.code in (1, 3)
        assert says in result.out + result.err
    assert [e["version"] for e in wmigrate("status", "--json").json["migrations"] if e["status"] == "pending"] == [
        "004"
    ]


def test_what_is_not_sql_is_told_with_its_place(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "004_x.sql").write_text("SELECT 1;\nCREATE TABEL x (id int);")
    (shop / "005_y.sql").write_text("CREATE ROLE app LOGIN PASSWORD :'app_password';")
    told = (
        'warning: 004_x.sql:2:8: syntax error at or near "TABEL"; fix it;'
        " a server newer than this grammar may know it\n"
        "warning: 005_y.sql:1:32: :'app_password' is a variable of another tool, and nothing is templated here;"
        " write what it stands for\n"
    )
    assert told in wmigrate("plan").out
    assert told in wmigrate("check", "--offline").out
    assert (wmigrate("check", "--offline").code, wmigrate("check", "--offline", "--strict").code) == (0, 3)
    found = wmigrate("check", "--offline", "--json").json["findings"]
    assert [(f["code"], f["severity"], f["file"], f["line"], f["column"]) for f in found] == [
        ("syntax_error", "warning", "004_x.sql", 2, 8),
        ("variable", "warning", "005_y.sql", 1, 32),
    ]


def test_a_statement_too_large_to_be_told_is_never_taken_for_none(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "001_shop.sql").write_text("-- large\nSELEC '" + "x" * 1_200_000 + "';")
    (shop / "migration_config.yaml").write_text("migrations:\n  - version: '001'\n    transactional: false\n")
    done = wmigrate("up", "--yes", "--to", "1", "--json")
    assert done.code == 3
    assert "001_shop.sql:2:1: syntax error at or near" in done.json["error"]["message"]
    assert wmigrate("status", "--json").json["counts"].get("applied", 0) == 0
