"""Liveness of every connection, both ways, by one timer.

Each connection is visited four times in a heartbeat; all that is kept of time is
a few counts of visits, so a fake timer is all that a test needs.
"""

from collections.abc import Callable
from typing import Protocol

VISITS = 4
"""How often a connection is visited in one heartbeat."""

GIVE_UP = 2 * VISITS + 1
"""After so many visits without a sign of life (two heartbeats, at least) it is dead."""


class Beating(Protocol):
    """A connection, as the heartbeat sees it.

    Attributes:
        heard: something came since the last visit; the visit takes it back.
        spoke: something was sent since the last visit; likewise.
        reading: the broker is reading from it. While it is not, silence says nothing.
    """

    heard: bool
    spoke: bool
    pulse: "Pulse"

    @property
    def reading(self) -> bool: ...

    def ping_frame(self) -> None:
        """Send a control frame that any WebSocket answers."""

    def ping_message(self) -> None:
        """Send `op: ping`, which a page can see."""

    def dead(self) -> None:
        """Nothing came for two heartbeats."""


class Pulse:
    """The counts of one connection, in visits."""

    __slots__ = ("mute", "silent", "unpinged")

    def __init__(self) -> None:
        self.silent = 0  # since something came
        self.mute = 0  # since something was sent
        self.unpinged = 0  # since the last control ping


class Heartbeat:
    """Visits every connection in turn.

    Args:
        interval: a heartbeat, in seconds.
        call_later: runs a function after some seconds.
    """

    def __init__(
        self, interval: float, call_later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        self._pause = interval / VISITS
        self._call_later = call_later
        self._connections: set[Beating] = set()

    def start(self) -> None:
        """Begin; it goes on as long as its loop does."""
        self._call_later(self._pause, self._visit_all)

    def add(self, connection: Beating) -> None:
        self._connections.add(connection)

    def discard(self, connection: Beating) -> None:
        self._connections.discard(connection)

    def _visit_all(self) -> None:
        self.start()
        for connection in list(self._connections):
            _visit(connection, connection.pulse)


def _visit(connection: Beating, pulse: Pulse) -> None:
    pulse.silent = 0 if connection.heard or not connection.reading else pulse.silent + 1
    pulse.mute = 0 if connection.spoke else pulse.mute + 1
    pulse.unpinged += 1
    connection.heard = connection.spoke = False
    if pulse.silent >= GIVE_UP:
        connection.dead()
        return
    if pulse.mute >= VISITS:
        connection.ping_message()
    if pulse.unpinged >= VISITS:
        pulse.unpinged = 0
        connection.ping_frame()
