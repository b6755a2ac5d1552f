"""Errors as problem details (RFC 9457): one sentence for people, one word for programs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import Response

MEDIA_TYPE = "application/problem+json"
_CODES = {401: "not_authenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}
_DETAILS = {
    403: "you have no right to do this; ask whoever manages the rights in Airflow",
    404: "there is nothing at this address",
    405: "this address does not take that method",
}
_LOG_IN = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Log in</title>
<body style="font: 1rem/1.5 system-ui, sans-serif; margin: 2rem"><h1 style="font-size: 1.2rem">Not logged in</h1>
<p>Log in to Airflow, then load this page again.</p></body></html>"""


class Problem(BaseModel):
    """An error, as RFC 9457 has it (`application/problem+json`)."""

    type: str = Field(description="`urn:wmigrate:problem:<code>`.")
    title: str
    status: int
    detail: str = Field(description="One sentence: what, and what next.")
    code: str = Field(description="Stable word for programs.")
    errors: list[dict[str, Any]] | None = Field(default=None, description="Of wrong input: place and message.")


class ProblemError(Exception):
    """Ends a request with this problem."""

    def __init__(self, status: int, code: str, detail: str, errors: list[dict[str, Any]] | None = None) -> None:
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        super().__init__(detail)


def problem(status: int, code: str, detail: str, errors: list[dict[str, Any]] | None = None) -> Response:
    """The answer that says so."""
    from fastapi.responses import JSONResponse

    body = Problem(
        type=f"urn:wmigrate:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=errors,
    )
    return JSONResponse(body.model_dump(), status, {"Cache-Control": "no-store"}, MEDIA_TYPE)


def first_line(error: Exception) -> str:
    """What an error says first; of one without words its kind."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def install(app: FastAPI) -> None:
    """Have every error of an app told this way."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    handlers: dict[Any, Any] = {
        ProblemError: _told,
        RequestValidationError: _invalid,
        HTTPException: _http,
        Exception: _unexpected,
    }
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)


def _told(_: Request, error: ProblemError) -> Response:
    return problem(error.status, error.code, error.detail, error.errors)


def _invalid(_: Request, error: Any) -> Response:
    """The input itself is not repeated."""
    errors = [{"loc": [str(part) for part in e["loc"]], "msg": e["msg"], "type": e["type"]} for e in error.errors()]
    first = errors[0] if errors else {"loc": [], "msg": "wrong"}
    return problem(422, "invalid_input", f"{'.'.join(first['loc'])}: {first['msg']}", errors)


def _http(request: Request, error: Any) -> Response:
    from fastapi.responses import HTMLResponse

    status = int(error.status_code)
    if status == 401 and "/api/" not in request.url.path:
        return HTMLResponse(_LOG_IN, 401, {"Cache-Control": "no-store"})
    code = _CODES.get(status, HTTPStatus(status).phrase.lower().replace(" ", "_"))
    detail = _DETAILS.get(status, "log in to Airflow, or send a valid token" if status == 401 else str(error.detail))
    return problem(status, code, detail)


def _unexpected(_: Request, __: Exception) -> Response:
    return problem(500, "internal_error", "a fault in wmigrate; the log of Airflow's API server has the traceback")
