"""Where `wmigrate` connects to: --dsn, libpq's environment, or settings.database. One source counts, never a mixture.

A password is handed to psycopg and to nobody else: no message here quotes what was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .failure import UsageError

if TYPE_CHECKING:
    import psycopg

    from airflow_provider_wmigrate.engine.folder.config.root import Config

_CONNECT_SECONDS = 10
"""How long a server may take to answer, unless connect_timeout says otherwise."""

_NAMED_BY = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGDATABASE")
"""The libpq variables that name a target; the others (PGUSER, PGPASSWORD, PGSSLMODE ...) only complete one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which database it is, as the connection itself says. Fit to be shown."""

    host: str
    port: int
    database: str
    user: str
    source: str

    def __str__(self) -> str:
        where = f"socket {self.host}" if self.host.startswith("/") else self.host
        return f"database {self.database} on {where}:{self.port} as {self.user}"


class Target:
    """One database.

    :param connect: opens a new connection to it.
    :param source: what named it, for messages.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], source: str) -> None:
        self._connect, self.source = connect, source
        self.place: Place | None = None
        """None until the first connection."""

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection."""
        conn = self._connect()
        info = conn.info
        # On a socket libpq leaves host empty in some builds; the directory is then the compiled-in one.
        self.place = Place(info.host or "/", info.port, info.dbname, info.user, self.source)
        return conn

    def __str__(self) -> str:
        return str(self.place) if self.place else f"the target of {self.source}"


def find_target(
    dsn: str | None, config: Config, environ: Mapping[str, str], *, environment: str | None = None
) -> Target | None:
    """The target that was named; None: none was.

    :raises UsageError: the DSN cannot be read.
    :raises ConfigError: settings.database needs a variable that is not set.
    """
    if dsn is not None:
        return _target(_parsed(dsn), "--dsn", environ)
    names = [name for name in _NAMED_BY if environ.get(name)]
    if names:
        return _target({}, ", ".join(names), environ)
    from airflow_provider_wmigrate.engine.folder.config.database import resolve_database

    parameters = resolve_database(config, environ, environment=environment).parameters()
    return _target(parameters, f"settings.database of {config.file}", environ) if parameters else None


def _parsed(dsn: str) -> dict[str, Any]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = conninfo_to_dict(dsn) if dsn.strip() else {}
    except ProgrammingError:
        raise _unreadable() from None
    if any("@" in str(found.get(key, "")) for key in ("host", "dbname")) or not _is_port(found.get("port", "")):
        raise _unreadable()
    if not found:
        raise UsageError("--dsn is empty", hint="leave it out, or name the target")
    return dict(found)


def _unreadable() -> UsageError:
    """libpq would quote what it could not read, and that may be a piece of the password."""
    hint = "write postgresql://user@host:port/name, and special characters of a password as %XX"
    return UsageError("--dsn cannot be read as a URL or as key=value pairs", hint=hint)


def _is_port(text: Any) -> bool:
    return all(not part or part.isdigit() for part in str(text).split(","))


def _target(parameters: Mapping[str, Any], source: str, environ: Mapping[str, str]) -> Target:
    limits = {} if environ.get("PGCONNECT_TIMEOUT") else {"connect_timeout": _CONNECT_SECONDS}

    def connect() -> psycopg.Connection[Any]:
        import psycopg

        return psycopg.connect(**{**limits, **parameters})

    return Target(connect, source)
