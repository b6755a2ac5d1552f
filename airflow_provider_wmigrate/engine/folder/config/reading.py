"""The file -> a Config, or the first of its mistakes."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from airflow_provider_wmigrate.engine.errors import ConfigError

from .complaints import complaints
from .contradictions import contradictions
from .root import CONFIG_FILE, Config
from .yaml_lines import Problem, read_yaml


def load_config(folder: Path) -> Config:
    """The config of a folder of migrations. Without a file everything has its default.

    :raises ConfigError: the file cannot be read, or something in it is wrong.
    """
    text = _text(folder / CONFIG_FILE)
    return Config() if text is None else parse_config(text)


def _text(path: Path) -> str | None:
    """None: there is no such file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        _refuse_another_name(path)
        return None
    except OSError as e:
        raise ConfigError(CONFIG_FILE, None, "", f"cannot be read: {e.strerror}") from e
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        reason = f"is not UTF-8 (byte 0x{data[e.start]:02x}); save the file as UTF-8"
        raise ConfigError(CONFIG_FILE, line, "", reason) from None


def _refuse_another_name(path: Path) -> None:
    """A file that was meant to be read must not be passed over in silence."""
    if path.is_symlink():
        raise ConfigError(CONFIG_FILE, None, "", "is a link to a file that does not exist") from None
    if (other := path.with_suffix(".yml")).exists():
        raise ConfigError(other.name, None, "", f"would not be read; rename it to {CONFIG_FILE}") from None


def parse_config(text: str, file: str = CONFIG_FILE) -> Config:
    """The config written in a text.

    :raises ConfigError: the first mistake by line, with the number of the others.
    """
    document = read_yaml(text, file)
    try:
        config = Config.model_validate(document.root, context=document)
    except ValidationError as e:
        raise _first(file, document.problems + complaints(e, document)) from None
    if problems := [*document.problems, *contradictions(config)]:
        raise _first(file, problems)
    return config


def _first(file: str, problems: list[Problem]) -> ConfigError:
    distinct = sorted({(p.line, p.key): p for p in reversed(problems)}.values(), key=lambda p: p.line or 0)
    first, more = distinct[0], len(distinct) - 1
    reason = first.reason + (f" (and {more} more)" if more else "")
    return ConfigError(file, first.line, first.key, reason, suggestion=first.suggestion)
