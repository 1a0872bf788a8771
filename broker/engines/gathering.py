"""What is stored together: what comes soon after something was stored.

A commit costs the same for one event and for a hundred. So what comes after a pause is handed
over at once, and what comes within `pause` of it waits for the end of that, or until it is much.
"""

from collections.abc import Callable, Sequence

from broker.clock import CallLater
from broker.event import Event

MUCH = 512 << 10
"""How much is gathered at most, as it counts in a history: to encode it takes about a
millisecond."""


class Gathering:
    """Batches' events that are not handed over yet.

    Args:
        pause: for how long it gathers, in seconds; 0: not at all.
        call_later: the loop's.
        hand_over: is given runs of events, in order, and of how many batches they are.
    """

    def __init__(
        self,
        pause: float,
        call_later: CallLater,
        hand_over: Callable[[Sequence[list[Event]], int], None],
    ) -> None:
        self._pause = pause
        self._call_later = call_later
        self._hand_over = hand_over
        self._resting = False  # something was handed over less than a pause ago
        self._runs: list[list[Event]] = []
        self._batches = 0
        self._size = 0

    def add(self, runs: Sequence[list[Event]], size: int) -> None:
        """Gather a batch's events, which count so much in a history."""
        self._runs += runs
        self._batches += 1
        self._size += size
        if not self._resting:
            self._begin()
        elif self._size > MUCH:
            self.finish()

    def _begin(self) -> None:
        """Hand over what there is, and gather for a while what comes next."""
        self._resting = self._pause > 0 and self._batches > 0
        if self._resting:
            self._call_later(self._pause, self._begin)
        self.finish()

    def finish(self) -> None:
        """Hand over what there is, now."""
        if self._batches:
            runs, batches, size = self._runs, self._batches, self._size
            self.forget()
            try:
                self._hand_over(runs, batches)
            except BaseException:  # they are not lost: what comes later stands behind them
                self._runs = [*runs, *self._runs]
                self._batches += batches
                self._size += size
                raise

    def forget(self) -> None:
        """Hand over nothing of what there is."""
        self._runs = []
        self._batches = self._size = 0
