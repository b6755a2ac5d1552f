"""`wmigrate`: from the words on the command line to an exit code. Loads no more than the verb at hand needs."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from .arguments import Verb
from .call import Answer, Call, FindTarget
from .failure import Interrupted, as_document, as_wmigrate_error, exit_code, server_words
from .parser import parse
from .screen import Screen, unread
from .verbs import verb_of

if TYPE_CHECKING:
    from .target import Target

_FEW_COLLECTIONS = 100_000
"""New objects between two looks for garbage. What is loaded stays, and looking through it takes a tenth of a call; the
rest needs no looking: it is freed at once."""

_NAME_A_TARGET = (
    "give --dsn, or set DATABASE_URL, or PGHOST and PGDATABASE (a .env file counts too), or write settings.database"
    " into the config"
)


def main(words: Sequence[str] | None = None) -> int:
    """One call of `wmigrate`."""
    gc.set_threshold(_FEW_COLLECTIONS)
    words = sys.argv[1:] if words is None else words
    _have_streams()
    screen = Screen(as_json="--json" in words)
    try:
        arguments = parse(words)
    except (Exception, KeyboardInterrupt) as error:
        return fail(error, screen, "wmigrate", {})
    return execute(verb_of(arguments.verb), arguments, _named_target, _NAME_A_TARGET, command="wmigrate")


def _have_streams() -> None:
    """A daemon or `>&-` gives a process none."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def execute(verb: Verb, arguments: Namespace, find: FindTarget, how_to_name_a_target: str, *, command: str) -> int:
    """Run one verb and show its answer or its error. Never raises for what a verb does wrong."""
    screen = Screen(as_json=arguments.json, verbose=arguments.verbose)
    call = Call(arguments, screen, find, how_to_name_a_target)
    try:
        return _execute(verb, call, screen)
    except (Exception, KeyboardInterrupt) as error:
        with undisturbed():
            _tell_source(call)
            told = interrupted(call) if isinstance(error, KeyboardInterrupt) else error
            return fail(told, screen, command, call.partial)


def _execute(verb: Verb, call: Call, screen: Screen) -> int:
    answer = _function(verb)(call)
    _tell_source(call)
    try:
        if screen.as_json:
            screen.document(answer.data)
        else:
            answer.show(screen)
        sys.stdout.flush()
    except BrokenPipeError:  # `wmigrate status | head`: who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(answer.exit_code)


def fail(error: BaseException, screen: Screen, command: str, partial: dict[str, object]) -> int:
    """Tell an error the way it was asked for."""
    known = as_wmigrate_error(error)
    if screen.as_json:
        with unread(sys.stdout):
            screen.document({"error": as_document(known), **({"partial": partial} if partial else {})})
            sys.stdout.flush()
            return exit_code(known)
    screen.error(command, str(known))
    for text in server_words(known) if screen.verbose else ():
        screen.tell(text)
    with unread(sys.stdout):
        sys.stdout.flush()  # what there was no room for must not fail once more when the process ends
    return exit_code(known)


def interrupted(call: Call) -> Interrupted:
    """What a person is told who did not want to wait for the end."""
    if call.touching:
        hint = "look at `wmigrate status`: it says what was kept"
        return Interrupted("interrupted while the target was being changed", hint=hint)
    return Interrupted("interrupted; nothing was changed")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Another Ctrl-C must not cut off the sentence, or the document, that says how the call ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_source(call: Call) -> None:
    target = call.__dict__.get("optional_target")
    if call.screen.verbose and target is not None:
        call.screen.tell(
            f"target: {target} (from {target.source})" if target.place else f"target: from {target.source}"
        )


def _function(verb: Verb) -> Callable[[Call], Answer]:
    module, _, name = verb.run.partition(":")
    function: Callable[[Call], Answer] = getattr(import_module(f"{__package__}.{module}"), name)
    return function


def _named_target(call: Call) -> Target | None:
    from .target import find_target

    given = call.arguments.dsn
    return find_target(given, call.config, os.environ, call.env_file, environment=call.environment)
