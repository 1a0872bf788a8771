"""Bodies: raw bytes of either encoding → what a topic's type and JSON allow."""

import re
from itertools import chain
from math import isfinite
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from broker.choices import explained
from broker.codec import JSON, MSGPACK, Codec
from broker.errors import Rejected

MAX_DEPTH = 100
"""How deep a body may nest. Deeper ones would break readers that recurse."""

MIN_INT64, MAX_UINT64 = -(2**63), 2**64 - 1

SMALL = 256
"""Up to how many bytes a body is walked item by item at once; of others, whole levels are
looked at first, which takes a tenth of the time and memory."""

_KINDS = frozenset((dict, list, str, int, float, bool, type(None)))

_PATH = re.compile(r" - at `(.*)`$")
_FIELD = re.compile(r"(?:missing required|unknown) field `([^`]*)`")


class BodyType:
    """The type of one topic's bodies: raw bytes of either codec → a checked body.

    Args:
        topic: the topic.
        type: a `Struct` that forbids unknown fields, or `Any` for what JSON can say.
            Unknown fields are accepted all the same, and pass through: the strict
            form is only how they are noticed.
    """

    def __init__(self, topic: str, type: Any) -> None:
        self.topic = topic
        self.type = type
        self._json = JSON.decoder(type).decode
        self._msgpack = MSGPACK.decoder(type).decode
        self._walk = type is Any or not _only_scalars(type)
        fields = () if type is Any else msgspec.structs.fields(type)
        self._names = [(field.encode_name, field.name) for field in fields]

    def decode(self, raw: bytes | Raw, codec: Codec) -> tuple[Any, bool]:
        """The body, and whether it had fields that its type does not know.

        Raises:
            Rejected: ``bad_body`` with ``detail.path``; ``bad_message`` for bad UTF-8.
        """
        try:
            body = self._json(raw) if codec is JSON else self._msgpack(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._decode_slowly(raw, codec)
        if self._walk:
            plain = body if self.type is Any else self._plain(body)
            if len(raw) <= SMALL or not is_json(plain):
                check_json(plain)
        return body, False

    def _plain(self, body: Struct) -> dict[str, Any]:
        """A Struct's fields by their names on the wire, without those that are unset."""
        named = [(on_wire, getattr(body, name)) for on_wire, name in self._names]
        return {on_wire: value for on_wire, value in named if value is not UNSET}

    def _decode_slowly(self, raw: bytes | Raw, codec: Codec) -> tuple[Any, bool]:
        """Tell unknown fields, which pass, from a body that does not fit."""
        try:
            generic = codec.decode_any(raw)
        except UnicodeDecodeError:
            raise Rejected("bad_message", "a string in the body is not UTF-8") from None
        except RecursionError:
            raise _bad_body("$", "the body is nested too deeply") from None
        except msgspec.DecodeError as error:
            raise _bad_body(path_of(error), str(error)) from None
        if not is_json(generic):
            check_json(generic)
        if not isinstance(generic, dict) or self.type is Any:
            raise _bad_body("$", f"expected an object, got {_json_name(generic)}")
        known = {on_wire for on_wire, _ in self._names}
        try:
            body = msgspec.convert({k: generic[k] for k in generic if k in known}, self.type)
        except msgspec.ValidationError as error:
            raise _bad_body(path_of(error), _PATH.sub("", explained(error, self.type))) from None
        return body, True


def is_json(value: Any) -> bool:
    """Whether `check_json` has nothing to say: quickly for much, which it is not.

    Level by level, each looked at as a whole. Some good values are not recognised, such as
    floats whose sum is infinite.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        kinds = set(map(type, level))
        if not kinds <= _KINDS:
            return False
        if int in kinds:
            ints = [x for x in level if type(x) is int]
            if min(ints) < MIN_INT64 or max(ints) > MAX_UINT64:
                return False
        if float in kinds and not isfinite(sum([x for x in level if type(x) is float])):
            return False
        below: list[Any] = []
        if list in kinds:
            below.extend(chain.from_iterable([x for x in level if type(x) is list]))
        if dict in kinds:
            dicts = [x for x in level if type(x) is dict]
            if not set(map(type, chain.from_iterable(dicts))) <= {str}:
                return False
            for each in dicts:
                below.extend(each.values())
        if not below:
            return True
        level = below
    return False


def check_json(value: Any) -> None:
    """Raise `Rejected` ``bad_body`` unless `value` is what JSON can say.

    No bytes or extension types, string keys, finite numbers, integers of at most
    64 bits, at most `MAX_DEPTH` levels.
    """
    # A place is its parent's place and its own name: the path is only spelled out for an
    # error, since the paths of all items could take far more memory than the body.
    stack: list[tuple[_Place, int, Any]] = [(None, 0, value)]
    while stack:
        place, depth, item = stack.pop()
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        if kind is int:
            if not MIN_INT64 <= item <= MAX_UINT64:
                raise _bad_body(_spelled(place), "an integer has at most 64 bits")
        elif kind is float:
            if item - item != 0:  # infinite, or not a number
                raise _bad_body(_spelled(place), "a number must be finite")
        elif kind is not dict and kind is not list:
            raise _bad_body(_spelled(place), f"JSON has no {_json_name(item)}")
        elif depth == MAX_DEPTH:
            why = f"the body is nested deeper than {MAX_DEPTH} levels"
            raise _bad_body(_spelled(place), why)
        elif kind is list:
            stack.extend(((place, i), depth + 1, x) for i, x in enumerate(item))
        else:
            for name, x in item.items():
                if type(name) is not str:
                    raise _bad_body(_spelled(place), "the keys of an object are strings")
                stack.append(((place, name), depth + 1, x))


_Place = tuple[Any, str | int] | None


def _spelled(place: _Place) -> str:
    """A place as a path, such as ``$.arguments.list[3]``; a long name is cut short."""
    steps: list[str] = []
    while place is not None:
        place, name = place
        steps.append(f"[{name}]" if isinstance(name, int) else "." + name[:40])
    return "$" + "".join(reversed(steps))


def _only_scalars(type: Any) -> bool:
    """Whether a decoder of this Struct alone admits nothing that JSON cannot say."""
    return not any(
        "Any" in repr(field.type) or "dict" in repr(field.type) or "float" in repr(field.type)
        for field in msgspec.structs.fields(type)
    )


def path_of(error: Exception) -> str:
    """Where a msgspec error points, such as ``$.arguments.x``."""
    text = str(error)
    found = _PATH.search(text)
    path = found.group(1) if found else "$"
    field = _FIELD.search(text)
    return f"{path}.{field.group(1)}" if field else path


def _bad_body(path: str, why: str) -> Rejected:
    return Rejected("bad_body", f"{path}: {why}", {"path": path})


def _json_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "bytes"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return names.get(type(value), type(value).__name__)
