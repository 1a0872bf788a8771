"""An HTTP connection that waits for nobody for ever, and keeps nothing that has no end.

uvicorn bounds neither what comes before a request is complete nor how long it takes, and
knows of one request at a time. So it is added here: a head has to come soon, and to be of a
reasonable size, and so has the rest of a body that nobody reads any more; who takes nothing of
an answer is cut off; and of several requests on one connection (pipelining), the one that is
being answered hears of its loss.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import structlog
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

log = structlog.get_logger(__name__)

HEAD_SECONDS = 10.0
"""How long a request's head may take, from the connection's beginning or the last response's end;
within it, what is left of the body before is read and thrown away. And how long nothing of an
answer may be taken, but for those that stream: they have a heartbeat."""

HEAD_BYTES = 64 << 10
"""How much may come, about, that is no body: a request's head, or what stands behind its body."""


class PatientConnection(HttpToolsProtocol):
    """uvicorn's HTTP connection, with bounds.

    Attributes:
        active: the request that is being answered, or was last.
    """

    active: RequestResponseCycle | None = None
    _streams = False
    _unparsed = 0
    _expects = False
    _timer: asyncio.TimerHandle | None = None
    _upgraded = False  # it is HTTP no more: others see to it
    _unsent = 0  # when the timer was set
    _declined = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except HttpParserError as error:
            log.info("request malformed", why=str(error))
            self.send_400_response("This is no HTTP request.\n")
        if self._unparsed > HEAD_BYTES and not self.transport.is_closing():
            self._give_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
                rest = rest[:0]
            except HttpParserUpgrade as upgrade:
                if not self._declined:
                    self.handle_websocket_upgrade()
                    return
                rest = rest[upgrade.args[0] :]
                self._decline()

    def _decline(self) -> None:
        """A request that wishes for an upgrade which there is not is one as any other: but its
        parser takes what follows for another protocol. So it is read again, without the wish."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        wishes = any(name == b"upgrade" for name, _ in self.headers)
        self._declined = wishes and self.parser.should_upgrade() and not self._should_upgrade()
        if self._declined:
            return
        self._expects = self.expect_100_continue
        if not self.flow.write_paused:
            self._stop_waiting()
        super().on_headers_complete()
        if self._streams:
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        if not self._declined:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self._streams = False
        answered = self.active
        super().on_response_complete()
        if self.active is not answered:
            return
        if self._expects and answered is not None and answered.more_body:
            self.transport.close()  # it was never asked for its body, and may leave it out
        self._wait()

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self._streams:
            self._wait()

    def handle_websocket_upgrade(self) -> None:
        self._stop_waiting()
        self._upgraded = True  # before the answer is written: that may pause us, not our heir
        if self._answering():
            self.transport.abort()  # two would write to one socket
        else:
            super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)
        if self.active is not None:
            self.active.disconnected = not self.active.response_complete
            self.active.message_event.set()

    def only_streams(self) -> None:
        """Until the response is complete, nothing else may be asked: it would not be answered, and
        that its peer has gone away would not be heard behind it."""
        self._streams = True
        if self.pipeline:
            self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.active = cycle
        super()._start_asgi_task(cycle, app)

    def _answering(self) -> bool:
        return self.active is not None and not self.active.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        if self._upgraded:
            return
        self._unsent = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._overdue)

    def _overdue(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left and left >= self._unsent:
            log.info("request given up", why="nothing of its answer is taken")
            self.transport.abort()
        elif left:
            self._wait()
        elif not self._answering():
            self._give_up(HTTPStatus.REQUEST_TIMEOUT)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self, status: HTTPStatus) -> None:
        """Say so, unless another answer is being written or nothing was asked, and hang up."""
        if self.transport.is_closing():
            return
        log.info("request given up", why=status.phrase)
        if self._answering():
            self.transport.abort()
            return
        if self._unparsed:
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\n"
            self.transport.write(f"{head}content-length: 0\r\n\r\n".encode())
        self.transport.close()
