"""Bytes ↔ messages, for JSON and MessagePack. Nothing else encodes or decodes.

A codec is one WebSocket subprotocol. It turns one WebSocket message into
operations (each object of an array stands alone: a bad one is `Malformed`, the
others go on), and messages into bytes that can be packed together into one.
A body travels as the raw bytes that it came in; `bodies` checks it.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from broker.choices import explained
from broker.errors import Rejected
from broker.messages import (
    BROKER_OPS,
    CLIENT_OPS,
    MAX_INT,
    BrokerMessage,
    ClientMessage,
)

LARGE = 64 << 10
"""Of a message longer than this, each operation is decoded when its turn comes, in bytes."""


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

    def encode_all(self, messages: Sequence[ClientMessage | BrokerMessage]) -> bytes:
        """Several messages at once, as they stand in an array, between its ends."""
        array: bytes = self.encode_any(messages)
        return array[len(_array_head(len(messages))) :] if self.binary else array[1:-1]

    def pack(self, items: Sequence[bytes], count: int) -> bytes:
        """`count` encoded messages as one array; a single one stays as it is.

        An item is one message, or several that were encoded together.
        """
        if count == 1:
            return items[0]
        if not self.binary:
            return b"[" + b",".join(items) + b"]"
        return _array_head(count) + b"".join(items)

    def decode_client(self, data: bytes) -> Iterable[ClientMessage | Malformed]:
        """The operations of one WebSocket message, each good or `Malformed`.

        Raises:
            UnicodeDecodeError: a text message is not UTF-8 (close 1007).
        """
        if not self.binary and not data.isascii():
            data.decode()  # msgspec leaves raw and skipped parts unchecked
        if len(data) > LARGE:
            return self._decode_each(data)
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
        """One by one: because the message is large, or to find out which is bad, and why."""
        try:
            raws = self._each(data)
        except msgspec.ValidationError:
            return [self._decode_one(data)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [Malformed(Rejected("bad_message", _why_undecodable(error)))]
        # A `Raw` may be several times what it stands for, and keeps the whole message.
        sizes = array("I", [len(raw) for raw in raws])
        return map(self._decode_one, _cut(b"".join(raws), sizes))

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
        if isinstance(error, msgspec.ValidationError):
            why = explained(error, CLIENT_OPS[op] if isinstance(op, str) else ClientMessage)
        else:
            why = _why_undecodable(error)
        return Malformed(Rejected("bad_message", where + why), named)


JSON: Final = Codec("edgestream.v1.json", msgspec.json, binary=False)
MSGPACK: Final = Codec("edgestream.v1.msgpack", msgspec.msgpack, binary=True)
CODECS = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}


def _array_head(count: int) -> bytes:
    """How a MessagePack array of `count` items begins."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 65_536:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def _cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """`data` in pieces of so many bytes."""
    stop = 0
    for size in sizes:
        start, stop = stop, stop + size
        yield data[start:stop]


def _why_undecodable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the message is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "a string in the message is not UTF-8"
    return f"the message is not one valid document: {error}"


def transcode(raw: Raw, source: Codec, target: Codec) -> Raw:
    """A checked body of one encoding, in another."""
    return Raw(target.encode_any(source.decode_any(raw)))
