"""One WebSocket connection: bytes in, messages to its session, messages out.

The handshake, the rules and the closing behaviour are the Sans-I/O
`ServerProtocol` of the `websockets` library. No task and no await per message.
"""

import asyncio
from collections.abc import Hashable
from typing import Any, cast

import structlog
from websockets.http11 import Request
from websockets.protocol import CLOSED, OPEN

from broker.errors import CLOSES, Closed
from broker.messages import Ping
from broker.session import Session
from broker.transports.frames import FrameReader
from broker.transports.handshake import Target, answer, codec_of, sans_io
from broker.transports.heartbeat import Pulse
from broker.transports.port import Port
from broker.transports.writer import FrameWriter

log = structlog.get_logger(__name__)

BUFFER_BYTES = 64 << 10
CLOSE_TIMEOUT = 5.0
"""How long a peer may take to answer a close frame, in seconds."""

IGNORED_BYTES = 4 << 20
"""How much it may still send before that."""

SIP_BYTES = 1 << 10
"""How much a connection may bring when this turn's bytes are used up."""

_BUFFER = bytearray(BUFFER_BYTES)
_VIEW = memoryview(_BUFFER)
_SIP = _VIEW[:SIP_BYTES]
# One read buffer for all connections: it is filled and emptied within one callback.


class WebSocketConnection(asyncio.BufferedProtocol):
    """The server's end of one WebSocket connection. See `Wire`, `Receiver`, `Beating`.

    Args:
        port: what all connections of the one port share.
        connections: the HTTP server's set of what it has to wait for when it stops.
    """

    __slots__ = (
        "_close_timer",
        "_connections",
        "_frames",
        "_held",
        "_ignored",
        "_pinged",
        "_port",
        "_protocol",
        "_session",
        "_transport",
        "bytes_in",
        "heard",
        "opened",
        "outlet",
        "peer",
        "pulse",
    )  # fmt: skip

    def __init__(self, port: Port, connections: set[Any]) -> None:
        self._port = port
        self._connections = connections
        self._protocol = sans_io(port.config)
        self._session: Session | None = None
        self._ignored = 0
        self._held: set[Hashable] = set()
        limit = port.config.limits.max_message_bytes
        self._frames = FrameReader(self._protocol, limit, self._held, self)
        self._close_timer: asyncio.TimerHandle | None = None
        self._pinged = False
        self.heard = True
        self.pulse = Pulse()
        self.bytes_in = 0
        self.peer = ""
        self.opened = port.clock.seconds()

    # ------------------------------------------------------------- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.outlet = FrameWriter(
            self._transport, self._protocol, self._port.clock.seconds, self._may_write
        )
        # The backlog belongs into the outbox, where it can be merged and reordered. A
        # mark of 0 would stall for ever under TLS.
        self._transport.set_write_buffer_limits(high=1, low=0)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """The upgrade request, handed over by the HTTP server."""
        self._frames.ask(data)

    def get_buffer(self, sizehint: int) -> memoryview:
        # The loop has many connections to read from before the next turn. Those that have
        # little to say may say it all the same; from the others, a sip is soon taken.
        return _VIEW if self._port.scheduler.read_room > 0 else _SIP

    def buffer_updated(self, size: int) -> None:
        self.bytes_in += size
        self.heard = True
        if not self._frames.plain and self._protocol.state is not OPEN:
            self._ignored += size
            if self._ignored > IGNORED_BYTES:
                self._transport.abort()
                return
        scheduler = self._port.scheduler
        if scheduler.read_room <= 0 and size == SIP_BYTES:
            self.had_enough()  # what came is looked at then
        scheduler.read_room -= size
        self._frames.feed(_BUFFER, size)
        if size == BUFFER_BYTES and scheduler.read_room <= 0:
            self.had_enough()

    def eof_received(self) -> None:
        return None

    def pause_writing(self) -> None:
        self.outlet.paused = True

    def resume_writing(self) -> None:
        self.outlet.paused = False
        self._pinged = False
        if "pongs" in self._held:
            self.release("pongs")
        self._may_write()

    def _may_write(self) -> None:
        if self._session is not None:
            self._session.outbox.touch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._frames.plain = False
        self.outlet.lost()
        self._connections.discard(self)
        self._port.heartbeat.discard(self)
        if self._close_timer is not None:
            self._close_timer.cancel()
        session, self._session = self._session, None
        if session is not None:
            session.lost()
            self._log_closed(session)

    def shutdown(self) -> None:
        """The HTTP server stops, and wants this connection to end."""
        if self._session is not None:
            self._session.end(4100)
        else:
            self._transport.close()

    # ------------------------------------------------------------- Wire

    @property
    def reading(self) -> bool:
        return not self._held

    def hold(self, reason: Hashable) -> None:
        if not self._held and not self._transport.is_closing():
            self._transport.pause_reading()
        self._held.add(reason)

    def release(self, reason: Hashable) -> None:
        self._held.discard(reason)
        if self._held or self._transport.is_closing():
            return
        self._frames.go_on()
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()

    def stop_reading(self) -> None:
        self.hold("stopping")
        self.outlet.lift()  # pongs are not read either

    def close(self, code: int, reason: str) -> None:
        if self._protocol.state is OPEN:
            self._frames.plain = False
            self.outlet.close(code, reason)
            self._expect_end()

    # ------------------------------------------------------------- Beating

    @property
    def spoke(self) -> bool:
        return self.outlet.spoke

    @spoke.setter
    def spoke(self, value: bool) -> None:
        self.outlet.spoke = value

    def ping_frame(self) -> None:
        if self._protocol.state is OPEN and not self._pinged:
            self._pinged = self.outlet.room <= 0  # one is enough behind what does not arrive
            self.outlet.ping()

    def ping_message(self) -> None:
        if self._session is not None and not self.outlet.paused:
            self._session.outbox.reply(Ping())

    def dead(self) -> None:
        if self._session is not None:
            self._session.end(4110)

    # ------------------------------------------------------------- Receiver

    def message(self, payload: bytes) -> None:
        session = self._session
        if session is None:
            return  # it came behind what refused the connection
        try:
            session.receive(payload)
        except UnicodeDecodeError:
            self._refuse(1007, CLOSES[1007].reason)
        except Exception:
            log.exception("connection failed", connection=session.name)
            self._refuse(1011, "internal error")

    def wrong_type(self) -> None:
        self._refuse(1003, CLOSES[1003].reason)

    def pinged(self) -> None:
        if self.outlet.paused:
            self.hold("pongs")  # or they would pile up behind a socket that is not read

    def ponged(self, payload: bytes) -> None:
        self._pinged = False
        self.outlet.ponged(payload)

    def may_take(self, size: int) -> bool:
        if size <= SIP_BYTES or self._port.scheduler.takes(size):
            return True
        self.had_enough(size)
        return False

    def had_enough(self, size: int = 0) -> None:
        if "budget" not in self._held:
            self.hold("budget")
            self._port.scheduler.next_turn(lambda: self.release("budget"), size)

    def handled(self) -> None:
        self.outlet.flush()
        if self._protocol.state is not OPEN and self._session is not None:
            self._expect_end()

    # ------------------------------------------------------------- opening and closing

    def request(self, request: Request) -> None:
        wanted = answer(self._protocol, request, self._port.config)
        self.outlet.flush()
        if wanted is not None:
            self._open(wanted)

    def _open(self, wanted: Target) -> None:
        codec = codec_of(self._protocol)
        self._frames.first = self.outlet.begin(binary=codec.binary)
        try:
            self._session = self._port.admit(self, codec, wanted, self.peer)
        except Closed as refusal:
            self._refuse(refusal.code, refusal.reason)
            return
        self._port.heartbeat.add(self)
        log.info("connection opened", connection=self._session.name, server=wanted.server)

    def _refuse(self, code: int, reason: str) -> None:
        self._port.refused[code] += 1
        name = self._session.name if self._session is not None else None
        log.info("connection refused", connection=name, code=code, reason=reason)
        self.close(code, reason)

    def _expect_end(self) -> None:
        """Give the peer some time to close, then do it for it."""
        if self._close_timer is None:
            loop = asyncio.get_running_loop()
            self._close_timer = loop.call_later(CLOSE_TIMEOUT, self._transport.abort)

    def _log_closed(self, session: Session) -> None:
        protocol = self._protocol
        ours, theirs = protocol.close_sent, protocol.close_rcvd
        log.info(
            "connection closed",
            connection=session.name,
            server=session.server,
            code=ours.code if ours else theirs.code if theirs else 1006,
            by="broker" if ours and not protocol.close_rcvd_then_sent else "client",
            seconds=round(self._port.clock.seconds() - self.opened, 3),
            received=session.received,
            sent=session.outbox.sent,
            bytes_in=self.bytes_in,
            bytes_out=self.outlet.bytes,
            clean=protocol.state is CLOSED or theirs is not None,
        )
