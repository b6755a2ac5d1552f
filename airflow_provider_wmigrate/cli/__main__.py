"""Where `wmigrate` begins, and `python -m airflow_provider_wmigrate.cli`: Ctrl-C is heard from the first moment on."""

from __future__ import annotations

import sys


def main() -> int:
    """The console script."""
    try:
        from .main import main as run

        return run()
    except KeyboardInterrupt:  # while modules were still being loaded
        print("wmigrate: interrupted; nothing was changed", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
