"""HTTP responses that are written as they come: past ASGI, straight to the transport.

A request's handler answers with a `Streamed`. uvicorn writes its head, and its end; what
lies between is written by the connection of the broker that it is for (a `Guest`), one
chunk for each turn of the loop.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.transports.patience import PatientConnection

Header = tuple[bytes, bytes]

EXTENSION = "edgestream"
"""Where a request's scope has its `HttpConnection`."""


class Guest(Protocol):
    """Whoever answers a request as things come."""

    def pause(self) -> None:
        """The socket takes no more."""

    def resume(self) -> None:
        """It does again."""

    def lost(self) -> None:
        """The peer has gone away."""


class HttpConnection(PatientConnection):
    """uvicorn's HTTP connection, with a place for a guest.

    Attributes:
        guest: who is told how the socket is.
        chunked: a body that streams is framed in chunks; otherwise the connection's end is its.
    """

    guest: Guest | None = None
    chunked = True

    @property
    def peer(self) -> str:
        """The address of whoever opened this connection, a proxy or not."""
        return self.client[0] if self.client else ""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"connection": self}}

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.guest is not None:
            self.guest.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.guest is not None:
            self.guest.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.guest is not None:
            self.guest.lost()

    def begin_stream(self, headers: list[Header]) -> list[Header]:
        """A response without a length begins; the headers that it is to have. HTTP/1.0 knows no
        chunks, and uvicorn says by itself that a connection closes."""
        assert self.active is not None
        if self.active.scope["method"] != "HEAD":
            self.only_streams()
        if self.active.scope["http_version"] == "1.0":
            self.active.chunked_encoding = self.chunked = False
        if self.active.keep_alive:
            return headers
        return [(name, value) for name, value in headers if name != b"connection"]

    def abort(self) -> None:
        """Give the peer up."""
        self.transport.abort()


def connection_of(request: Request) -> HttpConnection:
    """The connection that a request came on."""
    connection: HttpConnection = request.scope["extensions"][EXTENSION]["connection"]
    return connection


class Streamed(Response):
    """A response whose body is written by a guest of its connection.

    Args:
        begin: called when the head is written.
        done: is set once the body is, or the peer has gone away.
        after: called at the end, whatever it was.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        begin: Callable[[], None],
        done: "asyncio.Future[None]",
        after: Callable[[], None],
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(headers)
        self._begin = begin
        self._done = done
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: HttpConnection = scope["extensions"][EXTENSION]["connection"]
        headers = connection.begin_stream(self.raw_headers)
        head = {"type": "http.response.start", "status": 200, "headers": headers}
        try:
            await send(head)
            if scope["method"] != "HEAD":
                self._begin()
                await self._done
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._after()
