"""Server-sent events: what they say, and what a reader resumes from.

An event of the broker's has no name, and the same object as its data that a WebSocket
reader gets; other messages are named by their `op`. The `id` of each says where to go on:
the cursor, or for a request of several subscriptions all of theirs.
"""

import hashlib
import re
from collections.abc import Sequence

from msgspec import Raw

from broker.framing import frame
from broker.topics import matches
from broker.transports.told import Told

RETRY = b"retry: 1000\n\n"
"""How long an `EventSource` waits before it comes back, in ms."""

UNKNOWN = "-"
"""A cursor of no stream."""

_CURSORS = re.compile(r"[\w.:,-]{1,4096}", re.ASCII)


class Place:
    """How far a reader has come in what one subscription is about.

    Args:
        pattern, key: the subscription's.
        cursor: where it goes on; "" where that is not known.
    """

    def __init__(self, pattern: str, key: str, cursor: str = "") -> None:
        self.pattern = pattern
        self.key = key
        self.cursor = cursor
        self.live = False  # its replay is over


class Places:
    """The places of all subscriptions of one request.

    As text it is the cursor, where there is one subscription; or all of them, behind a
    digest of what they are about. Their number is bounded, and so is the text.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        names = "\n".join(f"{place.pattern} {place.key}" for place in places)
        self._digest = hashlib.sha256(names.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        if len(self._places) == 1:
            return self._places[0].cursor
        if not any(place.cursor for place in self._places):
            return ""
        return f"{self._digest}:{','.join(place.cursor for place in self._places)}"

    def resume(self, text: str) -> None:
        """Go on from what was a text of these places; from another one nothing is known, which
        is a cursor that is unknown to each."""
        if _CURSORS.fullmatch(text) is None:
            text = UNKNOWN  # as it is, it might be lines of their own, or no end of them
        digest, _, cursors = text.partition(":")
        known = cursors.split(",")
        if len(self._places) == 1 or digest != self._digest or len(known) != len(self._places):
            known = [text if len(self._places) == 1 else UNKNOWN] * len(self._places)
        for place, cursor in zip(self._places, known, strict=True):
            place.cursor = cursor

    def passed(self, told: Told) -> str:
        """An event went out. Returns the text if it has changed by it, else ""."""
        if not told.cursor:
            return ""
        if len(self._places) == 1:
            self._places[0].cursor = told.cursor
            return told.cursor
        if told.sub:
            moved = [self._places[told.sub - 1]]
        else:
            moved = [
                place
                for place in self._places
                if place.live and place.key == told.key and matches(place.pattern, told.topic)
            ]
        for place in moved:
            place.cursor = told.cursor
        return str(self) if moved else ""

    def began(self, told: Told) -> None:
        """A subscription stands, or its replay is over: from here on it is live."""
        place = self._places[told.id - 1]
        if told.cursor:
            place.cursor = told.cursor
            place.live = True


class EventStream:
    """Renders what the broker says as server-sent events. See `Render`.

    Args:
        places: what `id`s are made of; None where there is nothing to resume from.
    """

    def __init__(self, places: Places | None) -> None:
        self.ended = False
        self._places = places

    def begin(self) -> bytes:
        return RETRY

    def event(self, told: Told, raw: bytes | Raw) -> bytes:
        return frame(bytes(raw), "", "" if self._places is None else self._places.passed(told))

    def message(self, told: Told, raw: bytes | Raw) -> bytes:
        data = bytes(raw)
        places = self._places
        if told.op == "welcome":
            return b""
        if told.op in ("subscribed", "replayed") and places:
            places.began(told)
            return frame(data, told.op, str(places))
        return frame(data, told.op)
