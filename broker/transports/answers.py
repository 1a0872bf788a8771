"""What HTTP requests are refused with: a status, and the protocol's `error` as JSON."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from broker.codec import JSON
from broker.errors import ERRORS, Closed
from broker.gateway import Refused
from broker.messages import Error

CLOSED = {
    4001: "not_authenticated", 4003: "forbidden", 4004: "unknown_server", 4009: "bad_message",
}  # fmt: skip
"""What a connection that is refused as a whole is answered, by its close code."""


MISSED: Mapping[int, str] = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}
"""What a request is answered that no route takes, by its status."""


def unfit(field: str, why: str) -> Refused:
    """422: a field is missing, or has no value that it may have."""
    return Refused("bad_message", f"{field}: {why}", field)


def refused_as(error: Closed) -> Refused:
    """The refusal of a connection, as that of a request."""
    field = "client" if error.code == 4009 else ""
    return Refused(CLOSED.get(error.code, "internal"), error.reason, field)


def answer(message: Any, status: int = HTTPStatus.OK) -> Response:
    """A message of the protocol, or a list of them, as the JSON body of a response."""
    return Response(JSON.encode_any(message), status, media_type="application/json")


async def on_refused(request: Request, error: Exception) -> Response:
    """Answers a handler that has raised `Refused`."""
    assert isinstance(error, Refused)
    detail = {"field": error.field} if error.field else UNSET
    told = Error(error.code, error.message, error.retryable, detail=detail)
    return answer(told, error.status)


async def on_missed(request: Request, error: Exception) -> Response:
    """Answers a request that no handler was found for."""
    assert isinstance(error, HTTPException)
    code = MISSED.get(error.status_code, "bad_message")
    why = ERRORS[code].meaning if error.status_code in MISSED else error.detail
    response = answer(Error(code, why, retryable=False), error.status_code)
    response.headers.update(error.headers or {})
    if "allow" in response.headers:  # which comes from a set
        response.headers["allow"] = ", ".join(sorted(response.headers["allow"].split(", ")))
    return response
