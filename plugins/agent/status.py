"""The namespace `agent.status`: the last status of each agent, retained."""

from collections.abc import Iterable
from typing import Any

from broker.plugin import Event, Plugin, Rejected
from plugins.agent.messages import Status


class LastStatus:
    """The state of one agent's stream."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event: Event | None = None


class StatusPlugin(Plugin[LastStatus]):
    """`agent.status`, keyed by agent."""

    key_field = "agentId"
    retained = True

    def body_type(self, topic: str) -> Any:
        if topic != self.namespace:
            raise Rejected("unknown_topic", f"{self.namespace} has no topic {topic!r}")
        return Status

    def key(self, topic: str, body: Any) -> str:
        key: str = body.agentId
        return key

    def initial(self) -> LastStatus:
        return LastStatus()

    def apply(self, state: LastStatus, event: Event) -> None:
        state.event = event

    def snapshot(self, state: LastStatus, since: int | None = None) -> Iterable[Event]:
        return () if state.event is None else (state.event,)
