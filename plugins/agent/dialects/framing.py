"""Server-sent events as bytes."""

import re
from typing import Any

import msgspec
from msgspec import Struct

_LINE_BREAK = re.compile(rb"\r\n|\r|\n")

EXACT = 2**53
"""Below it, floats tell integers apart."""

_encode = msgspec.json.Encoder().encode


def frame(data: bytes, event: str = "") -> bytes:
    """One event, named `event` where that is given.

    Its lines end with LF alone. A line break in `data` begins another ``data:`` line;
    readers join them with LF.
    """
    name = b"event: %b\n" % event.encode() if event else b""
    if b"\n" in data or b"\r" in data:
        data = _LINE_BREAK.sub(b"\ndata: ", data)
    return b"%bdata: %b\n\n" % (name, data)


def whole(number: float) -> float:
    """It as an integer, if it is one: some front ends read no ``50.0`` where they expect 50."""
    return int(number) if number == number // 1 and abs(number) < EXACT else number


def packed(message: Struct | dict[str, Any], event: str = "") -> bytes:
    """One event whose data is `message` as JSON: a single line, since JSON escapes breaks."""
    return frame(_encode(message), event)
