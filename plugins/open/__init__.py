"""A namespace with no schema: any topic below its name, any body that JSON can say.

The publisher names the stream, with `key`, or leaves it out. What it retains of
a stream is the last event of each topic.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from msgspec import Struct

from broker.plugin import Event, Plugin

REMEMBERED_TOPICS = 1000
"""Of how many topics of one stream the last event is retained: those that spoke last."""

LastEvents = dict[str, Event]
"""The state of one stream: the last event of each topic."""


class OpenOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a reader that is behind.

    Attributes:
        slow_reader: `disconnect` gives it every event, late, and closes it (4108) when the
            next one it needs is not retained any more; `latest` gives it the last event
            of each topic and key, and says with `dropped` how many were left out.
    """

    slow_reader: Literal["disconnect", "latest"] = "disconnect"


class OpenPlugin(Plugin[LastEvents]):
    """Owns its topics, and asks nothing of them."""

    Options: ClassVar[type[Struct]] = OpenOptions

    def __init__(self, namespace: str, options: OpenOptions) -> None:
        super().__init__(namespace, options)
        self.latest = options.slow_reader == "latest"

    def body_type(self, topic: str) -> Any:
        return Any

    def topics(self) -> Mapping[str, Any]:
        return {self.namespace + ".{topic}": {"run": "run-7", "ok": True}}

    def initial(self) -> LastEvents:
        return {}

    def apply(self, state: LastEvents, event: Event) -> None:
        state.pop(event.topic, None)  # so that a snapshot is in the order of their coming
        state[event.topic] = event
        if len(state) > REMEMBERED_TOPICS:
            del state[next(iter(state))]

    def snapshot(self, state: LastEvents, since: int | None = None) -> Iterable[Event]:
        return [event for event in state.values() if since is None or event.position > since]
