"""Every failure as `{"error": {"code", "message", "faults"}}`, with the status its class says."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from nodegate.api.headers import SECURITY_HEADERS
from nodegate.documents import dotted
from nodegate.errors import BadDocument, NodegateError

log = logging.getLogger("nodegate.api")

WORDS = {
    400: "bad_request",
    401: "unauthorized",
    403: "refused",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "not_json",
    421: "wrong_host",
    422: "invalid",
    502: "malformed",
    503: "unavailable",
}
"""Status → the word in `code`; a status that is not here is `internal`."""


class FaultView(BaseModel):
    """One thing wrong in the document that was sent. `key` is the dotted path of the field."""

    key: str
    message: str


class ErrorView(BaseModel):
    """What went wrong: a word for programs, a sentence for people."""

    code: str
    message: str
    faults: tuple[FaultView, ...] = Field((), description="for documents that were sent: every fault")


class ErrorDocument(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorView


def answer(
    status: int,
    message: str,
    *,
    faults: Iterable[FaultView] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error answer."""
    view = ErrorView(code=WORDS.get(status, "internal"), message=message, faults=tuple(faults))
    return JSONResponse(ErrorDocument(error=view).model_dump(mode="json"), status, headers)


def install(app: FastAPI) -> None:
    """Map every exception that a route can raise, the unexpected ones included."""
    app.add_exception_handler(NodegateError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _by_framework)
    app.add_exception_handler(Exception, _unexpected)


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, NodegateError)
    if isinstance(error, BadDocument):
        faults = [FaultView(key=fault.key, message=fault.message) for fault in error.faults]
        message = "; ".join(f"{view.key}: {view.message}" if view.key else view.message for view in faults)
        return answer(error.code, message, faults=faults)
    return answer(error.code, str(error), headers={"Retry-After": "1"} if error.code == 503 else None)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = []
    for item in error.errors():
        place, *path = item["loc"]
        if item["type"] == "json_invalid":
            faults.append(FaultView(key="", message=f"not valid JSON: {item['ctx']['error']}"))
            continue
        message = (
            "unknown field"
            if item["type"] == "extra_forbidden"
            else item["msg"].removeprefix("Value error, ")
        )
        key = dotted(_field_path(path)) if place == "body" else f"{place} {'.'.join(map(str, path))}"
        faults.append(FaultView(key=key, message=message[:1].lower() + message[1:]))
    message = "; ".join(f"{view.key}: {view.message}" if view.key else view.message for view in faults)
    return answer(422, message, faults=faults)


def _field_path(path: list[str | int]) -> list[str | int]:
    """Without the names that pydantic gives to the branches of a union."""
    return [part for part in path if part not in {"str", "int", "float", "bool"} and "[" not in str(part)]


async def _by_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: f"there is no {request.url.path} here; see /api/docs"}
    return answer(error.status_code, words.get(error.status_code, error.detail), headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Runs outside of all middleware, hence the headers; the server logs the trace."""
    log.error("%s %s failed by a fault of nodegate's own: %r", request.method, request.url.path, error)
    return answer(500, "a fault of nodegate's own; its log has the details", headers=SECURITY_HEADERS)
