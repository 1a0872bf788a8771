"""Topics, patterns and keys: their form, and when a pattern matches a topic.

A topic is 1 to 16 levels of ``[A-Za-z0-9_-]+`` joined by dots, at most 255
bytes. A pattern may also have ``*`` for exactly one level and, at its end,
``>`` for one or more levels. (docs/protocol.md, "Topics, patterns, keys")
"""

import re
from functools import lru_cache

from broker.errors import Rejected

MAX_LEVELS = 16
MAX_BYTES = 255

_LEVEL = "[A-Za-z0-9_-]+"
_TOPIC = re.compile(rf"{_LEVEL}(?:\.{_LEVEL}){{0,{MAX_LEVELS - 1}}}")
_PATTERN = re.compile(rf"(?:>|(?:{_LEVEL}|\*)(?:\.(?:{_LEVEL}|\*)){{0,{MAX_LEVELS - 1}}}(?:\.>)?)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_topic(text: str) -> bool:
    """Whether `text` is a topic."""
    return len(text) <= MAX_BYTES and _TOPIC.fullmatch(text) is not None


def check_topic(text: str) -> None:
    """Raise `Rejected` ``bad_topic`` unless `text` is a topic."""
    if not is_topic(text):
        raise Rejected("bad_topic", f"not a topic: {shown(text)}", {"field": "topic"})


def check_pattern(text: str) -> None:
    """Raise `Rejected` ``bad_pattern`` unless `text` is a topic or a pattern."""
    if len(text) > MAX_BYTES or _PATTERN.fullmatch(text) is None or text.count(".") >= MAX_LEVELS:
        raise Rejected("bad_pattern", f"not a topic or pattern: {shown(text)}", {"field": "topic"})


def check_key(key: str) -> None:
    """Raise `Rejected` ``bad_message`` unless `key` is 1–255 bytes without control characters."""
    if not key or len(key.encode()) > MAX_BYTES or _CONTROL.search(key):
        why = "a key is 1 to 255 bytes of UTF-8 without control characters"
        raise Rejected("bad_message", why, {"field": "key"})


def is_wild(pattern: str) -> bool:
    """Whether `pattern` can match more than one topic."""
    return "*" in pattern or ">" in pattern


@lru_cache(maxsize=4096)
def matches(pattern: str, topic: str) -> bool:
    """Whether `pattern` matches `topic`. Plain, and slow where it is not known yet: the index
    is the fast form."""
    wanted = pattern.split(".")
    levels = topic.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(levels) <= len(wanted):
            return False
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(
        w in ("*", level) for w, level in zip(wanted, levels, strict=True)
    )


def may_match_under(pattern: str, prefix: str) -> bool:
    """Whether `pattern` can match `prefix` itself or some topic below it."""
    wanted = pattern.split(".")
    levels = prefix.split(".")
    for index, level in enumerate(levels):
        if index == len(wanted):
            return False
        if wanted[index] == ">":
            return True
        if wanted[index] not in ("*", level):
            return False
    return True


def shown(text: str) -> str:
    """`text` as it may stand in a message to a client: quoted, and short."""
    return repr(text if len(text) <= 80 else text[:80] + "…")
