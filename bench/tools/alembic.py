"""Alembic, with a transaction for each migration as the others have it."""

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
