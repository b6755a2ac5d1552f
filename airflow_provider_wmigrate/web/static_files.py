"""The page's files as the package ships them, and the tag of what they hold. Knows no Airflow."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
_TAGGED = re.compile(r"([0-9a-f]{20})/(.*)")


@cache
def files() -> dict[str, bytes]:
    """Path -> content, of all files that are there and of a type that a page needs: nothing else is served."""
    root = Path(__file__).parent / "static"
    found = (file for file in root.rglob("*") if file.is_file() and file.suffix in TYPES)
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in found}


@cache
def tag() -> str:
    """It changes with any of the files."""
    return hashlib.sha256(b"".join(content for _, content in sorted(files().items()))).hexdigest()[:20]


@cache
def page() -> str:
    """`index.html` with the addresses of its files, and every module announced, so that none waits for another."""
    modules = sorted(name for name in files() if name.endswith(".js") and name != "main.js")
    links = "\n".join(f'  <link rel="modulepreload" href="static/{name}">' for name in modules)
    return (
        files()["index.html"].decode().replace("  <!-- modules -->", links).replace('="static/', f'="static/{tag()}/')
    )


def without_tag(path: str) -> tuple[str | None, str]:
    """The tag in a path, which may be that of yesterday or none, and the path behind it."""
    found = _TAGGED.fullmatch(path)
    return (found[1], found[2]) if found else (None, path)
