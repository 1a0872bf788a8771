"""Events as bytes, for a file: what `append` got, batch by batch, and back."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Raw

from broker.codec import JSON, MSGPACK
from broker.plugin import BROKER, Event, Sender

_EXTENDED, _BINARY = 1, 2

_Stored = tuple[bytes, int, int, int, str | None]  # raw, time, sender, flags, dedupe
_Run = tuple[str, str, list[_Stored]]  # topic, key
_Batch = tuple[list[tuple[str, str | None, str]], list[_Run]]  # senders

_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_batch = msgspec.msgpack.Decoder(_Batch).decode


def encode(runs: Sequence[Sequence[Event]]) -> bytes:
    """A batch's events, but for their positions, which follow each other."""
    senders: list[tuple[str, str | None, str]] = []
    known: dict[int, int] = {}
    stored: list[tuple[str, str, list[tuple[memoryview, int, int, int, str | None]]]] = []
    for run in runs:
        events = []
        for event in run:
            sender = event.sender
            index = known.get(id(sender))
            if index is None:
                index = known[id(sender)] = len(senders)
                senders.append((sender.principal, sender.client, sender.connection))
            flags = _EXTENDED * event.extended | _BINARY * (event.codec is MSGPACK)
            events.append((memoryview(event.raw), event.time, index, flags, event.dedupe))
        stored.append((run[0].topic, run[0].key, events))
    return _encode((senders, stored))


def join(batches: list[bytes]) -> bytes:
    """Encoded batches as one."""
    return _encode(batches)


class Reader:
    """Makes events of rows; one string, and one sender, for all that are equal."""

    def __init__(self) -> None:
        self._strings: dict[str, str] = {}
        self._senders = {BROKER: BROKER}

    def runs(self, blob: bytes) -> Iterator[list[Event]]:
        """The events of joined batches, without positions and decoded bodies.

        Raises:
            msgspec.DecodeError: it is something else.
        """
        one = self._strings.setdefault
        for batch in _decode_row(blob):
            who, runs = _decode_batch(batch)
            senders = [self._senders.setdefault(s, s) for s in (Sender(*names) for names in who)]
            for topic, key, events in runs:
                topic, key = one(topic, topic), one(key, key)
                yield [
                    Event(
                        topic,
                        key,
                        None,
                        Raw(raw),
                        time,
                        senders[sender],
                        MSGPACK if flags & _BINARY else JSON,
                        bool(flags & _EXTENDED),
                        dedupe,
                    )
                    for raw, time, sender, flags, dedupe in events
                ]
