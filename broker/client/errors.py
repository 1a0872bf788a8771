"""What a client raises.

    EdgestreamError
    └── ClientError
        ├── CannotConnect               no connection came about
        │   └── ConnectionRefusedByBroker   the broker will not have us: do not come back
        ├── ClientClosed                used after, or waiting during, its close
        ├── Unacknowledged              closing could not wait for every answer
        └── OperationRejected           one publish or subscribe was refused

Losing the connection is no error: a client reconnects, and goes on.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from broker.errors import EdgestreamError
from broker.messages import Error


class ClientError(EdgestreamError):
    """The root of what a client raises on purpose."""


class CannotConnect(ClientError):
    """The broker cannot be reached, or what answered does not speak the protocol."""


class ConnectionRefusedByBroker(CannotConnect):
    """The broker closed the connection with a code that says not to come back.

    Attributes:
        code: the close code, such as 4001.
        reason: why, in the broker's words.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the broker refused the connection: {reason} ({code})")
        self.code = code
        self.reason = reason


class ClientClosed(ClientError):
    """The client is closed, or not open yet."""


class Unacknowledged(ClientError):
    """A close did not get an answer to every publish in time; they may be lost."""

    def __init__(self, count: int) -> None:
        super().__init__(f"closed before {count} messages were acknowledged")
        self.count = count


class OperationRejected(ClientError):
    """The broker refused one operation.

    Attributes:
        code: an error code of the protocol, or of a plugin.
        message: what is wrong, in the broker's words.
        detail: facts for programs, such as ``{"path": "$.x"}``.
        retryable: whether the same operation can succeed later.
        topic: the topic (or pattern) of the operation.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        topic: str,
        retryable: bool = False,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{topic}: {code}: {message}")
        self.code = code
        self.message = message
        self.topic = topic
        self.retryable = retryable
        self.detail: Mapping[str, Any] = detail or {}

    @classmethod
    def of(cls, error: Error, topic: str) -> "OperationRejected":
        """What the broker's `error` says about an operation on `topic`."""
        return cls(
            error.code,
            error.message,
            topic=topic,
            retryable=error.retryable,
            detail=None if error.detail is UNSET else error.detail,
        )
