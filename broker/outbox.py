"""What goes to one connection: its replies, and a queue for each namespace.

Replies leave first. Then the namespaces take turns by weight, so that an event
of a quiet one overtakes a backlog of tokens. Within a queue, order holds.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol

from mypy_extensions import mypyc_attr

from broker.codec import Codec
from broker.envelope import Piece
from broker.errors import CLOSES
from broker.lane import Gone
from broker.messages import Ack, BrokerMessage, Goodbye

FLUSH_BYTES = 64 << 10
"""What one connection may write in one turn of the loop, and the most in one message."""

TURN_BYTES = 4 << 10
"""What a namespace of weight 1 may write before the next one has its turn."""

REPLY_BYTES = 64 << 10
"""How much of its replies a connection may leave unread before it is not read from."""


class Outlet(Protocol):
    """The way out of a connection.

    Attributes:
        paused: the socket takes no more, not even replies.
    """

    paused: bool

    @property
    def open(self) -> bool:
        """Whether messages may be sent: it is not closing."""

    @property
    def room(self) -> int:
        """How many bytes of events may follow what is under way; 0 or less: none."""

    def send(self, payload: bytes) -> None:
        """Send one message, in the connection's encoding."""


class Wire(Protocol):
    """The socket below an outbox."""

    @property
    def outlet(self) -> Outlet: ...

    def close(self, code: int, reason: str) -> None:
        """Say why, then close."""

    def hold(self, reason: Hashable) -> None:
        """Do not read from this connection until every reason to is released."""

    def release(self, reason: Hashable) -> None:
        """Undo one `hold`."""

    def stop_reading(self) -> None:
        """Nothing that this connection says matters any more; what is queued goes out."""


class Line(Protocol):
    """What waits for a connection, of one kind: a `Queue`, or what a work queue gives it.

    Attributes:
        waiting: it has something to send. Only who has woken the outbox sets it, and `take`.
        weight: its share, when several have something to send.
    """

    waiting: bool
    weight: int

    def take(self, limit: int, /) -> list[Piece]:
        """About `limit` bytes, in order.

        Raises:
            Gone: this reader is too far behind.
        """


@mypyc_attr(acyclic=True)
class Receipts:
    """One namespace's share in a connection's acknowledgements: ids of publishes."""

    __slots__ = ("done", "taken")

    def __init__(self, taken: int = 0, done: int = 0) -> None:
        self.taken = taken
        self.done = done


class Outbox:
    """All that waits for one connection. `flush` is called once per turn of the loop.

    Args:
        codec: the connection's encoding.
        wire: its socket.
        touched: called when there is something to flush, once until it is flushed.
        postponed: called when it is behind, and has to wait to read on, once until `go_on`.

    Attributes:
        start_anew: called when its reader needs events that are not retained any more: it lets
            it be told what they have come to. None: the connection is closed with 4108 then.
    """

    __slots__ = (
        "_acked", "_behind", "_denied", "_outlet", "_postponed", "_replies", "_reply_size",
        "_touched", "_waiting",
        "codec", "dirty", "receipts", "sent", "start_anew", "wire",
    )  # fmt: skip

    def __init__(
        self,
        codec: Codec,
        wire: Wire,
        touched: Callable[["Outbox"], None],
        postponed: Callable[["Outbox"], None],
    ) -> None:
        self.codec = codec
        self.wire = wire
        self.receipts: list[Receipts] = []
        self.dirty = False
        self.sent = 0
        self.start_anew: Callable[[], None] | None = None
        self._outlet = wire.outlet
        self._touched = touched
        self._postponed = postponed
        self._denied = False
        self._behind = False
        self._replies: list[bytes] = []
        self._reply_size = 0
        self._waiting: deque[Line] = deque()
        self._acked = 0

    def reply(self, message: BrokerMessage) -> None:
        """Queue an answer, or another message of the broker's own."""
        self.tell(self.codec.encode(message))

    def tell(self, data: bytes) -> None:
        """Queue an encoded message that goes before all events."""
        self._replies.append(data)
        self._reply_size += len(data)
        if self._reply_size > REPLY_BYTES:
            self.wire.hold("replies")
        self.touch()

    def wake(self, line: Line) -> None:
        """`line` has something to send."""
        self._waiting.append(line)
        if not self.dirty:
            self.dirty = True
            self._touched(self)

    def defer(self, receipts: Receipts) -> None:
        """Acknowledge nothing from a publish on that waits for something, until `forget`."""
        self.receipts.append(receipts)

    def forget(self, receipts: Receipts) -> None:
        """Undo one `defer`."""
        self.receipts = [other for other in self.receipts if other is not receipts]
        self.touch()

    def touch(self) -> None:
        """There is something to flush."""
        if not self.dirty:
            self.dirty = True
            self._touched(self)

    def denied(self) -> None:
        """A queue that is behind may read no more in this turn."""
        self._denied = True

    def go_on(self) -> None:
        """Those that were `postponed` before have read on."""
        self._behind = False
        self.touch()

    @property
    def writable(self) -> bool:
        return self._outlet.room > 0

    @property
    def open(self) -> bool:
        """Whether what is sent can arrive: the connection is not closing."""
        return self._outlet.open

    @property
    def empty(self) -> bool:
        """Whether nothing waits here."""
        return not self._replies and not self._waiting

    def too_slow(self) -> None:
        """The reader cannot keep up with what it asked for."""
        self._waiting.clear()
        self.end(4108)

    def end(self, code: int, reason: str = "") -> None:
        """Say goodbye, even to a socket that takes nothing now, and close."""
        info = CLOSES[code]
        text = reason or info.reason
        self.flush()
        self._outlet.send(self.codec.encode(Goodbye(code, text, info.reconnect)))
        self.wire.close(code, text)

    def flush(self) -> None:
        """Write what the socket takes: replies first, then each namespace by its weight."""
        self.dirty = False
        room = self._outlet.room
        if room <= 0 and self._outlet.paused:
            return
        overfull = self._reply_size > REPLY_BYTES
        self._write(room)
        if overfull:
            self.wire.release("replies")  # at last: what is read on now may overfill them again

    def _write(self, room: int) -> None:
        if self.receipts:
            self._acknowledge()
        items = self._take_replies() if self._replies else []
        count = len(items)
        if self._waiting and room > 0:
            try:
                pieces = self._take_events(min(room, FLUSH_BYTES))
            except Gone:
                self._send(items, count)
                if self.start_anew is None:
                    self.too_slow()
                else:
                    self.start_anew()
                return
            for piece in pieces:
                items.append(piece.data)
                count += piece.count
            if self._waiting and self.writable:
                if pieces or not self._denied:
                    self.touch()
                elif not self._behind:
                    self._behind = True
                    self._postponed(self)
            self._denied = False
        self._send(items, count)

    def _send(self, items: list[bytes], count: int) -> None:
        if items:
            self.sent += count
            self._outlet.send(items[0] if count == 1 else self.codec.pack(items, count))

    def _take_replies(self) -> list[bytes]:
        replies, self._replies = self._replies, []
        self._reply_size = 0
        return replies

    def _take_events(self, room: int) -> list[Piece]:
        """About `room` bytes from the queues, each in its turn."""
        waiting = self._waiting
        if len(waiting) == 1:
            queue = waiting[0]
            pieces = queue.take(room)
            if not queue.waiting:
                waiting.popleft()
            return pieces
        pieces = []
        later: list[Line] = []  # they have looked, and found nothing yet
        while waiting and room > 0:
            queue = waiting.popleft()
            taken = queue.take(min(room, TURN_BYTES * queue.weight))
            room -= sum([len(piece.data) for piece in taken])
            pieces += taken
            if queue.waiting:
                (waiting if taken else later).append(queue)
        waiting.extend(later)
        return pieces

    def _acknowledge(self) -> None:
        """One cumulative ack for every publish that is through, if there are new ones.

        A namespace that still has publishes of this connection holds the ack back at
        its own last one: it stands for every publish before it, wherever it went.
        """
        done = 0
        held = None
        for receipts in self.receipts:
            if receipts.done < receipts.taken:
                held = receipts.done if held is None else min(held, receipts.done)
            else:
                done = max(done, receipts.done)
        ack = done if held is None else held
        if ack > self._acked:
            self._acked = ack
            self._replies.append(self.codec.encode(Ack(ack)))
