"""How long to wait before the next attempt to connect."""

from collections.abc import Callable

BASE = 0.25
CEILING = 15.0


class Backoff:
    """Delays that double, each spread at random, so that clients do not come back as one.

    Args:
        random: gives a number from 0 to 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._attempts = 0

    def next(self, at_least: float = 0.0) -> float:
        """Seconds to wait: `at_least`, and up to twice as much more as the last time."""
        spread = min(CEILING, BASE * 2.0**self._attempts)
        self._attempts = min(self._attempts + 1, 30)
        return at_least + spread * self._random()

    def reset(self) -> None:
        """A connection has proved to be good: begin with short delays again."""
        self._attempts = 0
