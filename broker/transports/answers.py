"""What HTTP requests are refused with: a status, and the protocol's `error` as JSON."""

from http import HTTPStatus
from typing import Any

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from broker.codec import JSON
from broker.errors import ERRORS, Closed
from broker.messages import Error

STATUS = {
    "forbidden": HTTPStatus.FORBIDDEN,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "namespace_not_here": HTTPStatus.NOT_FOUND,
    "not_acceptable": HTTPStatus.NOT_ACCEPTABLE,
    "no_worker": HTTPStatus.SERVICE_UNAVAILABLE,
    "not_authenticated": HTTPStatus.UNAUTHORIZED,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "shutting_down": HTTPStatus.SERVICE_UNAVAILABLE,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unknown_server": HTTPStatus.NOT_FOUND,
    "unknown_topic": HTTPStatus.NOT_FOUND,
    "unsupported_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}
"""The status of an error code. The broker's other ones are about the request's form (422), a
plugin's are about what its stream has come to (409)."""

CLOSED = {4001: "not_authenticated", 4003: "forbidden", 4004: "unknown_server"}
"""What a connection that is refused as a whole is answered, by its close code."""


class Refused(Exception):
    """A request is refused.

    Args:
        code, message: what is wrong, as in the protocol's `error`.
        field: what it is about, as `detail.field`: of the query, the headers or the body.
        status: the HTTP status, where it is another than the code's.
    """

    def __init__(self, code: str, message: str, field: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.status = status or status_of(code)
        detail = {"field": field} if field else UNSET
        self.error = Error(code, message, ERRORS[code].retryable, detail=detail)


def unfit(field: str, why: str) -> Refused:
    """422: a field is missing, or has no value that it may have."""
    return Refused("bad_message", f"{field}: {why}", field)


def refused_as(error: Closed) -> Refused:
    """The refusal of a connection, as that of a request."""
    return Refused(CLOSED.get(error.code, "internal"), error.reason)


def status_of(code: str) -> int:
    """The HTTP status of an error code."""
    other = HTTPStatus.UNPROCESSABLE_ENTITY if code in ERRORS else HTTPStatus.CONFLICT
    return STATUS.get(code, other)


def answer(message: Any, status: int = HTTPStatus.OK) -> Response:
    """A message of the protocol, or a list of them, as the JSON body of a response."""
    return Response(JSON.encode_any(message), status, media_type="application/json")


async def on_refused(request: Request, error: Exception) -> Response:
    """Answers a handler that has raised `Refused`."""
    assert isinstance(error, Refused)
    return answer(error.error, error.status)
