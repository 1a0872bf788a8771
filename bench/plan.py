"""What a run is asked to do and what it found: the Structs that processes exchange as JSON."""

from typing import Literal

from msgspec import Struct, field

CodecName = Literal["json", "msgpack"]


class Load(Struct, frozen=True, kw_only=True):
    """One run of the generator against one system that is already listening.

    Attributes:
        core, system_core: where the generator goes, and where the system is.
        publishers: publisher connections; 0 is one per session.
        batch: whether a publisher's sessions travel in one array per tick.
        rate: tokens per second and session; 0 is as fast as they come back.
        warmup: seconds of load before the measured window.
        spaced: whether events are encoded anew by `json.dumps`, with its spaces. A wrong
            guess costs the generator time, nothing else.
        drain: seconds without any progress after which missing tokens are lost.
    """

    scenario: Literal["sessions", "idle", "ceiling"] = "sessions"
    host: str = "127.0.0.1"
    port: int
    pid: int = 0
    core: int | None = None
    system_core: int | None = None
    codec: CodecName = "json"
    sessions: int = 800
    rate: int = 100
    publishers: int = 0
    batch: bool = False
    acks: bool = False
    spaced: bool = False
    seconds: float = 5.0
    warmup: float = 1.0
    drain: float = 10.0
    connections: int = 2000

    @property
    def publisher_count(self) -> int:
        return min(self.publishers or self.sessions, self.sessions)


class Latency(Struct, frozen=True, kw_only=True):
    """Publish to receive, in microseconds, of the tokens received within the window."""

    p50: float
    p99: float
    max: float


class Usage(Struct, frozen=True, kw_only=True):
    """What the system's processes used within the window (idle: before and after).

    Attributes:
        cpu: user and system seconds of all threads.
        waited: seconds in which its threads could run but had no core.
        foreign: seconds in which its core ran other processes.
    """

    cpu: float
    wall: float
    waited: float
    foreign: float = 0.0
    rss: int


class Generator(Struct, frozen=True, kw_only=True):
    """How the generator itself fared, within the window.

    Attributes:
        share: its CPU time by wall time.
        waited: the share of wall time in which it could run but had no core.
        lag_p99, lag_max: how late ticks were fired, in ms.
    """

    share: float
    waited: float
    lag_p99: float
    lag_max: float


class Result(Struct, frozen=True, kw_only=True):
    """What one run found.

    Attributes:
        problems: why the run failed: anything lost, repeated, reordered or refused.
        doubts: why its figures cannot be trusted, though every token arrived.
        merged: tokens that came inside a merged event.
    """

    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sent: int = 0
    received: int = 0
    merged: int = 0
    offered: float = 0.0
    delivered: float = 0.0
    cpu_us: float = 0.0
    latency: Latency | None = None
    usage: Usage | None = None
    generator: Generator | None = None
    idle_kib: float = 0.0
    subscribed_kib: float = 0.0


class Variant(Struct, frozen=True, kw_only=True):
    """One row of the table: a load but for the system that it is put on."""

    name: str
    scenario: Literal["sessions", "idle", "ceiling"] = "sessions"
    codec: CodecName = "json"
    rate: int = 100
    batch: bool = False
    acks: bool = False


class Run(Struct, frozen=True, kw_only=True):
    """A result with what it is the result of."""

    variant: Variant
    system: str
    repeat: int
    load: Load
    result: Result
