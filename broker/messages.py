"""The wire's messages: one Struct for each `op`, in both directions.

Fields are camelCase as on the wire (docs/protocol.md). An optional field is
left out when it is unset, never null; a null from a client is refused, since
no type here admits it. Add fields with defaults, never repurpose one.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

MAX_INT = 2**63 - 1
Id = Annotated[int, Meta(ge=1, le=MAX_INT)]
"""An operation's id: positive, and growing within a connection."""

# ------------------------------------------------------------- client to broker


class Hello(Struct, tag_field="op", tag="hello", gc=False):
    """Who this is, where it did not come with the upgrade request."""

    token: str | UnsetType = UNSET
    client: str | UnsetType = UNSET


class Publish(Struct, tag_field="op", tag="publish", gc=False):
    """Put one message on a topic. `body` stays in the bytes that it came in."""

    topic: str
    body: Raw
    key: str | UnsetType = UNSET
    id: Id | UnsetType = UNSET
    dedupe: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType = UNSET


class Subscribe(Struct, tag_field="op", tag="subscribe"):
    """Ask for the events of a topic or pattern, of one key or of all."""

    id: Id
    topic: str
    key: str | UnsetType = UNSET
    replay: Literal["none", "snapshot", "history"] = "none"
    after: str | UnsetType = UNSET
    coalesce: Literal["auto", "never"] = "auto"
    rollupMs: Annotated[int, Meta(ge=0, le=10_000)] | UnsetType = UNSET
    group: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType = UNSET


class Unsubscribe(Struct, tag_field="op", tag="unsubscribe"):
    """Give a subscription back. It is named by what it was made with."""

    id: Id
    topic: str
    key: str | UnsetType = UNSET
    group: str | UnsetType = UNSET


class Refresh(Struct, tag_field="op", tag="refresh"):
    """Replace the token before it expires."""

    id: Id
    token: str


class Ping(Struct, tag_field="op", tag="ping", omit_defaults=True):
    """From a client: asks for a `Pong`. From the broker: a sign of life."""

    id: Id | UnsetType = UNSET


ClientMessage = Hello | Publish | Subscribe | Unsubscribe | Refresh | Ping
CLIENT_OPS = {
    "hello": Hello,
    "publish": Publish,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "refresh": Refresh,
    "ping": Ping,
}

# ------------------------------------------------------------- broker to client


class Limits(Struct):
    """What a connection may do, as `welcome` tells it."""

    maxMessageBytes: int
    maxSubscriptions: int
    maxBodyBytes: dict[str, int]


class Welcome(Struct, tag_field="op", tag="welcome"):
    """The first message: the connection stands."""

    connection: str
    namespaces: list[str]
    heartbeatMs: int
    limits: Limits
    server: str | UnsetType = UNSET


class EventMessage(Struct, tag_field="op", tag="event"):
    """One event. The broker builds its bytes itself (`codec`); clients decode this."""

    topic: str
    time: int
    body: Any
    key: str | UnsetType = UNSET
    cursor: str | UnsetType = UNSET
    sub: int | UnsetType = UNSET
    group: str | UnsetType = UNSET


class Subscribed(Struct, tag_field="op", tag="subscribed"):
    id: int
    cursor: str | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET


class Replayed(Struct, tag_field="op", tag="replayed"):
    id: int
    cursor: str | UnsetType = UNSET


class Unsubscribed(Struct, tag_field="op", tag="unsubscribed"):
    id: int


class Refreshed(Struct, tag_field="op", tag="refreshed"):
    id: int
    expiresAt: int | UnsetType = UNSET


class Ack(Struct, tag_field="op", tag="ack", gc=False):
    """Every publish up to `id` is accepted, but for those an `error` named before."""

    id: int


class Error(Struct, tag_field="op", tag="error"):
    code: str
    message: str
    retryable: bool
    id: int | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    detail: dict[str, Any] | UnsetType = UNSET


class Dropped(Struct, tag_field="op", tag="dropped"):
    """What a `latest` policy left out for this connection."""

    topic: str
    count: int
    key: str | UnsetType = UNSET


class Pong(Struct, tag_field="op", tag="pong", omit_defaults=True):
    id: int | UnsetType = UNSET


class Goodbye(Struct, tag_field="op", tag="goodbye"):
    """Sent before an orderly close."""

    code: int
    reason: str
    reconnect: bool
    retryAfterMs: int | UnsetType = UNSET


BrokerMessage = (
    Welcome
    | EventMessage
    | Subscribed
    | Replayed
    | Unsubscribed
    | Refreshed
    | Ack
    | Error
    | Dropped
    | Ping
    | Pong
    | Goodbye
)
BROKER_OPS = frozenset(
    {
        "welcome", "event", "subscribed", "replayed", "unsubscribed", "refreshed",
        "ack", "error", "dropped", "ping", "pong", "goodbye",
    }
)  # fmt: skip
