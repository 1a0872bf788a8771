"""What the broker says to an HTTP request, read again from its JSON."""

from collections.abc import Callable

from msgspec import UNSET, Raw, Struct, UnsetType

from broker.codec import JSON
from broker.messages import Error


# Not in a compiled module, where nothing would be left of what `body` is. (docs/decisions/0014)
class Told(Struct, gc=False):
    """What any message of the broker may have: see `broker.messages`."""

    op: str
    id: int = 0
    topic: str = ""
    key: str = ""
    cursor: str = ""
    sub: int = 0
    time: int = 0
    body: Raw | UnsetType = UNSET


told: Callable[[bytes | Raw], Told] = JSON.decoder(Told).decode
each: Callable[[bytes], list[Raw]] = JSON.decoder(list[Raw]).decode
"""The messages of an array, as they stand in it."""

error: Callable[[bytes | Raw], Error] = JSON.decoder(Error).decode
