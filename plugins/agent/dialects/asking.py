"""What a request asks, and its fields, read strictly: what is wrong is named by the front end's
own word."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.accept import preferred

MAX_NAME = 255
"""Of a session's name, in characters and in bytes."""

TEXT = "message"
"""What every front end calls the text; whatever else it posts is short."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Incoming:
    """One POST: read whole, its size and content type checked, its JSON object decoded.

    Attributes:
        path: the parameters of its path.
        query: the parameters of its query.
        headers: by lower-case names; `accept` is one of them, as one line.
        body: the JSON object.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class Unfit(Exception):
    """A request that its dialect does not understand: HTTP 422.

    Attributes:
        field: what is wrong, by the dialect's own name, such as ``message``.
        message: how it is wrong.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True)
class Ask:
    """What a request asks: it becomes `agent.chat.userMessage`.

    Attributes:
        stream: the answer is a stream of events; otherwise one JSON document.
        tokens: the stream has the text piece by piece, not only as a whole.
    """

    session: str
    text: str
    user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = True
    tokens: bool = True


def text(body: Mapping[str, Any], field: str = TEXT) -> str:
    """What the user says; it says something."""
    value = _string(body, field)
    if not value.strip():
        raise Unfit(field, "is empty")
    return value


def name(values: Mapping[str, Any], field: str) -> str:
    """A session's name, which is the key of its stream."""
    value = _string(values, field)
    if not value or len(value.encode()) > MAX_NAME or _CONTROL.search(value):
        raise Unfit(field, f"is not 1 to {MAX_NAME} bytes of UTF-8 without control characters")
    return value


def optional(body: Mapping[str, Any], field: str) -> str | None:
    """A string that may be left out, or be null, as front ends do."""
    return None if body.get(field) is None else _string(body, field)


def flag(incoming: Incoming, field: str, *, default: bool) -> bool:
    """``true`` or ``false``: of the query, or else of the body, or else `default`. One that is
    null is left out."""
    value = incoming.query.get(field, incoming.body.get(field))
    value = default if value is None else value
    value = str(value).lower()  # Python's clients write True into a query
    if value not in ("true", "false"):
        raise Unfit(field, "is neither true nor false")
    return value == "true"


def wants_stream(incoming: Incoming) -> bool:
    """Whether ``Accept`` prefers a stream to one JSON answer, where there are both."""
    kinds = ("application/json", "text/event-stream")
    return preferred(incoming.headers.get("accept", ""), kinds) == kinds[1]


def _string(values: Mapping[str, Any], field: str) -> str:
    if field not in values:
        raise Unfit(field, "is missing")
    value = values[field]
    if not isinstance(value, str):
        raise Unfit(field, "is not a string")
    return value
