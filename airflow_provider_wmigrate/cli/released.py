"""The folder as the commits of its git repository have it, by git itself. Nothing in the repository is changed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.errors import ConfigError

from .failure import UsageError

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.model import Migration
    from airflow_provider_wmigrate.engine.plan.released_rules import Released


@contextmanager
def released(folder: Path, name: str, environ: Mapping[str, str]) -> Iterator[Released]:
    """What a branch or tag has of the folder. The texts can be read as long as the context lasts.

    :param environ: what `${NAME}` in the config stands for.
    :raises UsageError: git is not there, or cannot answer.
    """
    from airflow_provider_wmigrate.engine.plan.released_rules import Released

    top = Path(_git(folder, "rev-parse", "--show-toplevel", hint="keep the migrations in a git repository"))
    inside = _git(folder, "rev-parse", "--show-prefix")
    words = ("--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    silent = f"{name} is no commit of the repository {top}"
    ahead = _git(top, "rev-parse", *words, hint="git fetch, or correct it", silent=silent)
    base = _common(top, name, ahead)
    with tempfile.TemporaryDirectory(prefix="wmigrate-") as made:
        there: dict[str, tuple[Migration, ...]] = {}
        for commit in {base, ahead}:
            then = _inside_then(top, inside, commit, folder)
            copied = _copied(top, then, commit, Path(made, commit))
            there[commit] = _migrations(copied, name, environ)
        yield Released(name, there[base], there[ahead])


def _common(top: Path, name: str, commit: str) -> str:
    """The last commit that both have."""
    shallow = _git(top, "rev-parse", "--is-shallow-repository") == "true"
    whole = "git fetch --unshallow (in GitHub Actions: fetch-depth: 0)"
    hint = whole if shallow else f"choose a commit that this branch comes from instead of {name}"
    return _git(top, "merge-base", commit, "HEAD", hint=hint, silent=f"{name} and this branch have no commit in common")


def _inside_then(top: Path, inside: str, commit: str, folder: Path) -> str:
    """Where the commit has the folder; if it was moved since, the one that is gone now and had files of its names."""
    files = [PurePosixPath(file) for file in _git(top, "ls-tree", "-r", "-z", "--name-only", commit).split("\0")]
    if any(file.is_relative_to(inside) for file in files):
        return inside
    ours = {entry.name for entry in folder.iterdir()}
    moved = Counter(f.parent for f in files if f.name in ours and f.suffix == ".sql" and not (top / f.parent).is_dir())
    return f"{moved.most_common(1)[0][0]}/" if moved else inside


def _copied(top: Path, inside: str, commit: str, to: Path) -> Path:
    """The folder as a commit has it, written by git as into a work tree, from an index of its own."""
    own = {"GIT_INDEX_FILE": f"{to}.index"}
    _git(top, "read-tree", commit, more=own)
    files = _git(top, "ls-files", "-z", "--", inside or ".", more=own)
    _git(top, "checkout-index", "-z", "--stdin", f"--prefix={to}/", more=own, given=files)
    return to / inside


def _migrations(folder: Path, name: str, environ: Mapping[str, str]) -> tuple[Migration, ...]:
    from airflow_provider_wmigrate.engine.folder.folder import look_at_folder

    if not folder.is_dir():
        return ()
    try:
        return look_at_folder(folder, environ).readable
    except ConfigError as error:
        found = error.findings[0].message if error.findings else str(error)
        raise UsageError(f"the folder as {name} has it: {found}", hint="compare with a later commit") from None


def _git(
    where: Path,
    *words: str,
    hint: str = "look at `git status` there",
    silent: str = "",
    more: Mapping[str, str] | None = None,
    given: str | None = None,
) -> str:
    """What git answers.

    :param silent: what it means that git fails without a word.
    """
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=where,
            env={**os.environ, "LC_ALL": "C", **(more or {})},
            input=None if given is None else os.fsencode(given),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError("git is not installed", hint="install it, or leave --since out") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(f"git: {said[0].removeprefix('fatal: ')}" if said else silent, hint=hint)
    out = os.fsdecode(done.stdout)
    return out if given is not None or "-z" in words else out.rstrip("\n")
