"""The built wheel, installed as a stranger would, on every Python and every PostgreSQL found here: `make test-matrix`.

Each session: a virtual environment with the wheel, `pip check`, `airflow providers list`, and tests that are run from
the sdist, without the checkout's own package. What is not found here has no session.
"""

from __future__ import annotations

import shutil
import tarfile
from itertools import groupby
from pathlib import Path

import nox

from dev.server_binaries import MAJORS, server_programs

PACKAGE = "airflow_provider_wmigrate"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]
ROOT = Path(__file__).parent
TOOLS = ("pytest>=8.4", "pytest-timeout>=2.4", "aiosmtpd>=1.4.6")
CORE = ("tests/unit", "tests/postgres/test_migrator.py", "tests/postgres/test_ledger.py")
FULL = ("tests/unit", "tests/postgres", "tests/cli", "tests/airflow")
BY_EXTRA = ("tests/operating/test_alerts.py", "tests/operating/test_metrics.py")
CHECKOUT_ONLY = ("--ignore=tests/unit/test_architecture.py", "--ignore=tests/unit/test_docs.py")
"""What they test is the source tree, not an installed package."""

nox.options.envdir = ".test/matrix"
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=PYTHONS)
def python(session: nox.Session) -> None:
    """Every Python with the server that the other tests use. `-- --full` runs every test of four parts."""
    _install(session, "constraints.txt")
    _test(session, _chosen(session, CORE))


@nox.session(python=NEWEST)
@nox.parametrize("major", MAJORS)
def postgresql(session: nox.Session, major: int) -> None:
    """Every other PostgreSQL with the newest Python."""
    programs = _programs(session, major)
    _install(session, "constraints.txt")
    _test(session, _chosen(session, CORE), PG_BINDIR=programs)


@nox.session(python=NEWEST)
def upgrades(session: nox.Session) -> None:
    """pg_upgrade from every older PostgreSQL to the newest one: a snapshot tells no difference."""
    _install(session, "constraints.txt")
    _test(session, ("tests/upgrades",))


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """The oldest versions that the requirements allow, with the oldest server."""
    programs = _programs(session, min(MAJORS))
    _install(session, "constraints-lowest.txt")
    _test(session, _chosen(session, (*CORE, "tests/airflow")), PG_BINDIR=programs)


@nox.session(python=NEWEST)
def extras(session: nox.Session) -> None:
    """Every extra, and the tests of what it makes work."""
    _install(session, "constraints.txt", "[openlineage,smtp,statsd]")
    _test(session, BY_EXTRA)


def _chosen(session: nox.Session, tests: tuple[str, ...]) -> tuple[str, ...]:
    return FULL if "--full" in session.posargs else tests


def _programs(session: nox.Session, major: int) -> str:
    found = server_programs(major)
    if found is None:
        session.skip(f"no PostgreSQL {major} here, and no package of it can be had")
    return str(found)


def _install(session: nox.Session, pins: str, extras: str = "") -> None:
    """With nothing around that would lead the fresh environment to this checkout."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    home = session.create_tmp()
    session.env.update(AIRFLOW_HOME=home, PYTHONPATH="", PYTHONHOME="", VIRTUAL_ENV="", AIRFLOW_CONFIG="")
    session.install("--constraint", pins, f"{wheel}{extras}", *TOOLS)
    session.run("pip", "check")
    session.chdir(home)
    where = session.run("python", "-c", f"import {PACKAGE} as p; print(p.__file__)", silent=True)
    listed = session.run("airflow", "providers", "list", "-o", "plain", silent=True)
    if session.virtualenv.location not in str(where) or "airflow-provider-wmigrate" not in str(listed):
        session.error(f"the installed provider is not the one Airflow lists: {where} {listed}")


def _test(session: nox.Session, tests: tuple[str, ...], **env: str) -> None:
    """Each part of the tests in a process of its own, as the Makefile runs them."""
    session.chdir(_sources(session))
    for _, part in groupby(tests, key=lambda path: Path(path).parts[1]):
        session.run(
            "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKOUT_ONLY, "-m", "not e2e", *part, env=env
        )


def _sources(session: nox.Session) -> Path:
    """The sdist unpacked without the package: what is tested must come from the wheel."""
    (archive,) = (ROOT / "dist").glob("*.tar.gz")
    place = Path(session.create_tmp(), "sources")
    shutil.rmtree(place, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    (sources,) = place.iterdir()
    shutil.rmtree(sources / PACKAGE)
    return sources
