"""Writes the reference of verbs into docs/cli.md: `python -m dev.cli_reference`. A test holds that it is current."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from airflow_provider_wmigrate.cli.patterns import PATTERNS
from airflow_provider_wmigrate.cli.verbs import COMMON, CONN_ID, DSN, VERBS, Argument, Verb

FILE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
BEGIN, END = "<!-- generated: python -m dev.cli_reference -->\n", "<!-- end of generated -->\n"


def reference() -> str:
    """The generated part as Markdown."""
    parts = ["\n## Templates\n\n| template | for | words |\n| --- | --- | --- |\n"]
    for name, pattern in PATTERNS.items():
        words = ", ".join(f"`{word}`" for word in pattern.words)
        parts.append(f"| `{name}` | {pattern.help} | {words} |\n")
    parts.append("\n## Reference\n\nOptions of every verb, before it or behind it:\n\n")
    parts.append(_table([*COMMON, DSN, CONN_ID]))
    parts += [_section(verb) for verb in VERBS]
    return "".join(parts) + "\n"


def page(text: str) -> str:
    """The page with its generated part made anew."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + reference() + END + rest.partition(END)[2]


def _section(verb: Verb) -> str:
    positional = " ".join(_positional(a) for a in verb.arguments if not a.is_option)
    notes = [verb.help]
    if verb.asks:
        notes.append("Asks before it changes the target.")
    if verb.database == "never":
        notes.append("Needs no target.")
    if verb.only_wmigrate:
        notes.append("Only in `wmigrate`.")
    heading = f"\n### `{' '.join(filter(None, (verb.name, positional)))}`\n\n{' '.join(notes)}\n"
    return heading + (f"\n{_table(verb.arguments)}" if verb.arguments else "")


def _positional(argument: Argument) -> str:
    name = "|".join(argument.choices) or argument.metavar
    return f"[{name}]" if argument.optional else name


def _table(arguments: Iterable[Argument]) -> str:
    return "| option | meaning |\n| --- | --- |\n" + "".join(_row(argument) for argument in arguments)


def _row(argument: Argument) -> str:
    flags = ", ".join(f"`{flag}`" for flag in argument.flags) if argument.is_option else f"`{_positional(argument)}`"
    value = f" {argument.metavar}" if argument.is_option and argument.metavar else ""
    meaning = argument.help
    if argument.choices and argument.is_option:
        meaning += f" One of: {', '.join(argument.choices)}."
    if argument.default is not None:
        meaning += f" Default: `{argument.default}`."
    only = {DSN: " Only in `wmigrate`.", CONN_ID: " Only in `airflow wmigrate`."}.get(argument, "")
    return f"| {flags}{value} | {(meaning + only).replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    FILE.write_text(page(FILE.read_text(encoding="utf-8")), encoding="utf-8")
