"""Events as bytes, for a file: what `append` got, batch by batch, and back.

An event is a slice of its batch's bodies; what it shares with its neighbours is said once.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec
from msgspec import Raw

from broker.codec import JSON, MSGPACK
from broker.event import BROKER, Event, Sender

_Who = tuple[str, str | None, str]
_Run = tuple[str, str, int, int, bool, int]  # topic, key, sender, time, MessagePack, how many
_Odd = tuple[int, bool, str | None]  # which event is extended, or has a dedupe name
_Batch = tuple[list[_Who], list[_Run], list[int], bytes, list[_Odd]]  # with sizes, and bodies
_Piece = tuple[_Batch, list[int]]  # with the positions of its events
_Kept = tuple[int, list[int], list[bytes]]  # the floor, what is torn, and pieces

_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_batch = msgspec.msgpack.Decoder(_Batch).decode
_decode_piece = msgspec.msgpack.Decoder(_Piece).decode
_decode_kept = msgspec.msgpack.Decoder(_Kept).decode


class Kept(NamedTuple):
    """What is retained of a stream: see `log.Log`.

    Attributes:
        floor: what is up to this position is not.
        torn: positions in pairs, between which nobody can go on.
        events: they have their positions.
    """

    floor: int
    torn: tuple[int, ...]
    events: list[Event]


def encode(runs: Sequence[Sequence[Event]]) -> bytes:
    """A batch's events, but for their positions, which follow each other."""
    return _encode(_as_batch(runs))


def encode_piece(events: Sequence[Event]) -> bytes:
    """Events of one stream, wherever they are."""
    return _encode((_as_batch(list(_alike(events))), [event.position for event in events]))


def encode_kept(floor: int, torn: Sequence[int], pieces: Sequence[bytes]) -> bytes:
    """What `Kept` has, of events that are encoded."""
    return _encode((floor, torn, pieces))


def join(batches: Sequence[bytes]) -> bytes:
    """Encoded batches as one."""
    return _encode(batches)


def _as_batch(runs: Sequence[Sequence[Event]]) -> _Batch:
    senders: list[_Who] = []
    known: dict[int, int] = {}
    heads: list[_Run] = []
    for run in runs:
        first = run[0]
        sender = first.sender
        index = known.get(id(sender))
        if index is None:
            index = known[id(sender)] = len(senders)
            senders.append((sender.principal, sender.client, sender.connection))
        binary = first.codec is MSGPACK
        heads.append((first.topic, first.key, index, first.time, binary, len(run)))
    events = [event for run in runs for event in run]
    bodies = [event.raw for event in events]
    odd: list[_Odd] = []
    if [event for event in events if event.dedupe is not None or event.extended]:  # hardly ever
        odd = [
            (n, e.extended, e.dedupe)
            for n, e in enumerate(events)
            if e.dedupe is not None or e.extended
        ]
    return senders, heads, [len(raw) for raw in bodies], b"".join(bodies), odd


def _alike(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Events of one stream in runs as a batch has them."""
    for _, run in groupby(events, lambda e: (e.topic, e.time, id(e.sender), e.codec is MSGPACK)):
        yield list(run)


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
        for batch in _decode_row(blob):
            yield from self._events(_decode_batch(batch))

    def piece(self, blob: bytes) -> list[Event]:
        """What `encode_piece` made. Raises as `runs`."""
        batch, positions = _decode_piece(blob)
        events = [event for run in self._events(batch) for event in run]
        for event, position in zip(events, positions, strict=True):
            event.position = position
        return events

    def kept(self, blob: bytes) -> Kept:
        """What `encode_kept` made. Raises as `runs`."""
        floor, torn, pieces = _decode_kept(blob)
        return Kept(floor, tuple(torn), [e for each in pieces for e in self.piece(each)])

    def _events(self, batch: _Batch) -> Iterable[list[Event]]:
        who, heads, sizes, bodies, odd = batch
        one = self._strings.setdefault
        senders = [self._senders.setdefault(s, s) for s in (Sender(*names) for names in who)]
        exceptions = {index: more for index, *more in odd}
        at = number = 0
        for topic, key, sender, time, binary, count in heads:
            topic, key = one(topic, topic), one(key, key)
            codec = MSGPACK if binary else JSON
            run = []
            for size in sizes[number : number + count]:
                raw, more = Raw(bodies[at : at + size]), exceptions.get(number, ())
                run.append(Event(topic, key, None, raw, time, senders[sender], codec, *more))
                at += size
                number += 1
            yield run
