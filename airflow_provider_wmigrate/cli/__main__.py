"""Where `wmigrate` begins, and `python -m airflow_provider_wmigrate.cli`: Ctrl-C and SIGTERM are heard from the first
moment on."""

from __future__ import annotations

import gc
import signal
import sys
from types import FrameType


def main() -> int:
    """The console script."""
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    sentence = "interrupted; nothing was changed"
    try:
        from .main import main as run

        sentence = "interrupted; look at `wmigrate status`"
        return run()
    except KeyboardInterrupt:  # while modules were still being loaded, or once more while the first one was being told
        if "--json" in sys.argv:
            print(f'{{"error": {{"code": "interrupted", "message": "{sentence}", "exit_code": 1}}}}')
        else:
            print(f"wmigrate: {sentence}", file=sys.stderr)
        return 1
    finally:
        gc.freeze()  # the process ends: Python would look through every object once more, for a sixth of a short call


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """A service manager's way to ask what a person asks with Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
