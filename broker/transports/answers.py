"""What HTTP requests are refused with: a status, and the protocol's `error` as JSON."""

from http import HTTPStatus
from typing import Any

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from broker.codec import JSON
from broker.errors import Closed
from broker.gateway import Refused
from broker.messages import Error

CLOSED = {
    4001: "not_authenticated", 4003: "forbidden", 4004: "unknown_server", 4009: "bad_message",
}  # fmt: skip
"""What a connection that is refused as a whole is answered, by its close code."""


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
