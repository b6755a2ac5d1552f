"""`make sbom`: the wheel and everything it needs, installed into an empty environment and listed as CycloneDX 1.6.

Written to dist/; the list says what `pip install` gave on this day with constraints.txt, on this Python.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    (wheel,) = (ROOT / "dist").glob("*.whl")
    target = wheel.with_name(f"{'-'.join(wheel.name.split('-')[:2])}.cdx.json")
    with tempfile.TemporaryDirectory() as scratch:
        python = Path(scratch, "bin", "python")
        _call(sys.executable, "-m", "venv", "--without-pip", scratch)
        uv = shutil.which("uv")
        tool = [uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "--python", str(python), "install"]
        more = ["--python", str(python)] if uv else []
        _call(*tool, *more, "--quiet", "--constraint", str(ROOT / "constraints.txt"), str(wheel))
        command = [
            sys.executable,
            "-m",
            "cyclonedx_py",
            "environment",
            "--output-reproducible",
            "--spec-version",
            "1.6",
        ]
        _call(*command, "--pyproject", str(ROOT / "pyproject.toml"), "--output-file", str(target), str(python))
    print(f"wrote {target.relative_to(ROOT)}")
    return 0


def _call(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
