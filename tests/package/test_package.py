"""What a user installs: exactly the package, whichever way it was built."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import airflow_provider_wmigrate

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_provider_wmigrate"
INFO = f"{PACKAGE}-{airflow_provider_wmigrate.__version__}.dist-info"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from the sdist, not from the checkout."""
    target = tmp_path_factory.mktemp("dist")
    build("--outdir", str(target), str(ROOT))
    return target


def build(*arguments: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"{INFO}/METADATA"))


def contents(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """What is installed, without the list of it."""
    return {name: wheel.read(name) for name in wheel.namelist() if name != f"{INFO}/RECORD"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """All that is in the checkout's folder, so templates, SQL, the page's files and py.typed too."""
    source = ROOT / PACKAGE
    files = {file.relative_to(ROOT).as_posix() for file in source.rglob("*") if file.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    info = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert set(wheel.namelist()) == files | info
    for name in ("py.typed", "engine/ledger/ledger.sql", "cli/templates/table.sql", "web/static/index.html"):
        assert f"{PACKAGE}/{name}" in files


def test_the_sdist_holds_what_builds_and_tests_it(built: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tops = {name.partition("/")[0] for name in names}
    assert {PACKAGE, "tests", "dev", "docs", "dags", "migrations", "Makefile", "LICENSE", "pyproject.toml"} <= tops
    assert tops.isdisjoint({".venv", ".test", ".demo", ".git", "dist"})
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name]


def test_sdist_and_checkout_build_the_same_wheel(
    built: Path, wheel: zipfile.ZipFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("--wheel", "--outdir", str(tmp_path), str(ROOT))
    (file,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(file) as other:
        assert contents(other) == contents(wheel)
    assert file.read_bytes() == next(built.glob("*.whl")).read_bytes()


def test_the_indexes_will_take_it(built: Path) -> None:
    files = [str(file) for file in built.iterdir()]
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "airflow-provider-wmigrate"
    assert metadata["Version"] == airflow_provider_wmigrate.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    classifiers = metadata.get_all("Classifier", [])
    assert "Framework :: Apache Airflow :: Provider" in classifiers
    pythons = {c.rpartition(" ")[2] for c in classifiers if re.search(r":: 3\.\d+$", c)}
    assert pythons == {"3.10", "3.11", "3.12", "3.13"}
    assert metadata["Requires-Python"] == "<3.14,>=3.10"


def test_every_extra_is_documented(metadata: Message) -> None:
    text = (ROOT / "docs" / "airflow.md").read_text()
    extras = metadata.get_all("Provides-Extra", [])
    assert extras
    assert [name for name in extras if f"| `{name}` |" not in text] == []


def test_the_entry_points_lead_somewhere(wheel: zipfile.ZipFile) -> None:
    from configparser import ConfigParser
    from importlib import import_module

    points = ConfigParser()
    points.read_string(wheel.read(f"{INFO}/entry_points.txt").decode())
    assert set(points.sections()) == {"console_scripts", "apache_airflow_provider", "airflow.plugins"}
    for section in points.sections():
        for target in points[section].values():
            module, _, name = target.partition(":")
            assert callable(getattr(import_module(module), name))


def test_the_changelog_knows_the_version() -> None:
    """Released versions have a heading; the one in the making has its lines under [Unreleased]."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    assert f"## [{airflow_provider_wmigrate.__version__}]" in text or "### Added" in text.partition("[Unreleased]")[2]
