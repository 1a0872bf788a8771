"""The one error tree, and the tables of error and close codes.

    EdgestreamError
    ├── ConfigError        the configuration cannot be used: where, and why
    ├── Rejected           one operation is refused; its sender gets an ``error``
    │   ├── Duplicate      accepted before: acknowledged, not stored again
    │   └── Unattended     nobody is there to take it up: it may wait for somebody
    ├── Closed             the whole connection is refused: close code and reason
    └── Conflict           an append lost against another writer

Only `Rejected` and `Closed` ever reach a client. Any other exception is the
broker's own fault: it is logged once and answered as ``internal``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


class EdgestreamError(Exception):
    """The root of every error that the broker raises on purpose."""


class ConfigError(EdgestreamError):
    """The configuration cannot be used.

    Args:
        where: dotted path of the setting, such as ``listen.port``.
        why: what is wrong with it, as a sentence for its owner.
    """

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where
        self.why = why


class Rejected(EdgestreamError):
    """One operation is refused. Its sender is told, and the connection stays open.

    Args:
        code: a code of `ERRORS`, or one that a plugin registered.
        message: one sentence that names what is wrong, and where.
        detail: machine-readable facts, such as ``{"path": "$.tokenIndex"}``.
    """

    def __init__(self, code: str, message: str, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


class Duplicate(Rejected):
    """This message was accepted before: acknowledge it and drop it."""

    def __init__(self) -> None:
        super().__init__("duplicate", "accepted before")


class Unattended(Rejected):
    """No worker is there for this message: it waits for one, and is refused if none comes."""

    def __init__(self, topic: str, key: str) -> None:
        super().__init__("no_worker", f"no live worker was there for {topic} in time")
        self.topic = topic
        self.key = key


class Closed(EdgestreamError):
    """The connection is refused or ended as a whole, with a code of `CLOSES`."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason or CLOSES[code].reason


class Conflict(EdgestreamError):
    """A stream had moved on when an append arrived; the head must be rebuilt."""


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What an error code means, and whether the same operation can succeed later."""

    meaning: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """What a close code means, and whether the client should come back."""

    reason: str
    reconnect: bool


ERRORS: Mapping[str, ErrorInfo] = MappingProxyType(
    {
        "bad_message": ErrorInfo("the message is not of the protocol's form"),
        "unknown_op": ErrorInfo("there is no such operation"),
        "bad_topic": ErrorInfo("the topic is not of the allowed form"),
        "bad_pattern": ErrorInfo("the pattern is not of the allowed form"),
        "bad_body": ErrorInfo("the body does not fit its topic; detail.path says where"),
        "bad_cursor": ErrorInfo("the cursor does not fit this subscription"),
        "unknown_topic": ErrorInfo("no namespace has this topic"),
        "namespace_not_here": ErrorInfo("the topic belongs to another server of this broker"),
        "not_authenticated": ErrorInfo("a token is needed first"),
        "forbidden": ErrorInfo("this principal may not do this"),
        "too_large": ErrorInfo("the body is over its namespace's limit"),
        "rate_limited": ErrorInfo("too many operations; slow down", retryable=True),
        "too_many_subscriptions": ErrorInfo("this connection holds as many as it may"),
        "not_subscribed": ErrorInfo("there is no such subscription"),
        "no_worker": ErrorInfo("no live worker took the message", retryable=True),
        "internal": ErrorInfo("the broker failed; it has logged why", retryable=True),
        "shutting_down": ErrorInfo("the broker is about to stop", retryable=True),
        "unknown_server": ErrorInfo("there is no such server"),
        "not_found": ErrorInfo("there is nothing at this path"),
        "method_not_allowed": ErrorInfo("this path takes other methods"),
        "not_acceptable": ErrorInfo("the answer has no form that the request accepts"),
        "unsupported_type": ErrorInfo("the request's body has no type that is read here"),
    }
)
"""Every error code of the broker itself. A plugin adds its own (`Plugin.errors`)."""

CLOSES: Mapping[int, CloseInfo] = MappingProxyType(
    {
        1003: CloseInfo("wrong frame type for the subprotocol", reconnect=False),
        1007: CloseInfo("text that is not UTF-8", reconnect=False),
        1009: CloseInfo("message too big", reconnect=False),
        4001: CloseInfo("not authenticated", reconnect=False),
        4002: CloseInfo("token expired", reconnect=False),
        4003: CloseInfo("forbidden", reconnect=False),
        4004: CloseInfo("unknown server", reconnect=False),
        4009: CloseInfo("protocol violation", reconnect=False),
        4010: CloseInfo("superseded by a newer connection", reconnect=False),
        4100: CloseInfo("shutting down", reconnect=True),
        4108: CloseInfo("slow consumer", reconnect=True),
        4110: CloseInfo("heartbeat missed", reconnect=True),
    }
)
"""Every close code that the broker sends. 4000–4099: stay away; 4100–4199: come back."""
