"""Fields of a request, read strictly: what is wrong is named by the front end's own word."""

import re
from collections.abc import Mapping
from typing import Any

from broker.accept import preferred
from plugins.agent.dialects.base import Incoming, Unfit

MAX_NAME = 255
"""Of a session's name, in characters and in bytes."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def text(body: Mapping[str, Any], field: str = "message") -> str:
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
