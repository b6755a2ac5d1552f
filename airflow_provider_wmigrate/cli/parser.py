"""The words after `wmigrate` -> one verb and its arguments. Whatever is misspelt is told with what was meant."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .arguments import COMMON, WMIGRATE, Argument, Verb
from .failure import USAGE, UsageError
from .verbs import VERBS, options
from .wrapping import wrapped

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check found something. `wmigrate VERB --help` tells more."


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Options that every verb has may stand before the verb as well as behind it.

    :param only: the verb that is known to be meant: the others' options are not made.
    """
    parser = _Parser(prog="wmigrate", description="PostgreSQL and TimescaleDB schema migrations.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"wmigrate {_version()}")
    for argument in (*COMMON, *WMIGRATE):
        _add(parser, argument)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb in (verb for verb in VERBS if only in (None, verb.name)):
        sub = verbs.add_parser(verb.name, help=verb.help, description=verb.help)
        for argument in verb.arguments:
            _add(sub, argument)
        for argument in [a for a in options(verb, WMIGRATE) if a not in verb.arguments]:
            _add(sub, argument, again=True)
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments; `verb` is the verb's name.

    :raises UsageError: a word makes no sense.
    :raises SystemExit: help or the version was asked for, or there is no verb, and has been printed.
    """
    if "help" in words[:1]:  # as git and docker have it
        words = [*words[1:2], "--help"]
    first = words[0] if words and any(words[0] == verb.name for verb in VERBS) else None
    parser = build_parser(first)
    _refuse_unknown_options(words)
    arguments = parser.parse_args(words)
    if arguments.verb is None and arguments.json:
        raise UsageError("no verb is given", hint=f"one of {', '.join(v.name for v in VERBS)}; `wmigrate --help`")
    if arguments.verb is None:
        parser.print_help()
        raise SystemExit(USAGE)  # a script whose verb is empty has done nothing
    return arguments


class _Formatter(argparse.HelpFormatter):
    """Lines end between words, also in a narrow terminal."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(text, width).split("\n")

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return wrapped(text, width)


class _Parser(argparse.ArgumentParser):
    """Its errors are raised, and name what was meant."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more, formatter_class=_Formatter, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        choice = re.match(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            known = [word.strip(" '") for word in choice[3].split(",")]
            what = choice[1].split("/")[-1].removeprefix("--").lower()
            meant = _verb_meant(choice[2]) if what == "verb" else None
            raise UsageError.unknown(what, choice[2], known, meant=meant)
        number = re.fullmatch(r"unrecognized arguments: (\d+)", message)
        hint = f"see `{self.prog} --help`"
        if number:
            hint = (
                f"a version is given as `up --to {number[1]}`, `down {number[1]}` or `history --migration {number[1]}`"
            )
        if message.endswith(": is empty"):
            hint = "is a variable not set? write a value, or leave the option out"
        for pattern, plainly in _PLAINLY.items():
            message = re.sub(pattern, plainly, message)
        raise UsageError(message, hint=hint)


_PLAINLY = {
    r"argument (?:-\w/)?(\S+): expected one argument": r"\1 needs a value",
    r"argument (?:-\w/)?(\S+): ignored explicit argument .*": r"\1 takes no value",
    r"unrecognized arguments: (.*)": r"more words than expected: \1",
    r"the following arguments are required: (.*, .*)": r"\1 are missing",
    r"the following arguments are required: (.*)": r"\1 is missing",
    r"^argument (?:-\w/)?(\S+): is empty$": r"\1 is empty",
    r"^argument (--\S+: )": r"\1",
}
"""What argparse says -> in plain words."""


def _verb_meant(word: str) -> str | None:
    from .meanings import verb_meant

    return verb_meant(word, [verb.name for verb in VERBS])


def _add(parser: argparse.ArgumentParser, argument: Argument, *, again: bool = False) -> None:
    """:param again: the option stands before the verb too, so its default must not hide what was said there."""
    more = keywords(argument)
    if again:
        more["default"] = argparse.SUPPRESS
    parser.add_argument(*argument.flags, **more)


def keywords(argument: Argument) -> dict[str, Any]:
    """What argparse wants to know of an argument. Airflow's parser is argparse too."""
    more: dict[str, Any] = {"help": _help(argument)}
    if argument.kind == "flag":
        return {**more, "action": "store_true"}
    if argument.kind == "list" and not argument.is_option:
        more["nargs"] = "*"
    elif argument.kind == "list":
        more |= {"action": "append", "default": None}
    else:
        more["default"] = argument.default
    if argument.kind == "number":
        more["type"] = positive
    elif not argument.choices:
        more["type"] = filled
    if argument.choices:
        more["choices"] = argument.choices
    if argument.metavar or not argument.is_option:
        more["metavar"] = argument.metavar or argument.name
    if argument.required:
        more["required"] = True
    if not argument.is_option and argument.optional and argument.kind != "list":
        more["nargs"] = "?"
    return more


def _help(argument: Argument) -> str:
    said = argument.help.replace("%", "%%")
    if argument.choices:
        said += f" One of: {', '.join(argument.choices)}."
    return said + (f" Default: {argument.default}." if argument.default is not None else "")


def positive(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def filled(text: str) -> str:
    """Text. Empty is what a script gives whose variable is not set: it is no answer, least of all the default one."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty")
    return text


def _refuse_unknown_options(words: Sequence[str]) -> None:
    """Before argparse, which would take the value of an unknown option for a verb."""
    verbs = {verb.name: verb for verb in VERBS}
    verb = next((verbs[word] for word in words if word in verbs), None)
    known = _known_options(verb)
    for word in words:
        if word == "--":
            return
        flag = word.partition("=")[0]
        if re.fullmatch(r"--?[A-Za-z][\w-]*", flag) and flag not in known and not re.fullmatch(r"-[vyh]+", flag):
            raise _unknown_option(verb, flag, known)


def _unknown_option(verb: Verb | None, flag: str, known: set[str]) -> UsageError:
    from .meanings import option_meant

    command = f"wmigrate {verb.name}" if verb else "wmigrate"
    meant = option_meant(flag, known)
    hint = f"did you mean {meant}?" if meant else f"see `{command} --help`"
    if verb and flag in ("--to", "--target", "--version", "--revision", "--migration") and verb.takes_version:
        hint = f"write the version without an option: `{command} 003`"
    return UsageError(f"{verb.name} has no option {flag}" if verb else f"there is no option {flag}", hint=hint)


def _known_options(verb: Verb | None) -> set[str]:
    verbs = (verb,) if verb else VERBS
    flags = {flag for v in verbs for a in options(v, WMIGRATE) for flag in a.flags}
    return flags | {"-h", "--help", "--version"}


def _version() -> str:
    return str(sys.modules[__package__.partition(".")[0]].__version__)
