"""What a branch may not do to released migrations, and the review of a pull request; with real git repositories."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]
ACTION = Path(__file__).resolve().parents[2] / ".github" / "actions" / "review" / "review.sh"


def git(*words: str, where: Path | None = None) -> None:
    person = {"GIT_CONFIG_GLOBAL": os.devnull, **{f"GIT_{who}_{what}": "ann@example.org"
              for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}  # fmt: skip
    subprocess.run(["git", *words], cwd=where, check=True, capture_output=True, env={**os.environ, **person})


def commit(message: str = "more") -> None:
    git("add", "--all")
    git("commit", "--allow-empty", "-m", message)


@pytest.fixture
def branch(shop: Path) -> Path:
    """The shop's three migrations are on main, and we stand on a branch of it."""
    git("init", "--initial-branch", "main", ".")
    commit()
    git("switch", "--create", "feature")
    return shop


def on_main(shop: Path, **files: str) -> None:
    """Somebody else's commit. What is not committed here stays as it is."""
    commit()
    git("switch", "main")
    for name, text in files.items():
        (shop / f"{name}.sql").write_text(text)
    commit()
    git("switch", "feature")


def found(answer: Any) -> list[tuple[str, str, str, int | None]]:
    return [(f["severity"], f["code"], f["file"], f["line"]) for f in answer.json["findings"]]


def test_new_files_are_no_change(branch: Path, wmigrate: Wmigrate) -> None:
    (branch / "004_more.sql").write_text("CREATE TABLE more (id int);")
    answer = wmigrate("check", "--offline", "--since", "main")
    assert (answer.code, answer.out) == (
        0,
        "Checked 4 migrations in migrations against main; no database was asked: 0 errors, 0 warnings.\n",
    )


def test_a_folder_that_was_moved_is_compared_with_where_it_was(branch: Path, wmigrate: Wmigrate) -> None:
    git("mv", branch.name, "schema")
    (branch.parent / "schema" / "001_shop.sql").write_text("SELECT 1;")
    answer = wmigrate("--folder", "schema", "check", "--offline", "--since", "main", "--json")
    assert (answer.code, found(answer)) == (3, [("error", "released_changed", "001_shop.sql", 1)])


def test_what_is_released_stays_as_it_is(branch: Path, wmigrate: Wmigrate) -> None:
    (branch / "002_price.sql").write_text("ALTER TABLE shop ADD price int;\nINSERT INTO shop VALUES (1, 2);")
    (branch / "001_shop.rollback.sql").unlink()
    (branch / "002_price.rollback.sql").write_text("ALTER TABLE shop DROP price; -- again")
    (branch / "003_view.sql").unlink()
    (branch / "003_view.rollback.sql").unlink()
    answer = wmigrate("check", "--offline", "--since", "main", "--json")
    assert answer.code == 3
    assert found(answer) == [
        ("warning", "released_rollback_changed", "001_shop.rollback.sql", None),
        ("error", "released_changed", "002_price.sql", 2),
        ("warning", "released_rollback_changed", "002_price.rollback.sql", None),
        ("error", "released_missing", "003_view.sql", None),
    ]
    (_, edited, _, gone) = answer.json["findings"]
    assert edited["message"] == (
        "differs from what main has: databases that have applied it would never get the difference"
    )
    assert edited["next_step"] == (
        "restore it in its folder (git checkout main -- 002_price.sql), and write a new migration"
    )
    assert gone["next_step"] == "restore it in its folder: git checkout main -- 003_view.sql"


def test_windows_line_ends_and_an_old_copy_of_the_branch_are_no_change(branch: Path, wmigrate: Wmigrate) -> None:
    """What main has got since is not missing here."""
    on_main(branch, **{"004_theirs": "SELECT 1;"})
    (branch / "002_price.sql").write_bytes((branch / "002_price.sql").read_bytes().replace(b"\n", b"\r\n"))
    assert wmigrate("check", "--offline", "--since", "main", "--json").json["findings"] == []


def test_a_number_that_both_branches_took(branch: Path, wmigrate: Wmigrate) -> None:
    (branch / "004_ours.sql").write_text("CREATE TABLE ours (id int);")
    on_main(branch, **{"004_theirs": "CREATE TABLE theirs (id int);", "005_theirs": "CREATE TABLE more (id int);"})
    answer = wmigrate("check", "--offline", "--since", "main", "--json")
    assert (answer.code, found(answer)) == (3, [("error", "number_taken", "004_ours.sql", None)])
    (finding,) = answer.json["findings"]
    assert finding["message"] == "has the number of 004_theirs.sql, which main has got meanwhile"
    assert finding["next_step"] == "give its files a number above 005"


def test_a_lower_number_than_main_has_by_the_rule_for_late_ones(branch: Path, wmigrate: Wmigrate) -> None:
    (branch / "004_ours.sql").write_text("CREATE TABLE ours (id int);")
    on_main(branch, **{"005_theirs": "CREATE TABLE theirs (id int);"})
    for policy, expected in (("apply", []), ("warn", ["warning"]), ("error", ["error"])):
        (branch / "migration_config.yaml").write_text(f"settings:\n  execution:\n    late_migrations: {policy}\n")
        answer = wmigrate("check", "--offline", "--since", "main", "--json")
        assert [f["severity"] for f in answer.json["findings"] if f["code"] == "late"] == expected


def test_a_squash_stands_for_what_it_squashes(branch: Path, wmigrate: Wmigrate) -> None:
    (branch / "002_price.sql").write_text("ALTER TABLE shop ADD price int;")
    commit()
    git("branch", "--force", "main", "feature")
    assert wmigrate("up", "--yes").code == 0
    squashed = wmigrate("squash", "2", "--yes", "--json")
    assert squashed.code == 0, squashed.err
    assert wmigrate("check", "--offline", "--since", "main", "--json").json["findings"] == []


def test_what_git_cannot_answer(branch: Path, wmigrate: Wmigrate, tmp_path: Path, monkeypatch: Any) -> None:
    def says(*words: str) -> str:
        answer = wmigrate("check", "--offline", *words)
        assert (answer.code, answer.out) == (2, "")
        return str(answer.err)

    place = os.path.realpath(tmp_path)
    assert says("--since", "nowhere") == (
        f"wmigrate: nowhere is no commit of the repository {place}; git fetch, or correct it\n"
    )
    git("switch", "--orphan", "alone")
    git("commit", "--allow-empty", "-m", "nothing before")
    git("checkout", "main", "--", ".")
    assert says("--since", "main") == (
        "wmigrate: main and this branch have no commit in common;"
        " choose a commit that this branch comes from instead of main\n"
    )
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "001_a.sql").write_text("SELECT 1;")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", place)
    monkeypatch.setenv("GIT_DIR", str(outside / "none"))
    assert "git: not a git repository" in says("--since", "main", "--folder", str(outside))
    monkeypatch.setenv("PATH", str(outside))
    assert says("--since", "main") == "wmigrate: git is not installed; install it, or leave --since out\n"


def test_a_shallow_clone_says_what_it_needs(branch: Path, wmigrate: Wmigrate, monkeypatch: Any) -> None:
    commit_here = branch.parent
    (branch / "004_ours.sql").write_text("SELECT 1;")
    on_main(branch, **{"005_theirs": "SELECT 1;"})
    (branch / "006_ours.sql").write_text("SELECT 1;")
    commit()
    clone = commit_here / "clone"
    git("clone", "--depth", "1", "--no-single-branch", "--branch", "feature", f"file://{commit_here}", str(clone))
    monkeypatch.chdir(clone)
    answer = wmigrate("check", "--offline", "--since", "origin/main")
    assert answer.code == 2
    assert answer.err == (
        "wmigrate: origin/main and this branch have no commit in common; git fetch --unshallow (in GitHub Actions:"
        " fetch-depth: 0)\n"
    )


REVIEW = """## 4 migrations, 1 new since `main`

- `004_more`

### Plan: apply 1 of 4 migrations

1. apply `004_more`
   - locks: AccessExclusiveLock on public.shop

### Findings

| finding | where | what | next |
| --- | --- | --- | --- |
| warning loses_rows | 004_more.sql:1 | drops column price of public.shop"""


def test_a_review_has_plan_forecast_and_lint(branch: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    assert wmigrate("up", "--yes").code == 0
    conn.execute("VACUUM ANALYZE shop")
    (branch / "004_more.sql").write_text("ALTER TABLE shop DROP COLUMN price CASCADE;")
    answer = wmigrate("review", "--since", "main")
    assert (answer.code, answer.err) == (0, "")
    for line in REVIEW.splitlines()[:6]:
        assert line in answer.out.splitlines()
    assert "loses_rows" in answer.out
    document = wmigrate("review", "--since", "main", "--json").json
    assert (document["new"], document["plan"], document["ok"]) == (["004"], ["004"], True)
    assert document["markdown"] == answer.out.rstrip("\n")
    assert wmigrate("review", "--since", "main", "--strict").code == 3


GH = """#!/usr/bin/env bash
printf '%s\\n' "$@" >>"$GH_LOG"
case "$*" in *--paginate*) printf '%s' "$GH_BEFORE" ;; esac
"""


def test_the_action_keeps_one_comment(branch: Path, tmp_path: Path) -> None:
    (branch / "002_price.sql").write_text("SELECT 1;")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (
        ("gh", GH),
        ("wmigrate", f'#!/usr/bin/env bash\nexec {sys.executable} -m airflow_provider_wmigrate.cli "$@"\n'),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for before, method in (("", "POST"), ("77", "PATCH")):
        log, summary = tmp_path / f"log{before}", tmp_path / f"summary{before}"
        given = {
            **{"PATH": f"{programs}:{os.environ['PATH']}", "FOLDER": "migrations", "SINCE": "main", "DATABASE_URL": ""},
            **{"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_REPOSITORY": "ann/shop", "PULL_REQUEST": "5"},
            **{"GH_LOG": str(log), "GH_BEFORE": before},
        }
        done = subprocess.run([ACTION], env={**os.environ, **given}, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (3, "")
        said = log.read_text()
        assert f"--method\n{method}\n" in said
        assert "body=<!-- wmigrate review -->\n## 3 migrations, 0 new since `main`\n" in said
        assert "error released_changed" in summary.read_text()
