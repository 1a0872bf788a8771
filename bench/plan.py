"""What a run is asked to do and what it found; all of it goes into the JSON result."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

Namespace = Literal["chat", "workflow", "all"]


class Part(Struct, frozen=True, kw_only=True):
    """One process of the load generator: a group of sessions.

    Attributes:
        role: what the scenario calls it.
        namespace: which endpoint it connects to, where the system has several.
        yields: whether it runs only while no other part wants the core (SCHED_IDLE).
        publishers: connections that publish, each with an equal part of the sessions.
        rate: tokens per second and session; 0 is as fast as the sockets take them.
        batch: publishes in one message, if more than one then as an array.
        subscribe: a connection for each session, one for all, or none.
        fan: subscribers of each session, where each has a connection of its own.
        sse: whether those read server-sent events, instead of a WebSocket.
        watch: sessions of another part that the one connection also subscribes to.
        keyed: whether a publish names its key.
        turns: whether a session begins with a turnStarted, where the system knows turns.
        rollup: `rollupMs` of the subscriptions, where the system knows it.
        window: the most tokens of a publisher that are under way to their own subscribers; 0 is as
            many as the sockets take. For a flood.
        buffer: SO_SNDBUF of each connection; 0 is the system's choice.
        read: the most bytes that are read at once.
        late: the lag in ms (p99) from which on its figures cannot be trusted.
    """

    role: str = "load"
    namespace: Namespace = "chat"
    yields: bool = False
    sessions: int = 1
    publishers: int = 1
    rate: float = 0
    batch: int = 1
    acks: bool = False
    subscribe: Literal["each", "one", "none"] = "each"
    fan: int = 1
    sse: bool = False
    watch: int = 0
    topic: str = "agent.chat.token"
    prefix: str = "s"
    keyed: bool = False
    turns: bool = True
    rollup: int = 0
    window: int = 0
    buffer: int = 0
    read: int = 65_536
    late: float = 5.0


class Times(Struct, frozen=True, kw_only=True):
    """How long a run is, in seconds; after `drain` without progress, tokens are lost."""

    seconds: float = 10.0
    warmup: float = 1.0
    drain: float = 10.0


class Spread(Struct, frozen=True, kw_only=True):
    """Of something within the window, in µs."""

    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Found(Struct, frozen=True, kw_only=True, rename="camel"):
    """What one part found.

    Attributes:
        problems: anything lost, repeated, reordered, altered or refused.
        sent, received: tokens in all; of other parts' sessions: `watched`.
        merged: tokens that came inside a merged event.
        offered, delivered, watched_delivered: tokens a second within the window.
        latency: publish to receive, of the tokens received within the window.
        lag: how late it fired, which is how late it got its core.
        share: its CPU time by wall time.
    """

    problems: list[str] = field(default_factory=list)
    sent: int = 0
    received: int = 0
    watched: int = 0
    merged: int = 0
    offered: float = 0.0
    delivered: float = 0.0
    watched_delivered: float = 0.0
    latency: Spread = Spread()
    lag: Spread = Spread()
    share: float = 0.0


class Usage(Struct, frozen=True, kw_only=True):
    """What the system's processes used within the window.

    Attributes:
        cpu: user and system seconds of all threads.
        waited: seconds in which its threads could run but had no core.
        foreign: seconds in which its core ran other processes.
    """

    cpu: float = 0.0
    wall: float = 1.0
    waited: float = 0.0
    foreign: float = 0.0
    rss: int = 0

    @property
    def share(self) -> float:
        return self.cpu / self.wall


class Measured(Struct, frozen=True, kw_only=True):
    """What all parts found, by their roles, and what the system used meanwhile.

    Attributes:
        problems: why it failed.
        doubts, notes: what else the scenario has to say (see `Run`).
        more: what a scenario that measures in a way of its own found.
    """

    parts: Mapping[str, Found] = {}
    usage: Usage = Usage()
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    more: Any = None


class Variant(Struct, frozen=True, kw_only=True):
    """One block of a scenario's table: a load, but for the system that it is put on.

    Attributes:
        only: the systems that it is for; none is all.
        short: the systems that it is measured on where not all was asked for; None is the same.
        base: the variant whose figures it is compared with, if any.
        way: what a scenario that measures in a way of its own has to know.
    """

    name: str
    parts: tuple[Part, ...] = ()
    only: tuple[str, ...] = ()
    short: tuple[str, ...] | None = None
    base: str = ""
    way: Any = None


class Run(Struct, frozen=True, kw_only=True):
    """One run and its figures.

    Attributes:
        base: the variant that its own is compared with.
        problems: why it failed.
        doubts: why its figures cannot be trusted, though every token arrived.
        figures: the scenario's figures by their names.
    """

    scenario: str
    variant: str
    system: str
    repeat: int
    base: str = ""
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: Mapping[str, float] = {}
    measured: Any = None
