"""When to look for garbage: after connections have gone, not whenever much has come.

Python looks at every object anew as soon as a quarter more of them have lasted. That
takes as long as there are streams, about 100 ms for 100,000 of them, and finds nothing: an event, a
stream, a turn are freed when they are let go. What is not is a connection, which knows
its parts, and they know it: some 70 objects. So young objects are looked at as ever, and all of
them after so many connections. (docs/decisions/0018-garbage.md)
"""

import gc
from collections.abc import Callable

from broker.clock import CallLater

GONE = 1000
"""After how many connections that have gone it is worth while: some 15 MB."""

AGE = 600.0
"""After how many seconds it is for a single one."""

PAUSE = 5.0
"""How long it is, at least, between two looks, in seconds."""

NEVER = 1 << 30


class Garbage:
    """Looks for garbage, as long as it is started.

    Args:
        gone: how many connections have gone, ever.
        seconds: a clock's.
        call_later: the loop's.
        collect: what looks at everything.
    """

    def __init__(
        self,
        gone: Callable[[], int],
        seconds: Callable[[], float],
        call_later: CallLater,
        collect: Callable[[], object] = gc.collect,
    ) -> None:
        self._gone = gone
        self._seconds = seconds
        self._call_later = call_later
        self._collect = collect
        self._before = gc.get_threshold()
        self._known = 0
        self._looked = 0.0
        self._stopped = False

    def start(self) -> None:
        """What is there now stays, and is not looked at any more; the rest not by itself."""
        self._before = gc.get_threshold()
        self._collect()
        gc.freeze()
        gc.set_threshold(*self._before[:2], NEVER)
        self._known = self._gone()
        self._looked = self._seconds()
        self._wait()

    def stop(self) -> None:
        """Leave it to Python again."""
        self._stopped = True
        gc.set_threshold(*self._before)

    def _wait(self) -> None:
        self._call_later(PAUSE, self._look)

    def _look(self) -> None:
        if self._stopped:
            return
        now, gone = self._seconds(), self._gone()
        if gone - self._known >= GONE or (gone > self._known and now - self._looked >= AGE):
            self._collect()
            self._known, self._looked = gone, now
        self._wait()
