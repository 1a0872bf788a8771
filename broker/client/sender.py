"""What a client sends: in order, in batches, within a window, again after a loss.

Whatever becomes ready within one turn of the event loop leaves as one array in
one WebSocket message. A published message stays in the window until the broker
has answered it; a full window makes publishers wait. After a reconnect, what is
in the window is sent again, in order, under the new connection's ids.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import structlog
from msgspec import UNSET, Raw, Struct, UnsetType

from broker.client.errors import ClientError, OperationRejected
from broker.client.gate import Gate
from broker.client.receipt import OnRejected, Receipt
from broker.codec import Codec
from broker.messages import Publish, Subscribe, Unsubscribe

log = structlog.get_logger("edgestream.client")

BATCH_BYTES = 64 << 10
"""How large a WebSocket message of several publishes may become."""
REMEMBERED = 100
"""How many rejections that nobody awaited are kept for `flush`. All are logged."""


class Request(Struct, eq=False):
    """A message other than a publish; `sent` is told the id that it left with."""

    message: Subscribe | Unsubscribe
    sent: Callable[[int], None]


class Outlet(Protocol):
    """Where bytes leave, at once and without waiting."""

    def send_now(self, data: bytes) -> None: ...


class Sender:
    """The sending half of a client.

    Args:
        codec: how messages are encoded.
        gate: held open while somebody waits for an answer.
        max_messages: how many messages may wait for their answer.
        max_bytes: how many bytes of bodies may.
        on_rejected: told of each rejection that nobody awaits.
    """

    def __init__(
        self,
        codec: Codec,
        gate: Gate,
        max_messages: int,
        max_bytes: int,
        on_rejected: OnRejected | None,
    ) -> None:
        self._codec = codec
        self._gate = gate
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._on_rejected = on_rejected
        self._queue: deque[Receipt | Request] = deque()
        self._sent: deque[Receipt] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._unclaimed: deque[Receipt] = deque(maxlen=REMEMBERED)
        self._outlet: Outlet | None = None
        self._scheduled = False
        self._failure: ClientError | None = None
        self._id = 0
        self._number = 0
        self._max_message_bytes = self._batch_bytes = BATCH_BYTES
        self._loop = asyncio.get_running_loop()
        self.in_flight = 0
        self.in_flight_bytes = 0

    # ------------------------------------------------------------ from the user

    @property
    def is_full(self) -> bool:
        """Whether publishers have to wait."""
        return self.in_flight >= self._max_messages or self.in_flight_bytes >= self._max_bytes

    async def room(self) -> None:
        """Wait until the window has room, or the client has failed."""
        while self.is_full and self._failure is None:
            turn = self._loop.create_future()
            self._waiting.append(turn)
            with self._gate.awaiting_answer():
                try:
                    await turn
                except asyncio.CancelledError:
                    if turn in self._waiting:
                        self._waiting.remove(turn)
                    else:
                        self._admit()  # the room meant for us goes to the next one
                    raise

    def publish(
        self,
        topic: str,
        body: object,
        key: str | None,
        dedupe: str | None,
        on_rejected: OnRejected | None,
    ) -> Receipt:
        """Put one message in the queue, whether there is room or not.

        Raises:
            UnicodeEncodeError: the topic, the key or the name is no text that can be sent.
        """
        if self._failure is not None:
            raise self._failure
        raw = self._codec.encode_any(body)
        for text in (topic, key, dedupe):
            if text is not None:
                text.encode()  # here, where its author hears of it; never in the batch
        message = Publish(
            topic,
            Raw(raw),
            UNSET if key is None else key,
            UNSET,
            UNSET if dedupe is None else dedupe,
        )
        size = len(raw)
        self._number += 1
        receipt = Receipt(message, size, self._number, self._gate, on_rejected)
        self.in_flight += 1
        self.in_flight_bytes += size
        self._queue.append(receipt)
        if not self._scheduled:
            self._schedule()
        return receipt

    def request(self, request: Request) -> None:
        """Send a request on this connection, in order with what is published."""
        self._queue.append(request)
        self._schedule()

    async def flush(self) -> None:
        """Wait for the answers to all that was published until now; raise as `Client.flush`."""
        # Backwards: once the last one is acknowledged, so are nearly all before it.
        for receipt in reversed(list(self._pending())):
            await receipt.settled()
        if self._failure is not None:
            raise self._failure
        unclaimed = [receipt for receipt in self._unclaimed if not receipt.claimed]
        self._unclaimed.clear()
        for receipt in unclaimed:
            if receipt.error is not None:
                receipt.claimed = True
                raise receipt.error

    # -------------------------------------------------------- from the connection

    def up(self, outlet: Outlet, max_message_bytes: int) -> None:
        """A new connection stands: from now on, send there."""
        self._outlet = outlet
        self._id = 0
        self._max_message_bytes = max_message_bytes
        self._batch_bytes = min(BATCH_BYTES, max_message_bytes // 2)
        if self._queue:
            self._schedule()

    def down(self) -> None:
        """The connection is lost: what was not answered goes back to the head of the queue."""
        self._outlet = None
        kept = [item for item in self._queue if isinstance(item, Receipt)]
        self._queue = deque(receipt for receipt in self._sent if not receipt.done)
        self._queue.extend(kept)
        self._sent.clear()

    def acknowledged(self, id: int) -> None:
        """Every publish up to `id` is accepted, but for those rejected before."""
        sent = self._sent
        while sent and self._id_of(sent[0]) <= id:
            receipt = sent.popleft()
            if not receipt.done:
                self.in_flight -= 1
                self.in_flight_bytes -= receipt.size
                receipt.settle()
        self._admit()

    def rejected(self, id: int) -> Receipt | None:
        """The message that left as `id`, where it is one that waits for its answer."""
        for receipt in self._sent:
            if receipt.message.id == id and not receipt.done:
                return receipt
        return None

    def reject(self, receipt: Receipt, error: OperationRejected) -> None:
        """Hand `error` to whoever is there for it. It never goes unnoticed."""
        self.in_flight -= 1
        self.in_flight_bytes -= receipt.size
        receipt.settle(error)
        self._admit()
        handler = receipt.on_rejected or self._on_rejected
        if receipt.awaiting:
            return
        if handler is None:
            self._unclaimed.append(receipt)
            log.warning("publish_rejected", topic=receipt.topic, code=error.code, why=error.message)
            return
        receipt.claimed = True
        try:
            handler(receipt, error)
        except Exception:
            log.exception("on_rejected_failed", topic=receipt.topic, code=error.code)

    def fail(self, failure: ClientError) -> None:
        """Nothing will be sent any more: everyone who waits is told."""
        self._failure = failure
        self._outlet = None
        lost = list(self._pending())
        for receipt in lost:
            receipt.settle(failure)
        if lost:
            log.warning("publishes_unacknowledged", count=len(lost), why=str(failure))
        self._queue.clear()
        self._sent.clear()
        while self._waiting:
            self._let_in(self._waiting.popleft())

    # ------------------------------------------------------------------ inside

    def _pending(self) -> Iterator[Receipt]:
        """What was published and is not answered, in order."""
        for item in (*self._sent, *self._queue):
            if isinstance(item, Receipt) and not item.done:
                yield item

    def _schedule(self) -> None:
        if not self._scheduled and self._outlet is not None:
            self._scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        """Send all that is queued, in as few WebSocket messages as the limit allows."""
        self._scheduled = False
        if self._outlet is None:
            return
        batch: list[bytes] = []
        size = 0
        while self._queue:
            data = self._encode(self._queue.popleft())
            if size + len(data) > self._batch_bytes and batch:
                self._outlet.send_now(self._codec.pack(batch, len(batch)))
                batch, size = [], 0
            if data:
                batch.append(data)
                size += len(data) + 1
        if batch:
            self._outlet.send_now(self._codec.pack(batch, len(batch)))

    def _encode(self, item: Receipt | Request) -> bytes:
        """The bytes of one item under the next id; nothing where it is too large to send."""
        self._id += 1
        item.message.id = self._id
        data = self._codec.encode(item.message)
        if isinstance(item, Request):
            item.sent(self._id)
        elif len(data) <= self._max_message_bytes:
            self._sent.append(item)
        else:
            # The broker would close the connection, and again after each reconnect.
            why = f"{len(data)} bytes; a message may have {self._max_message_bytes}"
            self.reject(item, OperationRejected("too_large", why, topic=item.topic))
            return b""
        return data

    def _admit(self) -> None:
        """Wake as many publishers as there is room for."""
        room = self._max_messages - self.in_flight
        while self._waiting and room > 0 and self.in_flight_bytes < self._max_bytes:
            self._let_in(self._waiting.popleft())
            room -= 1

    @staticmethod
    def _let_in(turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_result(None)

    @staticmethod
    def _id_of(receipt: Receipt) -> int:
        id = receipt.message.id
        assert not isinstance(id, UnsetType)
        return id
