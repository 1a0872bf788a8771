"""The generator's WebSocket frames and parts of messages, alone."""

import json

import msgspec
import pytest

from bench.frames import PING, TEXT, FrameError, Headers, Reader
from bench.ledger import Ledger
from bench.wire import Body, Edgestream, text


def server_frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    first = (0x80 if final else 0) | opcode
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    return bytes((first, 126)) + len(payload).to_bytes(2, "big") + payload


STREAM = (
    server_frame(b"a")
    + server_frame(b"b" * 300, final=False)
    + server_frame(b"", PING)
    + server_frame(b"c", 0)
    + server_frame(b"d" * 60_000)
)
MESSAGES = [(TEXT, b"a"), (PING, b""), (TEXT, b"b" * 300 + b"c"), (TEXT, b"d" * 60_000)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 299, 300, 100_000])
def test_reads_may_split_frames_anywhere(size: int) -> None:
    """The same messages come out whichever way the bytes come in."""
    reader = Reader()
    found = []
    for start in range(0, len(STREAM), size):
        found += reader.feed(STREAM[start : start + size])

    assert found == MESSAGES
    assert reader.rest == b""


def test_a_masked_frame_is_refused() -> None:
    """A server must not mask."""
    with pytest.raises(FrameError):
        list(Reader().feed(Headers(TEXT).frame(b"x")))


@pytest.mark.parametrize("length", [0, 125, 126, 1023, 1024, 65_535, 65_536])
def test_a_clients_header_tells_the_length(length: int) -> None:
    """Every form of the length, with the mask of zeros before the payload."""
    frame = Headers(TEXT).frame(b"x" * length)
    form = frame[1] & 0x7F
    width = {126: 2, 127: 8}.get(form, 0)
    told = int.from_bytes(frame[2 : 2 + width], "big") if width else form

    assert told == length
    assert frame[2 + width :] == bytes(4) + b"x" * length


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_the_parts_of_a_publish_make_one(codec: str) -> None:
    """Joined parts decode to the operation that the protocol describes."""
    wire = Edgestream(codec, 3)  # type: ignore[arg-type]
    wire.prepare(10)
    decode = json.loads if codec == "json" else msgspec.msgpack.decode

    plain = wire.start_without_id + wire.sessions[2] + wire.tokens[7]
    numbered = wire.start(9) + wire.sessions[2] + wire.tokens[7]
    body = {
        "sessionId": "s000002",
        "turnId": "t2",
        "agentId": "bench",
        "token": text(7, 1),
        "tokenIndex": 7,
        "isLast": False,
    }
    publish = {"op": "publish", "topic": "agent.chat.token", "body": body}

    assert decode(plain) == publish
    assert decode(wire.pack([numbered, plain])) == [publish | {"id": 9}, publish]
    assert wire.mark(2) + wire.evidence[7] in plain


def test_a_merged_event_counts_as_its_tokens() -> None:
    """`tokenCount` tokens came at once, with their text joined."""
    ledger = Ledger(1)
    ledger.sent[0] = 10
    ledger.stamps[0] = [0] * 10

    ledger.take(0, "s", Body("s", text(0, 4), 0, False, 4), 5)
    ledger.take(0, "s", Body("s", text(4, 5), 4, True, 6), 5)
    ledger.reconcile()

    assert ledger.problems == []
    assert (ledger.received, ledger.merged) == (10, 10)


def test_what_is_missing_in_the_end_is_a_problem() -> None:
    """The last token of a session has no successor that would tell of its loss."""
    ledger = Ledger(1)
    ledger.sent[0] = 2
    ledger.stamps[0] = [0, 0]

    ledger.take(0, "s", Body("s", text(0, 1), 0, False, 1), 5)
    ledger.reconcile()

    assert ledger.problems
