"""The file -> a Config, or all of its mistakes."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from airflow_provider_wmigrate.engine.errors import ConfigError
from airflow_provider_wmigrate.engine.model import ConfigFinding
from airflow_provider_wmigrate.engine.wording import nearest

from .root import CONFIG_FILE, Config


def look_at_config(
    folder: Path, environ: Mapping[str, str] | None = None, *, names: Collection[str] | None = None
) -> tuple[Config, list[ConfigFinding]]:
    """The config without what is wrong in it, and what that is. For looking, not for running. Without a file everything
    has its default.

    :param environ: what `${NAME}` stands for.
    :param names: of all files in the folder, where somebody has read them already.
    :raises ConfigError: it cannot be read so far that one would look into the right ledger.
    """
    text = _text(folder / CONFIG_FILE)
    if text is None:
        if folder.is_dir():
            _refuse_another_name(folder / CONFIG_FILE, os.listdir(folder) if names is None else names)
        return Config(), []
    config, found = _read(text, CONFIG_FILE, environ or {})
    if config is None or not all(_HARMLESS.match(f.key) for f in found):
        raise ConfigError.of(found)
    return config, found


_HARMLESS = re.compile(
    r"(?:settings|environments\.[^.]+)\.(?:execution|logging|backup)\b"
    r"|(?:migration_system|migrations|validation|monitoring)\b"
)
"""Keys that may be wrong without a look going astray. Elsewhere a word may have been meant for the ledger."""


def _text(path: Path) -> str | None:
    """None: there is no such file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise ConfigError(CONFIG_FILE, None, "", f"cannot be read: {e.strerror}") from e
    if (other := path.with_suffix(".yml")).exists():
        raise ConfigError(other.name, None, "", f"lies beside {CONFIG_FILE} and is not read; delete one of them")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        reason = f"is not UTF-8 (byte 0x{data[e.start]:02x}); save the file as UTF-8"
        raise ConfigError(CONFIG_FILE, line, "", reason) from None


def _refuse_another_name(path: Path, names: Collection[str]) -> None:
    """A file that was meant to be read must not be passed over in silence."""
    if path.is_symlink():
        raise ConfigError(CONFIG_FILE, None, "", "is a link to a file that does not exist")
    for name in sorted(name for name in names if name.lower().endswith((".yml", ".yaml"))):
        if nearest(os.path.splitext(name.lower())[0], [path.stem], alike=0.9):
            raise ConfigError(name, None, "", f"would not be read; rename it to {CONFIG_FILE}")


def parse_config(text: str, file: str = CONFIG_FILE, *, environ: Mapping[str, str] | None = None) -> Config:
    """The config written in a text.

    :param environ: what `${NAME}` stands for.
    :raises ConfigError: something in it is wrong; it has a finding for each mistake, in the order of the lines.
    """
    config, found = _read(text, file, environ or {})
    if found or config is None:
        raise ConfigError.of(found)
    return config


def _read(text: str, file: str, environ: Mapping[str, str]) -> tuple[Config | None, list[ConfigFinding]]:
    """The config without what is wrong in it, and what that is. None: nothing is left of it.

    :raises ConfigError: it is not YAML.
    """
    from .contradictions import contradictions
    from .templates import fill_in
    from .values import config_of
    from .yaml_lines import read_yaml

    document = read_yaml(text, file)
    fill_in(document, environ)
    config = config_of(document)
    problems = document.problems
    if config is not None:
        budgets = any(p.key.endswith("timeout_seconds") for p in problems)
        problems += contradictions(config, budgets=not budgets)
    distinct: dict[tuple[int | None, str], ConfigFinding] = {}
    for problem in problems:
        distinct.setdefault((problem.line, problem.key), problem)
    return config, sorted(distinct.values(), key=lambda p: p.line or 0)
