"""Messages as server-sent events."""

from typing import Any

import msgspec
from msgspec import Struct

from broker.framing import frame

EXACT = 2**53
"""Below it, floats tell integers apart."""

_encode = msgspec.json.Encoder().encode


def whole(number: float) -> float:
    """It as an integer, if it is one: some front ends read no ``50.0`` where they expect 50."""
    return int(number) if number == number // 1 and abs(number) < EXACT else number


def packed(message: Struct | dict[str, Any], event: str = "") -> bytes:
    """One event whose data is `message` as JSON: a single line, since JSON escapes breaks."""
    return frame(_encode(message), event)
