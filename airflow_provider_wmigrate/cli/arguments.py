"""What a verb and its arguments are, and the options that every verb has.

Data only, standard library only: every `airflow` call imports this module.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["text", "flag", "number", "list"]
"""`list` is text that may be given several times."""

Completes = Literal["", "folder", "file"]


class Argument(Struct, frozen=True):
    """An option (its flags begin with a dash) or a positional argument (one name)."""

    flags: tuple[str, ...]
    help: str
    metavar: str = ""
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    default: str | int | None = None
    optional: bool = False
    """Of a positional argument."""
    required: bool = False
    """Of an option."""
    completes: Completes = ""

    @property
    def is_option(self) -> bool:
        return self.flags[0].startswith("-")

    @property
    def name(self) -> str:
        """The attribute under which the parsed value is found."""
        return self.flags[-1].lstrip("-").replace("-", "_")


class Verb(Struct, frozen=True):
    """One thing the command can do. `run` names its function, `module:function` inside this package."""

    name: str
    help: str
    run: str
    arguments: tuple[Argument, ...] = ()
    database: Literal["needed", "optional", "never"] = "needed"
    asks: bool = False
    """Whether it changes the target, and so asks first."""
    only_wmigrate: bool = False

    @property
    def takes_version(self) -> bool:
        """Whether a version is written behind it, without an option."""
        return any(argument.flags == ("version",) for argument in self.arguments)


FOLDER = Argument(
    ("--folder",),
    "Folder of the migrations. Default: the current folder if it holds migrations, else ./migrations.",
    "PATH",
    completes="folder",
)
ENVIRONMENT = Argument(("--environment",), "Environment in migration_config.yaml whose settings are used.", "NAME")
JSON = Argument(("--json",), "One JSON document on stdout, for programs; errors too.", kind="flag")
YES = Argument(("-y", "--yes"), "Do not ask before changing the target.", kind="flag")
VERBOSE = Argument(
    ("-v", "--verbose"), "Show more: the server's notices, locks, where the target comes from.", kind="flag"
)
COMMON = (FOLDER, ENVIRONMENT, JSON, YES, VERBOSE)

DSN = Argument(
    ("--dsn",),
    "Target as postgresql://... or key=value pairs. Default: DATABASE_URL, else PGHOST, PGDATABASE or PGSERVICE, else"
    " the same names in the .env file, else settings.database.",
    "DSN",
)
ENV_FILE = Argument(
    ("--env-file",),
    "File with variables (NAME=VALUE). Default: .env in the current folder, if there is one.",
    "FILE",
    completes="file",
)
NO_ENV_FILE = Argument(("--no-env-file",), "Read no such file.", kind="flag")
WMIGRATE = (DSN, ENV_FILE, NO_ENV_FILE)
"""Where the target comes from, of `wmigrate`."""

CONN_ID = Argument(("--conn-id",), "Target as an Airflow connection id.", "ID")
AIRFLOW = (CONN_ID,)
"""The same of `airflow wmigrate`."""
