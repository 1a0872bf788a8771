"""Events as they go to clients, in either encoding: once for all readers of a kind."""

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET, Raw
from mypy_extensions import mypyc_attr

from broker.codec import JSON, Codec, transcode
from broker.event import Event
from broker.messages import EventMessage

_QUOTED: Final[dict[str, str]] = {}
REMEMBERED: Final = 10_000
LONG: Final = 100
"""How many topics and keys are remembered as JSON strings; those that are longer are not."""


@mypyc_attr(acyclic=True)
class Piece:
    """Encoded messages that go out together: neighbours in an array.

    Attributes:
        data: the messages, as they stand in an array, between its ends.
        count: how many they are.
        events: those that they tell, should they become positions again.
    """

    __slots__ = ("count", "data", "events")

    def __init__(self, data: bytes, count: int = 1, events: Sequence[Event] = ()) -> None:
        self.data = data
        self.count = count
        self.events = events


def encode_for(group: str, event: Event, codec: Codec, cursor: str) -> bytes:
    """One event as a message to the member of a work queue that it was given to."""
    return codec.encode(
        EventMessage(
            event.topic, event.time, _body(event, codec), event.key or UNSET, cursor, group=group
        )
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
    if codec is JSON and cursors and sub is None:
        return _encode_live(events, epoch)
    messages = [
        EventMessage(
            event.topic,
            event.time,
            _body(event, codec),
            event.key or UNSET,
            f"{epoch}.{event.position}" if cursors else UNSET,
            UNSET if sub is None else sub,
        )
        for event in events
    ]
    return codec.encode(messages[0]) if len(messages) == 1 else codec.encode_all(messages)


def _encode_live(events: Sequence[Event], epoch: str) -> bytes:
    """The same as JSON, as nearly every event goes out: what neighbours have in common is
    encoded once. An `EventMessage` of each would take three times as long."""
    parts: list[bytes] = []
    topic = place = ""
    last: Event | None = None
    for event in events:
        if last is None or event.topic is not last.topic or event.key is not last.key:
            topic = f',{{"op":"event","topic":{_quoted(event.topic)},"time":'
            key = f',"key":{_quoted(event.key)}' if event.key else ""
            place = f'{key},"cursor":"{epoch}.'
            last = None
        if last is None or event.time != last.time:
            head = f'{topic}{event.time},"body":'.encode()
        last = event
        parts.append(head)
        parts.append(_body(event, JSON))
        parts.append(f'{place}{event.position}"}}'.encode())
    return b"".join(parts)[1:]


def _quoted(text: str) -> str:
    """A string as JSON: that of an event is nearly always that of one shortly before it."""
    found = _QUOTED.get(text)
    if found is None:
        found = JSON.encode_any(text).decode()
        if len(found) <= LONG:
            if len(_QUOTED) >= REMEMBERED:
                _QUOTED.clear()
            _QUOTED[text] = found
    return found


def _body(event: Event, codec: Codec) -> Raw:
    return event.raw if event.codec is codec else transcode(event.raw, event.codec, codec)
