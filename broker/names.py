"""The names that publishers give to what they publish, so that a repeat is noticed."""

from broker.engines.base import Batch, Engine
from broker.errors import Duplicate
from broker.event import Event


class Names:
    """The `dedupe` names of a namespace: those that are retained, and those on their way.

    Args:
        engine: knows what is retained.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._unsettled: set[tuple[str, str]] = set()  # by key

    def check(self, event: Event, name: str) -> None:
        """Name an event.

        Raises:
            Duplicate: another of its stream has that name.
        """
        event.dedupe = name
        if (event.key, name) in self._unsettled or self._engine.has_name(event.key, name):
            raise Duplicate

    def add(self, event: Event) -> None:
        """An event with a name goes to the engine."""
        if event.dedupe is not None:
            self._unsettled.add((event.key, event.dedupe))

    def settle(self, batch: Batch) -> None:
        """The engine has a batch, or never will."""
        if self._unsettled:
            named = [(e.key, e.dedupe) for e in batch.events if e.dedupe is not None]
            self._unsettled.difference_update(named)
