"""A native PostgreSQL with TimescaleDB for tests: locks, concurrency, preloading and licences are real there.

``$TIMESCALE_BINDIR``, when set, names the programs of a PostgreSQL whose files include TimescaleDB, for instance
from the packages of its makers. Otherwise Debian's own package is unpacked once into a folder (the Apache edition:
hypertables, but no columnstore, policies and continuous aggregates), and its server runs there by chroot. That
needs root, mmdebstrap and a Debian mirror among those apt knows; nothing outside the folder is changed.

``python -m dev.timescale_root`` makes the folder and says what is in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster import Cluster, Setting
from dev.server_binaries import Account, ClusterError, made_beside, told

SUITE = "trixie"
PACKAGE = "postgresql-17-timescaledb"
BUILD_SECONDS = 600
# An account that needs no entry anywhere: the server's, unprivileged in the chroot and outside.
UID = GID = 65534


@dataclass(frozen=True)
class Inside(Account):
    """Runs programs in the folder ``root`` by chroot, which drops to the account itself and becomes the program."""

    root: Path = Path("/")

    def popen_arguments(self) -> dict[str, Any]:
        return {}

    def command(self, command: list[str]) -> list[str]:
        # --groups: none of root's own.
        return ["chroot", f"--userspec={self.uid}:{self.gid}", "--groups=", str(self.root), *command]


@contextlib.contextmanager
def timescale_server(
    *, preload: bool = True, background_workers: int = 0, licence: str | None = None
) -> Iterator[Cluster]:
    """A running server, gone with the ``with`` block or with the process. No database has the extension yet.

    :param preload: ``False``: the files are there, the library is not loaded; CREATE EXTENSION ends the connection.
    :param background_workers: 0 also keeps the scheduler of jobs away; it wants one per database and one per job.
    :param licence: ``apache`` or ``timescale``; ``None`` is the edition's own.
    """
    chosen: dict[str, Setting] = {"max_connections": 60, "jit": False}
    if preload:
        chosen["shared_preload_libraries"] = "timescaledb"
        chosen["timescaledb.max_background_workers"] = background_workers
        chosen["max_worker_processes"] = 8 + background_workers
        chosen["timescaledb.telemetry_level"] = "off"
        if licence is not None:
            chosen["timescaledb.license"] = licence
    bindir = os.environ.get("TIMESCALE_BINDIR")
    if bindir:
        server = Cluster.temporary(bindir=_with_timescale(Path(bindir)), settings=chosen)
    else:
        root = timescale_root()
        account = Inside(UID, GID, f"of the server in {root}", root=root)
        server = Cluster.temporary(parent=root / "srv", bindir=_bindir(root), account=account, settings=chosen)
    with server as cluster:
        yield cluster


def timescale_root() -> Path:
    """The folder with Debian's package, made if it is not there.

    :raises ClusterError: it is not there and cannot be made here.
    """
    if os.geteuid() != 0:
        raise ClusterError("a PostgreSQL with TimescaleDB runs here by chroot, as root only: set TIMESCALE_BINDIR")
    root = _place()
    if not root.exists():
        _build(root)
    _same_paths_inside(root)
    return root


def _place() -> Path:
    named = os.environ.get("WMIGRATE_TIMESCALE_ROOT")
    return Path(named or Path(__file__).parents[1] / ".test" / "timescale-root").resolve()


def _bindir(root: Path) -> Path:
    return next(iter(sorted(root.glob("usr/lib/postgresql/*/bin"))), root)


def _same_paths_inside(root: Path) -> None:
    """A link to the top at the folder's own path: every path then means the same inside as outside."""
    link = root / root.relative_to("/")
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/")


def _build(root: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise ClusterError("mmdebstrap, which unpacks TimescaleDB, is not installed: apt-get install mmdebstrap")
    mirror = _mirror()
    with made_beside(root) as fresh:
        command = ["mmdebstrap", "--mode=root", "--variant=essential", f"--include={PACKAGE}", *_LEFT_OUT]
        try:
            answer = told([*command, SUITE, str(fresh), mirror], timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"mmdebstrap did not unpack {PACKAGE} within {BUILD_SECONDS} s: try again") from error
        if answer.returncode != 0:
            said = [line for line in answer.stderr.splitlines() if line.startswith("E:")] or ["it said nothing"]
            raise ClusterError(f"mmdebstrap could not unpack {PACKAGE} of {SUITE}: {said[0]}")
        fresh.chmod(0o755)


_LEFT_OUT = [
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    # The package would make a data folder nobody asked for.
    '--essential-hook=mkdir -p "$1/etc/postgresql-common"',
    '--essential-hook=echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"',
]


def _mirror() -> str:
    """Where this machine's apt gets Debian from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    command += ["Created-By: Packages", "Origin: Debian", "Label: Debian"]
    try:
        answer = told(command)
    except OSError as error:
        raise ClusterError(f"apt, which knows where Debian's packages are, cannot be run: {error}") from error
    if not answer.stdout.strip():
        raise ClusterError("apt knows no Debian mirror here: apt-get update, or set TIMESCALE_BINDIR")
    return answer.stdout.split()[0]


def _with_timescale(bindir: Path) -> Path:
    """As it is named, if the extension is among its files."""
    try:
        answer = told([str(bindir / "pg_config"), "--sharedir"])
        control = Path(answer.stdout.strip()) / "extension" / "timescaledb.control"
    except OSError as error:
        raise ClusterError(f"TIMESCALE_BINDIR={bindir} is no bin folder of a PostgreSQL: {error}") from error
    if not control.is_file():
        raise ClusterError(f"TIMESCALE_BINDIR={bindir} is a PostgreSQL without TimescaleDB: {control} is not there")
    return bindir


def main() -> int:
    try:
        with timescale_server() as cluster:
            cluster.execute("CREATE EXTENSION timescaledb")
            found = cluster.execute(
                "SELECT split_part(version(), ' ', 2), extversion, current_setting('timescaledb.license')"
                " FROM pg_extension WHERE extname = 'timescaledb'"
            )
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    postgresql, timescaledb, licence = found[0]
    print(f"PostgreSQL {postgresql} with TimescaleDB {timescaledb}, licence {licence}, in {cluster.bindir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
