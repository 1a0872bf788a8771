"""Messages as server-sent events."""

from typing import Any

import msgspec
from msgspec import Struct

from broker.framing import frame

_encode = msgspec.json.Encoder().encode


def packed(message: Struct | dict[str, Any], event: str = "") -> bytes:
    """One event whose data is `message` as JSON: a single line, since JSON escapes breaks."""
    return frame(_encode(message), event)
