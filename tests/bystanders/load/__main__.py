"""The long form: `make bystanders`. Prints what an application felt of every sub-command of ALTER TABLE. Exits 1 if a
transaction of it was aborted, if it waited for longer than it may or than a record says, or if a migration did not get
through."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

import psycopg

from .cases import CASES, OUTSIDE
from .measure import Felt
from .suite import OFF, USUAL, against_the_order, sub_commands
from .world import world


def main() -> int:
    options = _options()
    cases = {name: case for name, case in {**CASES, **OUTSIDE}.items() if options.only in name}
    rows: dict[str, Felt] = {}
    with tempfile.TemporaryDirectory(prefix="wmigrate-bystanders-") as name, world() as made:
        place = Path(name)
        version = made.execute("SHOW server_version")[0][0]
        print(f"PostgreSQL {version}, psycopg {psycopg.__version__}, Python {platform.python_version()}")
        scripts = [f"ALTER COLUMN c SET DEFAULT {number}" for number in range(options.runs)]
        execution = OFF if options.off else USUAL
        for hold in dict.fromkeys((0.0, options.hold)):
            held, kind = (f", locks held for {hold:g} s", "_held") if hold else ("", "")
            rows[f"two tables against the order{held}"] = against_the_order(
                made, place / f"against{kind}", scripts, hold=hold, execution=execution
            )
            for count in options.tables if cases else ():
                repeat = 1 if hold else options.repeat
                rows[f"sub-commands, tables: {count}{held}"] = sub_commands(
                    made, place / f"of_{count}{kind}", cases, count, repeat=repeat, hold=hold, execution=execution
                )
    for title, felt in rows.items():
        if options.verbose or felt.is_wrong:
            print(f"{title}:", *felt.lines(), sep="\n  ")
        if felt.told_wrong:
            print(f"{title}, told wrong:", *felt.told_wrong, sep="\n  ")
    print(table(rows))
    return 1 if any(felt.is_wrong for felt in rows.values()) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bystanders", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="how often each sub-command is applied and rolled back")
    parser.add_argument("--tables", type=int, nargs="*", default=[1, 2, 5], help="how many tables a script changes")
    parser.add_argument("--only", default="", help="only sub-commands whose name holds this")
    parser.add_argument("--runs", type=int, default=15, help="migrations of two tables against the writers' order")
    parser.add_argument("--hold", type=float, default=0.6, help="seconds of a held script, whose record is compared")
    parser.add_argument("--off", action="store_true", help="without the lock set taken first, as it was before")
    parser.add_argument("--verbose", action="store_true", help="a line for every call")
    return parser.parse_args()


def table(rows: dict[str, Felt]) -> str:
    """Markdown."""
    columns = list(next(iter(rows.values())).cells())
    lines = [f"| load | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(felt.cells().values())} |" for name, felt in rows.items())])


__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
