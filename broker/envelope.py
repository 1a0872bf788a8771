"""Events as they go to clients, in either encoding: once for all readers of a kind."""

from collections.abc import Sequence

from msgspec import UNSET, Struct

from broker.codec import Codec, transcode
from broker.event import Event
from broker.messages import EventMessage


class Piece(Struct, gc=False):
    """Encoded messages that go out together: neighbours in an array.

    Attributes:
        data: the messages, as they stand in an array, between its ends.
        count: how many they are.
        events: those that they tell, should they become positions again.
    """

    data: bytes
    count: int = 1
    events: Sequence[Event] = ()


def encode_for(group: str, event: Event, codec: Codec, cursor: str) -> bytes:
    """One event as a message to the member of a work queue that it was given to."""
    raw = event.raw if event.codec is codec else transcode(event.raw, event.codec, codec)
    return codec.encode(
        EventMessage(event.topic, event.time, raw, event.key or UNSET, cursor, group=group)
    )


def encode(
    events: Sequence[Event],
    codec: Codec,
    epoch: str,
    sub: int | None = None,
    *,
    cursors: bool = True,
) -> bytes:
    """Events as messages to a client, as in `Piece.data`; their bodies as they came in.

    With `sub` they are a part of that replay; those of a snapshot have no `cursors`.
    """
    messages = [
        EventMessage(
            event.topic,
            event.time,
            event.raw if event.codec is codec else transcode(event.raw, event.codec, codec),
            event.key or UNSET,
            f"{epoch}.{event.position}" if cursors else UNSET,
            UNSET if sub is None else sub,
        )
        for event in events
    ]
    return codec.encode(messages[0]) if len(messages) == 1 else codec.encode_all(messages)
