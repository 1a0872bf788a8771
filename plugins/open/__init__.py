"""A namespace with no schema: any topic below its name, any body that JSON can say.

The publisher names the stream, with `key`, or leaves it out. What it retains of
a stream is the last event of each topic.
"""

from collections.abc import Iterable
from typing import Any

from broker.plugin import Event, Plugin

REMEMBERED_TOPICS = 1000
"""Of how many topics of one stream the last event is retained: those that spoke last."""

LastEvents = dict[str, Event]
"""The state of one stream: the last event of each topic."""


class OpenPlugin(Plugin[LastEvents]):
    """Owns its topics, and asks nothing of them."""

    def body_type(self, topic: str) -> Any:
        return Any

    def initial(self) -> LastEvents:
        return {}

    def apply(self, state: LastEvents, event: Event) -> None:
        state.pop(event.topic, None)  # so that a snapshot is in the order of their coming
        state[event.topic] = event
        if len(state) > REMEMBERED_TOPICS:
            del state[next(iter(state))]

    def snapshot(self, state: LastEvents) -> Iterable[Event]:
        return tuple(state.values())
