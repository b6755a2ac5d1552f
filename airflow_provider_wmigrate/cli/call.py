"""One call of one verb: what was typed, and the folder, config and target it speaks of, each opened when needed."""

from __future__ import annotations

import os
import re
import socket
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.model import Identity, Script

from .failure import DONE, UsageError
from .screen import Screen

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.events import Listener
    from airflow_provider_wmigrate.engine.folder.config.root import Config
    from airflow_provider_wmigrate.engine.folder.config.settings import Settings
    from airflow_provider_wmigrate.engine.folder.folder import Folder
    from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
    from airflow_provider_wmigrate.engine.looking_ahead import LookingAhead
    from airflow_provider_wmigrate.engine.migrator import Migrator
    from airflow_provider_wmigrate.engine.replay import Scratch
    from airflow_provider_wmigrate.engine.session.session import Session
    from airflow_provider_wmigrate.engine.sql.analysis import Analyses
    from airflow_provider_wmigrate.engine.sql.script import Analysis

    from .env_file import EnvFile
    from .target import Target

FindTarget = Callable[["Call"], "Target | None"]
_CONFIG_FILE = "migration_config.yaml"
_NUMBERED = re.compile(r"[0-9]+[-_.].*\.sql")


class Answer(Struct, frozen=True):
    """What a verb says: values for programs, and how a person sees them."""

    data: dict[str, Any]
    show: Callable[[Screen], None]
    exit_code: int = DONE


@dataclass
class Call:
    """:param arguments: the parsed options. :param find_target: knows where the command's targets come from."""

    arguments: Namespace
    screen: Screen
    find_target: FindTarget
    how_to_name_a_target: str
    partial: dict[str, Any] = field(default_factory=dict)
    """What has been done so far, for the error document of a verb that fails half way."""
    touching: bool = False
    """Whether a person, or --yes, has let the verb change the target."""

    @property
    def environment(self) -> str | None:
        return self.arguments.environment or None

    @cached_property
    def env_file(self) -> EnvFile:
        """The variables in a file. `airflow wmigrate` reads none: it has no such options."""
        from .env_file import EnvFile

        off = getattr(self.arguments, "no_env_file", True)
        return EnvFile.chosen(getattr(self.arguments, "env_file", None), switched_off=off)

    @property
    def environ(self) -> Mapping[str, str]:
        """What `${NAME}` in the config stands for."""
        return self.env_file.behind(os.environ)

    @cached_property
    def folder_path(self) -> Path:
        return find_folder(self.arguments.folder, Path())

    @cached_property
    def folder(self) -> Folder:
        """The folder, read. An unknown environment is wrong usage, like an unknown folder."""
        from airflow_provider_wmigrate.engine.folder.folder import read_folder

        folder = read_folder(self._existing_folder(), self.environ)
        self._check_environment(folder.config)
        return folder

    @cached_property
    def seen_folder(self) -> Folder:
        """The folder as far as it can be read: for verbs that look and change nothing."""
        from airflow_provider_wmigrate.engine.folder.folder import look_at_folder

        folder = look_at_folder(self._existing_folder(), self.environ)
        self._check_environment(folder.config)
        return folder

    @cached_property
    def config(self) -> Config:
        """The config alone: for verbs that do not care about the SQL files, and work without any folder."""
        from airflow_provider_wmigrate.engine.folder.config.reading import look_at_config

        folder = self._existing_folder() if self.arguments.folder else self.folder_path
        config, _ = look_at_config(folder, self.environ)
        self._check_environment(config)
        return config

    @property
    def settings(self) -> Settings:
        return self.config.settings_for(self.environment)

    @property
    def ledger(self) -> Ledger:
        from airflow_provider_wmigrate.engine.ledger.ledger import Ledger

        return Ledger(self.settings.ledger.schema_name)

    @cached_property
    def optional_target(self) -> Target | None:
        return self.find_target(self)

    @property
    def target(self) -> Target:
        """The target, which the verb cannot do without."""
        target = self.optional_target
        if target is None:
            raise UsageError("no target is named", hint=self.how_to_name_a_target)
        return target

    @property
    def scratch_target(self) -> Target | None:
        """What `--scratch` names; None: nothing but, as `target`, the target's own server."""
        from .target import target_of

        given = self.arguments.scratch
        return None if given in (None, "target") else target_of(given, "--scratch", os.environ)

    def scratch(self) -> Scratch:
        """Where and as whom the verb tries migrations: on the target's server, if no other was given."""
        from airflow_provider_wmigrate.engine.replay import Scratch
        from airflow_provider_wmigrate.engine.session.scratch import ScratchServer

        apart = self.scratch_target
        server = ScratchServer((apart or self.target).connect, apart=apart is not None)
        return Scratch(server, identity(), self.environment)

    def migrator(self, on_event: Listener | None = None) -> Migrator:
        from airflow_provider_wmigrate.engine.migrator import Migrator

        more: dict[str, Any] = {} if on_event is None else {"on_event": on_event}
        made = Migrator(
            self.target.connect, self.folder, identity=identity(), environment=self.environment, **more, **self._chosen
        )
        made.analyses = self.analyses
        if self.settings.backup.enabled:
            from airflow_provider_wmigrate.engine.backup.outside import Outside

            made.outside = Outside(self.environ)
        return made

    @property
    def _chosen(self) -> dict[str, Any]:
        outside = "--outside-window" if getattr(self.arguments, "outside_window", False) else ""
        return {"rollback_script": getattr(self.arguments, "script", None), "outside_window": outside}

    def analysed(self, script: Script) -> Analysis:
        return self.analyses.of(script)

    @cached_property
    def analyses(self) -> Analyses:
        """The scripts that were parsed in this call."""
        from airflow_provider_wmigrate.engine.sql.analysis import Analyses

        return Analyses()

    def planning(self, seen: Folder | None = None) -> LookingAhead:
        """Reads and plans, and cannot act.

        :param seen: a folder that may have mistakes; None: this one has none.
        """
        from airflow_provider_wmigrate.engine.looking_ahead import LookingAhead

        folder = self.folder if seen is None else seen
        return LookingAhead(
            self.target.connect, folder, identity=identity(), environment=self.environment, **self._chosen
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection for reading."""
        from airflow_provider_wmigrate.engine.session.session import open_session

        with open_session(self.target.connect, application_name="wmigrate read") as session:
            session.conn.execute("SET default_transaction_read_only = on")
            yield session

    def target_document(self) -> dict[str, Any] | None:
        """The target as programs get it: never with a password."""
        place = self.optional_target.place if self.optional_target else None
        if place is None:
            return None
        return {name: getattr(place, name) for name in ("host", "port", "database", "user", "source")}

    def _existing_folder(self) -> Path:
        path = self.folder_path
        if path.is_dir():
            return path
        reason = "is not a folder" if path.exists() else "there is no such folder"
        hint = "correct --folder" if self.arguments.folder else "give --folder, or begin one with `new NAME`"
        raise UsageError(f"{path}: {reason}", hint=hint)

    def _check_environment(self, config: Config) -> None:
        if self.environment is not None and self.environment not in config.environments:
            raise UsageError.unknown("environment", self.environment, config.environments)


def find_folder(given: str | None, here: Path) -> Path:
    """The folder that was given; else the one we stand in, if it holds migrations; else ./migrations."""
    if given is not None:
        return Path(given)
    holds_migrations = (here / _CONFIG_FILE).is_file() or any(_NUMBERED.fullmatch(p.name) for p in here.iterdir())
    return here if holds_migrations else here / "migrations"


def identity() -> Identity:
    """Who sits at the terminal: account and machine."""
    import getpass

    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container's arbitrary user id has no name
        account = f"uid {os.getuid()}"
    return Identity(f"{account}@{socket.gethostname()}")
