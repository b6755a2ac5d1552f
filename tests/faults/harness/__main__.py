"""The long form: `make faults`, STRIKES=500 SEED=1. Prints a table and what was lost; exits 1 if anything was."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psycopg

from .arena import Arena
from .crowd import crowd, write_folder
from .faults import FAULTS
from .kinds import KINDS
from .sabotage import SABOTAGE
from .strike import Plan, Verdict, plans, strike


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="wmigrate-faults-") as place, Arena(Path(place)) as arena:
        with arena.conn("postgres") as conn:
            server = conn.execute("SHOW server_version").fetchone()
        print(
            f"PostgreSQL {server[0] if server else '?'}, psycopg {psycopg.__version__}, "
            f"Python {platform.python_version()}, seed {options.seed}"
        )
        start = time.monotonic()
        verdicts = _strikes(arena, options)
        crowds = _crowds(arena, options)
        print(table(verdicts))
        _tell_what_is_wrong(verdicts)
        print(f"{len(verdicts)} strikes and the runs of several in {time.monotonic() - start:.0f} s")
    return 1 if crowds or any(v.result == "lost" or v.remarks for v in verdicts) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--strikes", default="500", help="how many; `all`: every statement boundary and as many others")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=[*KINDS], help="kind of migration; all by default")
    parser.add_argument("--fault", action="append", choices=[*FAULTS], help="kind of fault; all by default")
    parser.add_argument("--only", default="", help="only strikes whose description holds this")
    parser.add_argument("--list", action="store_true", help="list the strikes instead of striking")
    parser.add_argument("--crowds", type=int, default=200, help="runs of two and of five runners at once")
    parser.add_argument("--sabotage", choices=[*SABOTAGE], help="break the engine, to see that it is found")
    parser.add_argument("--verbose", action="store_true", help="a line for every strike")
    return parser.parse_args()


def _strikes(arena: Arena, options: argparse.Namespace) -> list[Verdict]:
    count = None if options.strikes == "all" else int(options.strikes)
    kinds, faults = options.kind or [*KINDS], options.fault or [*FAULTS]
    wanted = [p for p in plans(arena, options.seed, count, kinds=kinds, faults=faults) if options.only in str(p)]
    if options.list:
        print(*wanted, sep="\n")
        return []
    arena.sabotage = options.sabotage
    verdicts = []
    for number, plan in enumerate(wanted, 1):
        verdict = strike(arena, plan)
        verdicts.append(verdict)
        if options.verbose or verdict.result == "lost" or verdict.remarks:
            _tell(number, verdict)
        elif number % 50 == 0:
            print(f"{number} of {len(wanted)}", flush=True)
    return verdicts


def _tell(number: int, verdict: Verdict) -> None:
    missed = "" if verdict.reached else " (over before)"
    print(f"{number}. {verdict.plan}: {verdict.result}{missed}, {verdict.seconds:.2f} s", flush=True)
    for line in verdict.losses[:8] + verdict.remarks + ([verdict.advice] if verdict.advice else []):
        print(f"      {line[:900]}", flush=True)


def _crowds(arena: Arena, options: argparse.Namespace) -> int:
    if options.list or not options.crowds:
        return 0
    folder = write_folder(Path(tempfile.mkdtemp(dir=arena.place)))
    bad = 0
    for runners in (2, 5):
        start, wrong = time.monotonic(), 0
        for _ in range(options.crowds):
            found = crowd(arena, folder, runners)
            wrong += bool(found)
            if found:
                print(f"{runners} runners: {found}", flush=True)
        bad += wrong
        seconds = time.monotonic() - start
        print(f"{options.crowds} runs of {runners} runners: {wrong} wrong, {seconds:.0f} s", flush=True)
    return bad


def table(verdicts: list[Verdict]) -> str:
    """Markdown: a row for each fault, and for each fault and kind of migration."""
    lines = ["| fault | migration | tried | recovered by itself | stopped with advice | lost |"]
    lines.append("|---|---|--:|--:|--:|--:|")
    for fault in FAULTS:
        for kind in KINDS:
            lines += _row(fault, kind, [v for v in verdicts if (v.plan.fault, v.plan.kind) == (fault, kind)])
    return "\n".join([*lines, *_row("**all**", "", verdicts)])


def _row(fault: str, kind: str, verdicts: list[Verdict]) -> list[str]:
    count = Counter(v.result for v in verdicts)
    if not verdicts:
        return []
    return [f"| {fault} | {kind} | {len(verdicts)} | {count['recovered']} | {count['stopped']} | {count['lost']} |"]


def _tell_what_is_wrong(verdicts: list[Verdict]) -> None:
    advice = Counter((v.advice or "").split("; ")[-1][:150] for v in verdicts if v.result == "stopped")
    for text, count in advice.most_common():
        print(f"advice, {count} times: {text}")
    remarks = [v for v in verdicts if v.remarks]
    print(f"{sum(v.result == 'lost' for v in verdicts)} lost, {len(remarks)} with remarks")


__all__ = ["Plan", "main"]

if __name__ == "__main__":
    sys.exit(main())
