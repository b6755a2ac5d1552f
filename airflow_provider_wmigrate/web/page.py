"""The page and its files, as the package ships them: no build, nothing from anywhere else."""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.middleware.base import RequestResponseEndpoint

from . import static_files
from .problems import ProblemError

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
async def get_page() -> Response:
    """The page, which a browser asks for always, and which names its files by what they hold."""
    headers = {"Cache-Control": "private, no-cache"}
    return Response(static_files.page(), media_type=static_files.TYPES[".html"], headers=headers)


@router.get("/static/{path:path}", response_model=None)
async def get_file(path: str) -> Response:
    """One of its files. Behind the tag of today it never changes, so a browser asks for it once."""
    tag, name = static_files.without_tag(path)
    content = static_files.files().get(name)
    if content is None:
        raise ProblemError(404, "not_found", "the page has no such file")
    kept = "private, max-age=31536000, immutable" if tag == static_files.tag() else "private, no-cache"
    media_type = static_files.TYPES["." + name.rpartition(".")[2]]
    return Response(content, media_type=media_type, headers={"Cache-Control": kept})
