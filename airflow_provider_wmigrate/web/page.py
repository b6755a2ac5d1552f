"""The page and its files, as the package ships them: no build, nothing from anywhere else."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.middleware.base import RequestResponseEndpoint

from .problems import ProblemError

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)

router = APIRouter(dependencies=[Depends(get_user)], include_in_schema=False)


async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Headers for every answer: only for the caller's eyes, and a browser takes it for nothing but what it is."""
    response = await call_next(request)
    response.headers.setdefault("Cache-Control", "private, no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@router.get("/", response_model=None)
def get_page(request: Request) -> Response:
    """The page."""
    return _served("index.html", request)


@router.get("/static/{path:path}", response_model=None)
def get_file(path: str, request: Request) -> Response:
    """One of its files."""
    return _served(path, request)


def _served(path: str, request: Request) -> Response:
    found = _files().get(path)
    if found is None:
        raise ProblemError(404, "not_found", "the page has no such file")
    content, tag = found
    headers = {"Cache-Control": "private, no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES["." + path.rpartition(".")[2]], headers=headers)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Path -> content and tag, of all files that are there and of a type that a page needs: nothing else is served."""
    root, found = Path(__file__).parent / "static", {}
    for file in root.rglob("*"):
        if file.is_file() and file.suffix in _TYPES:
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            found[file.relative_to(root).as_posix()] = content, tag
    return found
