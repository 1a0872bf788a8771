"""What a plugin's HTTP routes may do: the port between them and the broker.

A request is let in (`Gateway.admit`) as a connection of the broker: a `Call`. It can publish
as its principal and await the answer, and follow one stream with a `Follower` of the
plugin's own, which says how the events look to this reader. What a slow reader does not
take waits in the broker, and is merged there, as for any other reader.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from broker.errors import ERRORS

__all__ = [
    "EVENT_STREAM",
    "Call", "Endpoint",
    "Follower",
    "Gateway",
    "Hangup",
    "Refused",
    "status_of",
]  # fmt: skip

EVENT_STREAM: Mapping[str, str] = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}
"""The headers of server-sent events: proxies and browsers are not to hold them back."""

Hangup = ClientDisconnect
"""Raised while a request is read whose peer has gone away."""

STATUS = {
    "forbidden": HTTPStatus.FORBIDDEN,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "namespace_not_here": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "not_acceptable": HTTPStatus.NOT_ACCEPTABLE,
    "no_worker": HTTPStatus.SERVICE_UNAVAILABLE,
    "not_authenticated": HTTPStatus.UNAUTHORIZED,
    "not_found": HTTPStatus.NOT_FOUND,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "shutting_down": HTTPStatus.SERVICE_UNAVAILABLE,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unknown_server": HTTPStatus.NOT_FOUND,
    "unknown_topic": HTTPStatus.NOT_FOUND,
    "unsupported_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}
"""The status of an error code. The broker's other ones are about the request's form (422), a
plugin's are about what its stream has come to (409)."""


def status_of(code: str) -> int:
    """The HTTP status of an error code."""
    other = HTTPStatus.UNPROCESSABLE_ENTITY if code in ERRORS else HTTPStatus.CONFLICT
    return STATUS.get(code, other)


class Endpoint(NamedTuple):
    """One HTTP endpoint, for documents.

    Attributes:
        method: in lower case.
        path: parameters as ``{name}``; each is a string.
        takes, gives: media types of its request and of its response, and what each is: a type,
            or of an event stream the types of its events' data.
        query: a Struct of its query's parameters.
        example: a request's body.
        refusals: statuses of those of its responses that say why there is none.
        refusal: the type of what these say; None for the broker's `error`.
        headers: of a request, that are of meaning beside the usual ones.
    """

    method: str
    path: str
    summary: str
    gives: Mapping[str, Any]
    takes: Mapping[str, Any] = {}
    query: type[Struct] | None = None
    example: Any = None
    refusals: Sequence[int] = ()
    refusal: Any = None
    headers: Sequence[str] = ()


class Refused(Exception):
    """A request is refused.

    Args:
        code, message: what is wrong.
        field: what it is about: of the query, the headers or the body.
        status: the HTTP status, where it is another than the code's.
        retryable: whether it may succeed later, where the code is a plugin's.
    """

    def __init__(
        self,
        code: str,
        message: str,
        field: str = "",
        status: int = 0,
        *,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retryable = ERRORS[code].retryable if code in ERRORS else retryable
        self.status = status or status_of(code)


class Follower(Protocol):
    """Makes a response's body of one stream's events. Called from the broker's turn: no I/O.

    What its methods return is written in one write each, or together with others.
    """

    @property
    def ended(self) -> bool:
        """Whether the response is complete."""

    def begin(self) -> bytes:
        """What the body begins with."""

    def event(self, topic: str, body: Any, time: int) -> bytes:
        """One event, its typed body, and its acceptance in Unix ms."""

    def failed(self, code: str, message: str, retryable: bool) -> bytes:
        """The broker ends this, and says why: it shuts down, or the reader is too slow."""


class Call(Protocol):
    """One request, as a connection of the broker. Whoever has it must `leave` it in the end."""

    def follow(self, topic: str, key: str, follower: Follower, after: int | None = None) -> None:
        """Let `follower` have a stream's events: from now on, or those after a position, as far
        as they are retained. They wait until `stream` or `finish`.

        Raises:
            Refused: as `op: subscribe` is.
        """

    async def publish(self, topic: str, body: Any) -> None:
        """Publish, and wait for the answer.

        Raises:
            Refused: as `op: publish` is.
        """

    def stream(self, headers: Mapping[str, str], after: Callable[[], None]) -> Response:
        """The response: what the follower makes of the events, as they come. `after` is called
        when it is complete, or its peer has gone away: then `leave`."""

    async def finish(self) -> None:
        """Wait, with nothing written, until the follower has `ended` or the peer has gone."""

    def say(self, data: bytes) -> None:
        """Write something that no event is the reason of; the follower may have `ended`."""

    def leave(self) -> None:
        """It is over."""


class Gateway(Protocol):
    """What the routes of one namespace's plugin may do."""

    def admit(self, request: Request, offered: Sequence[str]) -> Call:
        """Let a request in; `offered` are the media types that may answer it.

        Raises:
            Refused: 401, 403, 406, 503.
        """

    def check_body(self, request: Request, kind: str, limit: int, field: str) -> None:
        """Before a request's body is read: it is to be said to be of a media type, and not to
        have more than `limit` bytes. `field` is what makes it large.

        Raises:
            Refused: 413, 415.
        """

    async def read_object(self, request: Request) -> dict[str, Any]:
        """A request's body, which is one JSON object.

        Raises:
            Refused: 400, 413, 415, 422.
            Hangup: it has not come to its end.
        """

    def state(self, key: str) -> Any:
        """The plugin's own state of a stream, with everything that was accepted; None where
        there is none."""
