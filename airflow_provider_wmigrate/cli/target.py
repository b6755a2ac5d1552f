"""Where `wmigrate` connects to. One source names the target, never a mixture of two.

A password is handed to psycopg and to nobody else: no message here quotes what was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .env_file import EnvFile
from .failure import UsageError

if TYPE_CHECKING:
    import psycopg

    from airflow_provider_wmigrate.engine.folder.config.root import Config

_CONNECT_SECONDS = 10
"""How long a server may take to answer, unless connect_timeout says otherwise."""

_URL = "DATABASE_URL"
_NAMED_BY = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGDATABASE")
"""The libpq variables that name a target; the others (PGUSER, PGPASSWORD, PGSSLMODE ...) only complete one."""


class Place(Struct, frozen=True):
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
    :param passed_over: other sources that name a target too and do not count.
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], source: str, passed_over: Callable[[], list[str]] = list
    ) -> None:
        self._connect, self.source, self.passed_over = connect, source, passed_over
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
    dsn: str | None, config: Config, environ: Mapping[str, str], env_file: EnvFile, *, environment: str | None = None
) -> Target | None:
    """The target that the first of the sources names; None: none does.

    :param environ: the process's variables, without those of the file.
    :raises UsageError: a URL or the file cannot be read.
    :raises ConfigError: settings.database needs a variable that is not set.
    """
    sources = _sources(dsn, config, environ, env_file, environment)
    for source, read in sources:
        if (parameters := read()) is not None:
            return _target(parameters, source, environ, lambda: [name for name, _ in sources])
    return None


def _sources(
    dsn: str | None, config: Config, environ: Mapping[str, str], env_file: EnvFile, environment: str | None
) -> Iterator[tuple[str, Callable[[], dict[str, Any] | None]]]:
    """Every source that names a target, the one that counts first; what reads one gives None if it is empty."""
    if dsn is not None:
        yield "--dsn", lambda: _read(dsn, "--dsn")
    if url := environ.get(_URL):
        yield _URL, lambda: _read(url, _URL)
    if names := [name for name in _NAMED_BY if environ.get(name)]:
        yield ", ".join(names), dict
    file, values = env_file.path, env_file.values
    if written := values.get(_URL):
        yield f"{_URL} of {file}", lambda: {**_completing(values), **_read(written, f"{_URL} of {file}")}
    if names := [name for name in _NAMED_BY if values.get(name)]:
        yield f"{', '.join(names)} of {file}", lambda: _of_libpq(values)
    database = config.settings_for(environment).database
    if any(getattr(database, key) for key in database.keys):
        yield f"settings.database of {config.file}", lambda: _of_config(config, environ, env_file, environment)


def target_of(dsn: str, source: str, environ: Mapping[str, str]) -> Target:
    """The database that was typed as a URL or as key=value pairs.

    :raises UsageError: it cannot be read.
    """
    return _target(_read(dsn, source), source, environ, list)


def _of_config(
    config: Config, environ: Mapping[str, str], env_file: EnvFile, environment: str | None
) -> dict[str, Any] | None:
    from airflow_provider_wmigrate.engine.folder.config.database import resolve_database

    found = resolve_database(config, env_file.behind(environ), environment=environment)
    missing = {name: value for name, value in env_file.values.items() if name not in environ}
    return {**_completing(missing), **found} if found else None


def _of_libpq(values: Mapping[str, str]) -> dict[str, Any]:
    """libpq's variables under the names that they have in a connection string."""
    from psycopg.pq import Conninfo

    names = {(o.envvar or b"").decode(): o.keyword.decode() for o in Conninfo.get_defaults()}
    return {names[name]: value for name, value in values.items() if value and name in names}


def _completing(values: Mapping[str, str]) -> dict[str, Any]:
    """Those of them that complete a target that something else names."""
    return _of_libpq({name: value for name, value in values.items() if name not in _NAMED_BY})


def _read(text: str, where: str) -> dict[str, Any]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    text = re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", text.strip())  # as SQLAlchemy writes its URLs
    if not text:
        raise UsageError(f"{where} is empty", hint="leave it out, or name the target")
    try:
        found = conninfo_to_dict(text)
    except ProgrammingError:
        raise _unreadable(where) from None
    if any("@" in str(found.get(key, "")) for key in ("host", "dbname")) or not _is_port(found.get("port", "")):
        raise _unreadable(where)
    return dict(found)


def _unreadable(where: str) -> UsageError:
    """libpq would quote what it could not read, and that may be a piece of the password."""
    hint = "write postgresql://user@host:port/name, and special characters of a password as %XX"
    return UsageError(f"{where} cannot be read as a PostgreSQL URL or as key=value pairs", hint=hint)


def _is_port(text: Any) -> bool:
    return all(not part or part.isdigit() for part in str(text).split(","))


def _target(
    parameters: Mapping[str, Any], source: str, environ: Mapping[str, str], passed_over: Callable[[], list[str]]
) -> Target:
    limits = {} if environ.get("PGCONNECT_TIMEOUT") else {"connect_timeout": _CONNECT_SECONDS}

    def connect() -> psycopg.Connection[Any]:
        import psycopg

        try:
            return psycopg.connect(**{**limits, **parameters})
        except psycopg.OperationalError as error:
            hosts = str(parameters.get("host") or environ.get("PGHOST") or "")
            if error.pgconn is None and "," in hosts:  # psycopg names the last one alone
                raise psycopg.OperationalError(str(error).replace(hosts.rpartition(",")[2], hosts)) from error
            raise

    return Target(connect, source, passed_over)
