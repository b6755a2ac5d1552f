"""settings.database with the environment's variables filled in: how the command line connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wmigrate.engine.errors import ConfigError

from .kinds import Refused
from .root import Config
from .settings import PORT, SSL_MODE, Database
from .templates import UNSET, expand
from .yaml_nodes import Scalar

_CHECKED = {"port": PORT, "ssl_mode": SSL_MODE}


@dataclass(frozen=True, slots=True)
class ResolvedDatabase:
    """settings.database with the variables filled in. None: left to libpq."""

    host: str | None = None
    port: int | None = None
    name: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl_mode: str | None = None

    def parameters(self) -> dict[str, str | int]:
        """What was given, under libpq's names, for psycopg.connect. Holds the password: never log it."""
        given = {
            "host": self.host,
            "port": self.port,
            "dbname": self.name,
            "user": self.user,
            "password": self.password,
            "sslmode": self.ssl_mode,
        }
        return {name: value for name, value in given.items() if value is not None}


def resolve_database(config: Config, environ: Mapping[str, str], *, environment: str | None = None) -> ResolvedDatabase:
    """Fill in ${NAME} and ${NAME:default}.

    :param environ: the process's environment variables.
    :param environment: whose settings hold; None: those without overrides.
    :raises ConfigError: a variable is unset or its value cannot be used, or there is no such environment.
    """
    database = config.settings_for(environment).database
    values = {}
    for name in Database.keys:
        try:
            values[name] = _value(name, getattr(database, name), environ)
        except Refused as e:
            key = _written_key(name, config, environment)
            raise ConfigError(config.file, config.line_of(key), key, str(e)) from None
    return ResolvedDatabase(**values)


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
    return own if environment is not None and config.line_of(own) else f"settings.database.{name}"
