"""`airflow wmigrate ...`: the table of verbs in Airflow's words. Every `airflow` call imports this module, so the work
is loaded by the command that does it."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .arguments import AIRFLOW, Argument, Verb
from .parser import keywords
from .verbs import VERBS, options

if TYPE_CHECKING:
    from .call import Call
    from .target import Target

_NAME_A_TARGET = "give --conn-id, the id of an Airflow connection, or set conn_id in [wmigrate]"


def get_cli_commands() -> list[Any]:
    """What the provider's `cli` entry names."""
    from airflow.cli.cli_config import GroupCommand

    commands = tuple(_command(verb) for verb in VERBS if not verb.only_wmigrate)
    return [GroupCommand(name="wmigrate", help="PostgreSQL and TimescaleDB schema migrations", subcommands=commands)]


def _command(verb: Verb) -> Any:
    from airflow.cli.cli_config import ActionCommand

    positional = [argument for argument in verb.arguments if not argument.is_option]
    arguments = [_arg(argument) for argument in (*positional, *options(verb, AIRFLOW))]
    return ActionCommand(name=verb.name, help=verb.help, func=_runner(verb), args=tuple(arguments))


def _arg(argument: Argument) -> Any:
    """Airflow sends log lines to stderr for commands that have an argument called `output`: this is --json's name."""
    from airflow.cli.cli_config import Arg

    more = keywords(argument)
    if argument.flags == ("--json",):
        more["dest"] = "output"
    return Arg(argument.flags, **more)


def _runner(verb: Verb) -> Callable[[Namespace], None]:
    """What Airflow calls. It ignores what is returned, so the exit code is raised."""

    def run(arguments: Namespace) -> None:
        from airflow_provider_wmigrate.defaults import chosen_environment

        from .main import execute

        arguments.json = arguments.output
        arguments.environment = chosen_environment(getattr(arguments, "environment", None))
        arguments.dsn = None
        raise SystemExit(execute(verb, arguments, _connection, _NAME_A_TARGET, command="airflow wmigrate"))

    run.__name__ = f"wmigrate_{verb.name}"
    return run


def _connection(call: Call) -> Target | None:
    """The Airflow connection that was named, or that of `[wmigrate] conn_id`, from environment, secrets backend or
    Airflow's own database."""
    from airflow_provider_wmigrate.defaults import default_conn_id

    conn_id = getattr(call.arguments, "conn_id", None) or default_conn_id()
    if conn_id is None:
        return None
    # Without this only environment and secrets backend are asked: it is what Airflow's own commands set.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    from airflow_provider_wmigrate.hooks import MigrationHook

    from .target import Target

    return Target(MigrationHook(conn_id).get_conn, f"connection {conn_id}")
