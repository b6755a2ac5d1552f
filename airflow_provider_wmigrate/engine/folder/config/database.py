"""settings.database with the environment's variables filled in: how the command line connects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wmigrate.engine.errors import ConfigError

from .kinds import Refused
from .root import Config
from .settings import PORT, SSL_MODE, Database
from .templates import UNSET, expand
from .yaml_nodes import Scalar

_CHECKED = {"port": PORT, "ssl_mode": SSL_MODE}


_LIBPQ = {"name": "dbname", "ssl_mode": "sslmode"}
"""Keys that libpq calls otherwise."""


def resolve_database(
    config: Config, environ: Mapping[str, str], *, environment: str | None = None
) -> dict[str, str | int]:
    """Fill in ${NAME} and ${NAME:default}. What is left is left to libpq.

    :param environ: the process's environment variables.
    :param environment: whose settings hold; None: those without overrides.
    :return: under libpq's names, for psycopg.connect. Holds the password: never log it.
    :raises ConfigError: a variable is unset or its value cannot be used, or there is no such environment.
    """
    database = config.settings_for(environment).database
    values = {}
    for name in Database.keys:
        try:
            values[_LIBPQ.get(name, name)] = _value(name, getattr(database, name), environ)
        except Refused as e:
            key = _written_key(name, config, environment)
            raise ConfigError(config.file, config.lines.get(key), key, str(e)) from None
    return {name: value for name, value in values.items() if value is not None}


def _value(name: str, template: str | None, environ: Mapping[str, str]) -> Any:
    text, unset = expand(template or "", environ)
    if unset is not None:
        raise Refused(UNSET.format(unset))
    if not text or name not in _CHECKED:
        return text or None
    try:
        return _CHECKED[name].read(Scalar(text))
    except Refused:
        raise Refused(f"must be {_CHECKED[name].says}, not {text}") from None


def _written_key(name: str, config: Config, environment: str | None) -> str:
    """Where the template that holds was written."""
    own = f"environments.{environment}.database.{name}"
    return own if environment is not None and config.lines.get(own) else f"settings.database.{name}"
