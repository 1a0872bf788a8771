"""One WebSocket connection: open it, send without waiting, know whether it lives."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, DecodeError
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.typing import Subprotocol

from broker import __version__
from broker.client.errors import CannotConnect, ConnectionRefusedByBroker
from broker.codec import Codec
from broker.errors import CLOSES
from broker.messages import BrokerMessage, Error, Goodbye, Hello, Welcome

CLOSE_TIMEOUT = 2.0
MAX_MESSAGE_BYTES = 64 << 20


class Lost(Exception):
    """The connection is gone, and it makes sense to make a new one."""


class _Connection(ClientConnection):
    """A WebSocket connection that counts what it hears: control frames are life too."""

    heard = 0

    def data_received(self, data: bytes) -> None:
        self.heard += 1
        super().data_received(data)


class Link:
    """One connection to a broker, that has been welcomed.

    Attributes:
        welcome: what the broker said first.
        goodbye: what it said last, if it said so.
    """

    def __init__(self, connection: _Connection, codec: Codec) -> None:
        if connection.subprotocol != codec.subprotocol:
            raise CannotConnect("what answers there does not speak edgestream's protocol")
        self._connection = connection
        self._codec = codec
        self._text = not codec.binary
        self._to_us = (connection,)
        self.welcome: Welcome
        self.goodbye: Goodbye | None = None
        self._early: list[BrokerMessage] = []  # what came in one message with the welcome

    @property
    def heard(self) -> int:
        """Grows with whatever comes in."""
        return self._connection.heard

    async def introduce(self, client: str) -> None:
        """Say who we are, and wait for the welcome.

        Raises:
            CannotConnect: it makes no sense to try again.
            Lost: the connection ended.
        """
        self.send_now(self._codec.encode(Hello(client=client)))
        while True:
            messages = await self.receive()
            for index, message in enumerate(messages):
                if isinstance(message, Welcome):
                    self.welcome = message
                    self._early = messages[index + 1 :]
                    return
                if isinstance(message, Error):
                    raise CannotConnect(f"the broker refused us: {message.message}")

    def send_now(self, data: bytes) -> None:
        """Write one WebSocket message; what the socket does not take yet is buffered.

        The buffer is bounded by the window of unanswered messages. On a connection
        that is closing, nothing is sent.
        """
        broadcast(self._to_us, data, text=self._text)

    async def receive(self) -> list[BrokerMessage]:
        """The next WebSocket message.

        Raises:
            ConnectionRefusedByBroker: the connection ended, and we are not to come back.
            Lost: it ended otherwise.
        """
        if self._early:
            early, self._early = self._early, []
            return early
        try:
            messages = self._codec.decode_broker(await self._connection.recv(decode=False))
        except ConnectionClosed:
            self._judge()
            raise Lost(self._ending()) from None
        except DecodeError as error:
            self.abort()
            raise Lost(f"the broker sent what is not the protocol: {error}") from None
        for message in messages:
            if isinstance(message, Goodbye):
                self.goodbye = message
        return messages

    def beat(self) -> None:
        """Show that we live, without asking for an answer."""
        if self._connection.state is State.OPEN:
            self._connection.protocol.send_pong(b"")
            self._connection.send_data()

    def abort(self) -> None:
        """Cut the connection."""
        self._connection.transport.abort()

    async def close(self) -> None:
        """Close in good order, or after a short while without."""
        self._connection.transport.resume_reading()  # to see the other end's close
        await self._connection.close()

    def _judge(self) -> None:
        """Raise `ConnectionRefusedByBroker` where the way it ended says not to come back."""
        if self.goodbye is not None and not self.goodbye.reconnect:
            raise ConnectionRefusedByBroker(self.goodbye.code, self.goodbye.reason)
        code = self._connection.close_code
        if code is None:
            return
        known = CLOSES.get(code)
        if 4000 <= code < 4100 or (known is not None and not known.reconnect):
            reason = self._connection.close_reason or (known.reason if known else "")
            raise ConnectionRefusedByBroker(code, reason)

    def _ending(self) -> str:
        code, reason = self._connection.close_code, self._connection.close_reason
        return f"closed with {code} {reason}".strip() if code else "connection lost"

    @property
    def retry_after(self) -> float:
        """How many seconds the broker asked us to stay away."""
        if self.goodbye is None or self.goodbye.retryAfterMs is UNSET:
            return 0.0
        return self.goodbye.retryAfterMs / 1000


@dataclass(frozen=True, slots=True)
class Door:
    """Where, and as whom, to come in."""

    url: str
    codec: Codec
    client: str
    token: str | None
    tls: ssl.SSLContext | None
    patience: float

    async def open(self) -> Link:
        """A new connection, welcomed.

        Raises:
            OSError, TimeoutError, WebSocketException: no WebSocket came about.
            CannotConnect: it makes no sense to try again.
            Lost: the connection ended before the welcome.
        """
        async with asyncio.timeout(self.patience):
            connection = await self._connect()
            try:
                link = Link(connection, self.codec)
                await link.introduce(self.client)
            except BaseException:
                connection.transport.abort()
                raise
            return link

    async def _connect(self) -> _Connection:
        # websockets brings a TLS context by itself, but takes no None for one.
        options: dict[str, Any] = {} if self.tls is None else {"ssl": self.tls}
        authorization = {"Authorization": f"Bearer {self.token}"}
        connection = await connect_websocket(
            self.url,
            subprotocols=[Subprotocol(self.codec.subprotocol)],
            additional_headers=None if self.token is None else authorization,
            user_agent_header=f"edgestream-python/{__version__}",
            compression=None,
            ping_interval=None,  # the broker pings; we watch for it
            open_timeout=None,
            close_timeout=CLOSE_TIMEOUT,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=4,
            create_connection=_Connection,
            **options,
        )
        assert isinstance(connection, _Connection)
        return connection
