"""What a run is asked to do, and what its processes found; all of it goes into the result."""

from typing import Any, Literal

from msgspec import Struct, field

TOPIC = "agent.chat.token"
TICK = "workflow.bench.tick"
TICKS = "run-0"
"""The key of the bystander's events."""

PIECES = (
    " the", " stream", "ing", ",", " and", " namespaces", " naïve", " keep", " apart", ".",
    " “so”", "\n\n", " a", " token", "'s", " über", " way", " 🙂", " in", " \\", ' "it"', " broker",
    " is", "-", " of", " order",
)  # fmt: skip


class Way(Struct, frozen=True, kw_only=True):
    """How the reader and the system are connected.

    Attributes:
        congestion: TCP's congestion control toward the reader, if not the machine's.
    """

    transport: Literal["plain", "tls", "nginx"] = "plain"
    congestion: str = ""


class Load(Struct, frozen=True, kw_only=True):
    """What is published: the same for every system.

    Attributes:
        rate: tokens a second of each session.
        ticks: events a second of the bystander.
        drain: how long the reader may take after the end, in seconds.
    """

    sessions: int = 8
    rate: int = 100
    ticks: int = 50
    seconds: float = 60.0
    drain: float = 60.0

    @property
    def tokens(self) -> int:
        """Of each session."""
        return int(self.rate * self.seconds)

    @property
    def all_ticks(self) -> int:
        return int(self.ticks * self.seconds)


class Task(Struct, frozen=True, kw_only=True):
    """What a process of the load is told.

    Attributes:
        dialect: a name in `dialects.DIALECTS`.
        urls: where the system is: of what both subscribe to, of chat, of the bystander.
        trust: the certificate to trust, if it is TLS.
        pace: how many bytes a second the reader reads; 0 is as they come.
    """

    load: Load
    dialect: str
    urls: tuple[str, str, str]
    trust: str = ""
    pace: int = 0


class Published(Struct, frozen=True, kw_only=True):
    """What the publishers did.

    Attributes:
        held: how late the system let them hand over their last token, or would not, in seconds.
        lag: how late they themselves were (p99), in seconds.
    """

    tokens: int = 0
    ticks: int = 0
    held: float = 0.0
    lag: float = 0.0
    problems: list[str] = field(default_factory=list)


class Received(Struct, frozen=True, kw_only=True):
    """What the reader found.

    Attributes:
        ended: why the connection ended, if it did.
        ticks: for each event of the bystander that came, when it was sent and how late
            it came, in seconds.
        complete: when the last text was complete, in seconds after the end; None: never.
        finished: when the reader ended, in seconds after the beginning.
        merged: tokens that came inside a merged event.
        late: how late a token came after it was due (p50, p99), in seconds, of those that did.
        worst: of the tokens that were due in each second, the latest, as (second, how late).
    """

    problems: list[str] = field(default_factory=list)
    ended: str = ""
    tokens: int = 0
    merged: int = 0
    late: tuple[float, float] = (0.0, 0.0)
    ticks: list[tuple[float, float]] = field(default_factory=list)
    worst: list[tuple[int, float]] = field(default_factory=list)
    complete: float | None = None
    finished: float = 0.0
    messages: int = 0
    events: int = 0
    bytes: int = 0


def session(number: int) -> str:
    """The key of a session."""
    return f"session-{number}"


def piece(number: int, index: int) -> str:
    """The text of a session's token."""
    return PIECES[(index * 7 + index // 26 * 3 + number * 11) % len(PIECES)]


def due(load: Load, number: int, index: int) -> float:
    """When a session's token is published, in seconds after the beginning."""
    return (index + number / load.sessions) / load.rate


def token(load: Load, number: int, index: int) -> dict[str, Any]:
    """The body of a session's token."""
    return {
        "sessionId": session(number),
        "turnId": "turn-1",
        "agentId": "agent-1",
        "token": piece(number, index),
        "tokenIndex": index,
        "isLast": index == load.tokens - 1,
    }


def tick(number: int, sent: float) -> dict[str, Any]:
    """The body of the bystander's event; `sent` is when it was due, by the monotonic clock."""
    return {"sessionId": TICKS, "number": number, "sent": round(sent, 6)}
