"""Bytes ↔ messages, for JSON and MessagePack. Nothing else encodes or decodes.

A codec is one WebSocket subprotocol. It turns one WebSocket message into
operations (each object of an array stands alone: a bad one is `Malformed`, the
others go on), and messages into bytes that can be packed together into one.
A body travels as the raw bytes that it came in; `BodyType` checks it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from broker.errors import Rejected
from broker.messages import (
    BROKER_OPS,
    CLIENT_OPS,
    MAX_INT,
    BrokerMessage,
    ClientMessage,
)

MAX_DEPTH = 100
"""How deep a body may nest. Deeper ones would break readers that recurse."""

MIN_INT64, MAX_UINT64 = -(2**63), 2**64 - 1

_PATH = re.compile(r" - at `(.*)`$")
_FIELD = re.compile(r"(?:missing required|unknown) field `([^`]*)`")


class Malformed(Struct):
    """An object that is no operation: what to answer, and to which id."""

    error: Rejected
    id: int | UnsetType = UNSET


class Codec:
    """One encoding of the protocol. Use the two instances, `JSON` and `MSGPACK`.

    Attributes:
        subprotocol: its name in the WebSocket handshake.
        binary: whether its messages travel in binary frames.
    """

    def __init__(self, subprotocol: str, library: Any, *, binary: bool) -> None:
        self.subprotocol = subprotocol
        self.binary = binary
        self.encode_any = library.Encoder().encode
        self.decode_any = library.Decoder().decode
        self.decoder = library.Decoder
        self._one_or_more = library.Decoder(ClientMessage | list[ClientMessage]).decode
        self._one = library.Decoder(ClientMessage).decode
        self._each = library.Decoder(list[Raw]).decode
        self._fields = library.Decoder(dict[str, Raw]).decode
        self._from_broker = library.Decoder(BrokerMessage | list[Raw]).decode
        self._one_from_broker = library.Decoder(BrokerMessage).decode

    def __repr__(self) -> str:
        return f"<Codec {self.subprotocol}>"

    def encode(self, message: ClientMessage | BrokerMessage) -> bytes:
        """One message as bytes; to be sent alone, or packed with others."""
        encoded: bytes = self.encode_any(message)
        return encoded

    def pack(self, items: Sequence[bytes]) -> bytes:
        """Several encoded messages as one array; a single one stays as it is."""
        if len(items) == 1:
            return items[0]
        if not self.binary:
            return b"[" + b",".join(items) + b"]"
        count = len(items)
        if count < 16:
            head = bytes((0x90 | count,))
        elif count < 65_536:
            head = b"\xdc" + count.to_bytes(2, "big")
        else:
            head = b"\xdd" + count.to_bytes(4, "big")
        return head + b"".join(items)

    def decode_client(self, data: bytes) -> Iterable[ClientMessage | Malformed]:
        """The operations of one WebSocket message, each good or `Malformed`.

        Raises:
            UnicodeDecodeError: a text message is not UTF-8 (close 1007).
        """
        if not self.binary:
            data.decode()  # msgspec leaves raw and skipped parts unchecked
        try:
            decoded = self._one_or_more(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._decode_each(data)
        return decoded if type(decoded) is list else (decoded,)

    def decode_broker(self, data: bytes | str) -> list[BrokerMessage]:
        """The messages of one WebSocket message from a broker; unknown ops are left out.

        Raises:
            msgspec.DecodeError: this is not the protocol.
        """
        raw = data.encode() if isinstance(data, str) else data
        try:
            decoded = self._from_broker(raw)
            if type(decoded) is not list:
                return [decoded]
            return [self._one_from_broker(item) for item in decoded]
        except msgspec.ValidationError:
            return list(self._known(raw))

    def _known(self, raw: bytes) -> Iterable[BrokerMessage]:
        generic = self.decode_any(raw)
        for item in generic if isinstance(generic, list) else [generic]:
            if not isinstance(item, dict) or item.get("op") in BROKER_OPS:
                yield msgspec.convert(item, BrokerMessage)

    def _decode_each(self, data: bytes) -> Iterable[ClientMessage | Malformed]:
        """The slow way, once the fast one failed: find out which object is bad, and why."""
        try:
            raws = self._each(data)
        except msgspec.ValidationError:
            return [self._decode_one(data)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [Malformed(Rejected("bad_message", _why_undecodable(error)))]
        return map(self._decode_one, raws)

    def _decode_one(self, raw: bytes | Raw) -> ClientMessage | Malformed:
        try:
            message: ClientMessage = self._one(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._malformed(raw, error)
        return message

    def _malformed(self, raw: bytes | Raw, error: Exception) -> Malformed:
        """What to answer to an object that did not decode, and to which id."""
        op = id = None
        try:
            fields = self._fields(raw)
            op = self.decode_any(fields["op"]) if "op" in fields else None
            id = self.decode_any(fields["id"]) if "id" in fields else None
        except msgspec.ValidationError:
            return Malformed(Rejected("bad_message", "an operation is an object"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as worse:
            return Malformed(Rejected("bad_message", _why_undecodable(worse)))
        named = id if type(id) is int and 0 < id <= MAX_INT else UNSET
        if isinstance(op, str) and op not in CLIENT_OPS:
            return Malformed(Rejected("unknown_op", f"there is no operation {op[:40]!r}"), named)
        where = f"{op}: " if isinstance(op, str) else ""
        why = str(error) if isinstance(error, msgspec.ValidationError) else _why_undecodable(error)
        return Malformed(Rejected("bad_message", where + why), named)


JSON = Codec("edgestream.v1.json", msgspec.json, binary=False)
MSGPACK = Codec("edgestream.v1.msgpack", msgspec.msgpack, binary=True)
CODECS = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}


def _why_undecodable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the message is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "a string in the message is not UTF-8"
    return f"the message is not one valid document: {error}"


class BodyType:
    """The type of one topic's bodies: raw bytes of either codec → a checked body.

    Args:
        type: a `Struct` that forbids unknown fields, or `Any` for what JSON can say.
            Unknown fields are accepted all the same, and pass through: the strict
            form is only how they are noticed.
    """

    def __init__(self, type: Any) -> None:
        self.type = type
        self._decode = {codec: codec.decoder(type).decode for codec in (JSON, MSGPACK)}
        self._walk = type is Any or not _only_scalars(type)

    def decode(self, raw: bytes | Raw, codec: Codec) -> tuple[Any, bool]:
        """The body, and whether it had fields that its type does not know.

        Raises:
            Rejected: ``bad_body`` with ``detail.path``; ``bad_message`` for bad UTF-8.
        """
        try:
            body = self._decode[codec](raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._decode_slowly(raw, codec)
        if self._walk:
            check_json(body if self.type is Any else _fields(body))
        return body, False

    def _decode_slowly(self, raw: bytes | Raw, codec: Codec) -> tuple[Any, bool]:
        """Tell unknown fields, which pass, from a body that does not fit."""
        try:
            generic = codec.decode_any(raw)
        except UnicodeDecodeError:
            raise Rejected("bad_message", "a string in the body is not UTF-8") from None
        except RecursionError:
            raise _bad_body("$", "the body is nested too deeply") from None
        except msgspec.DecodeError as error:
            raise _bad_body(_path(error), str(error)) from None
        check_json(generic)
        if not isinstance(generic, dict) or self.type is Any:
            raise _bad_body("$", f"expected an object, got {_json_name(generic)}")
        known = {field.encode_name for field in msgspec.structs.fields(self.type)}
        try:
            body = msgspec.convert({k: generic[k] for k in generic if k in known}, self.type)
        except msgspec.ValidationError as error:
            raise _bad_body(_path(error), _PATH.sub("", str(error))) from None
        return body, True


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


def _fields(body: Struct) -> dict[str, Any]:
    """A Struct's fields by their names on the wire, without those that are unset."""
    named = ((f.encode_name, getattr(body, f.name)) for f in msgspec.structs.fields(body))
    return {name: value for name, value in named if value is not UNSET}


def _only_scalars(type: Any) -> bool:
    """Whether a decoder of this Struct alone admits nothing that JSON cannot say."""
    return not any(
        "Any" in repr(field.type) or "dict" in repr(field.type) or "float" in repr(field.type)
        for field in msgspec.structs.fields(type)
    )


def _path(error: Exception) -> str:
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


def transcode(raw: Raw, source: Codec, target: Codec) -> Raw:
    """A checked body of one encoding, in another."""
    return Raw(target.encode_any(source.decode_any(raw)))
