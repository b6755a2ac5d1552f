# ruff: noqa: I002  (a Python too old for that import must still get as far as the sentence below)
"""The demo: a throw-away PostgreSQL and Airflow in ``.demo/``, one run of the migrations, and what came of it.

Run it with ``make demo`` or ``python3 dev/demo.py``; nothing needs to be installed before. This file is only the
door. It is written so that an old Python 3 can read it, makes the virtual environment (``demo_environment``), and goes
on in there (``demo_run``).
"""

import argparse
import os
import shutil
import signal
import sys

OLDEST, NEWEST = (3, 10), (3, 13)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main() -> int:
    leave_for_a_suitable_python()
    options = parse()
    # A shell that starts this in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, ROOT)
    from dev.demo_environment import DemoError, Environment

    try:
        environment = Environment(ROOT)
        if not environment.is_this_one():
            environment.prepare()
            environment.enter(sys.argv)
        from dev.demo_run import run

        return run(environment.folder, dag_id=options.dag, port=options.port, once=options.once, fresh=options.fresh)
    except DemoError as error:
        print("demo: " + str(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped", file=sys.stderr)
        return 130


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo.py", description="Run the migrations in a throw-away Airflow.")
    parser.add_argument("--once", action="store_true", help="stop by itself; exit status 0 only if the run succeeded")
    parser.add_argument("--port", type=port_number, metavar="N", help="port of the Airflow UI (default: a free one)")
    parser.add_argument("--fresh", action="store_true", help="start with an empty database and an empty Airflow")
    parser.add_argument(
        "--dag", default="warehouse_migrations", metavar="ID", help="run this DAG (default: %(default)s)"
    )
    return parser.parse_args()


def port_number(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (1 to 65535)")
    return int(text)


def leave_for_a_suitable_python() -> None:
    """Where ``python3`` is too old or too new for Airflow, a suitable one is often installed beside it."""
    if OLDEST <= tuple(sys.version_info[:2]) <= NEWEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        program = shutil.which(f"python3.{minor}")
        if program and os.system(f"'{program}' -c '' 2>/dev/null") == 0:
            os.execv(program, [program, *sys.argv])
    sys.exit(
        f"demo: this is Python {sys.version_info[0]}.{sys.version_info[1]}, and Airflow needs one from "
        f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}: install it (it is found by its name, as python3.12)"
    )


if __name__ == "__main__":
    sys.exit(main())
