"""The codec alone: every message there and back, and nothing else than messages in."""

import math
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from broker.bodies import MAX_DEPTH, SMALL, BodyType, check_json, is_json
from broker.codec import JSON, MSGPACK, Malformed, transcode
from broker.errors import ERRORS, Rejected
from broker.messages import Ack, Error, EventMessage, Ping, Publish
from plugins.agent.messages import Status, Token, ToolCallStarted

BOTH = [JSON, MSGPACK]
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("codec", BOTH, ids=repr)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(codec, data):
    """Random bytes are `Malformed`, messages, or not UTF-8; nothing else is raised."""
    try:
        decoded = codec.decode_client(data)
    except UnicodeDecodeError:
        assert codec is JSON
        return
    for message in decoded:
        assert not isinstance(message, Malformed) or message.error.code in ERRORS


@pytest.mark.parametrize("codec", BOTH, ids=repr)
@given(PLAIN)
def test_any_document_is_answered(codec, value):
    """Any value that JSON can say is taken apart without an exception."""
    for message in codec.decode_client(codec.encode_any(value)):
        assert isinstance(message, Malformed)


@pytest.mark.parametrize("codec", BOTH, ids=repr)
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 65_535, 65_536])
def test_packed_messages_are_one_array(codec, count):
    """However many messages are packed, they come out again in order."""
    packed = codec.pack([codec.encode(Ack(n)) for n in range(1, count + 1)], count)
    assert [m.id for m in codec.decode_broker(packed)] == list(range(1, count + 1))


@pytest.mark.parametrize("codec", BOTH, ids=repr)
def test_clients_pass_over_what_they_do_not_know(codec):
    """An unknown op of a newer broker is left out, its neighbours are not."""
    known = {"op": "ack", "id": 3, "future": 1}
    whole = codec.encode_any([{"op": "future"}, known, {"op": "ping"}])
    assert codec.decode_broker(whole) == [Ack(3), Ping()]


@pytest.mark.parametrize(("source", "target"), [(a, b) for a in BOTH for b in BOTH])
@given(PLAIN)
def test_a_body_means_the_same_in_both_encodings(source, target, value):
    """A body is checked, transcoded and read again without a change."""
    raw = Raw(source.encode_any(value))
    body, extended = BodyType("t", Any).decode(raw, source)
    assert (body, extended) == (value, False)
    assert target.decode_any(transcode(raw, source, target)) == value


@pytest.mark.parametrize("codec", BOTH, ids=repr)
@given(st.dictionaries(st.text(), PLAIN, max_size=3))
def test_unknown_fields_are_noticed_and_pass(codec, more):
    """A typed body with fields beside its own is accepted, and said to be extended."""
    fields = {"sessionId": "s", "turnId": "t", "agentId": "a", "token": "x", "isLast": False}
    whole = {**more, **fields, "tokenIndex": 4}
    whole.pop("tokenCount", None)
    body, extended = BodyType("t", Token).decode(Raw(codec.encode_any(whole)), codec)
    assert (body.tokenIndex, body.token) == (4, "x")
    assert extended == (set(whole) > {*fields, "tokenIndex"})


FIELDS = {
    "sessionId": "s", "turnId": "t", "agentId": "a", "token": "", "tokenIndex": 0, "isLast": True,
    "toolName": "n", "toolCallId": "c", "arguments": {}, "status": "busy",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [
        (Token, {"tokenIndex": "1"}, "$.tokenIndex"),
        (Token, {"tokenIndex": ...}, "$.tokenIndex"),
        (Token, {"tokenCount": None}, "$.tokenCount"),
        (Token, {"token": None, "more": 1}, "$.token"),
        (Token, {"more": 2**70}, "$.more"),
        (Token, {"more": [{"x": 2**65}]}, "$.more[0].x"),
        (ToolCallStarted, {"arguments": {"a": [1, -(2**64)]}}, "$.arguments.a[1]"),
        (Status, {"detail": None}, "$.detail"),
    ],
)
def test_the_path_of_a_bad_body(kind, change, path):
    """`detail.path` says where, whether a field is typed, inside one, or unknown."""
    known = {field.encode_name for field in msgspec.structs.fields(kind)} | {*change}
    whole = {**FIELDS, **change}
    raw = JSON.encode_any({k: v for k, v in whole.items() if k in known and v is not ...})
    with pytest.raises(Rejected) as refusal:
        BodyType("t", kind).decode(Raw(raw), JSON)
    assert (refusal.value.code, refusal.value.detail) == ("bad_body", {"path": path})


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, b"x", 2**64, {1: 2}, (1,)])
def test_what_json_cannot_say(value):
    """It is refused at any depth, with its path."""
    check_json([{}, "x"])
    assert not is_json({"a": [0, value]})
    with pytest.raises(Rejected) as refusal:
        check_json({"a": [0, value]})
    assert refusal.value.detail["path"].startswith("$.a[1]")


@pytest.mark.parametrize("codec", BOTH, ids=repr)
@pytest.mark.parametrize("padding", ["", "x" * SMALL], ids=["small", "large"])
@pytest.mark.parametrize("kind", [list, dict])
def test_how_deep_a_body_may_nest(codec, padding, kind):
    """The same bound for small and for large bodies, for arrays and objects."""

    def nested(levels):
        value = [padding]
        for _ in range(levels - 1):
            value = [value] if kind is list else {"a": value}
        return Raw(codec.encode_any(value))

    body_type = BodyType("t", Any)
    body_type.decode(nested(MAX_DEPTH), codec)
    with pytest.raises(Rejected) as refusal:
        body_type.decode(nested(MAX_DEPTH + 1), codec)
    assert "nested" in refusal.value.message


@pytest.mark.parametrize("item", [1, 1.5, "ab", True, None, [], {}, {"a": 1}], ids=repr)
@pytest.mark.parametrize("codec", BOTH, ids=repr)
def test_checking_a_body_costs_less_than_the_body(codec, item):
    """Its items are looked at together, not one by one: so checking takes less memory than
    what was decoded."""
    body_type = BodyType("t", Any)
    raw = Raw(codec.encode_any([item] * 50_000))
    tracemalloc.start()
    try:
        body, _ = body_type.decode(raw, codec)
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) == 50_000
    assert peak - size < 3 << 20


@given(PLAIN)
def test_what_json_can_say_is_seen_at_once(value):
    """The quick look and the walk agree; but for sums that no float holds."""
    check_json(value)
    assert is_json(value) or "1e" in repr(value) or "e+" in repr(value)


def test_publishes_keep_their_body_as_it_came():
    """The body of a publish is not decoded, not even its white space."""
    [message] = JSON.decode_client(b'{"op":"publish","topic":"a","body": {"x" : 1} }')
    assert isinstance(message, Publish)
    assert bytes(message.body).strip() == b'{"x" : 1}'


@pytest.mark.parametrize("codec", BOTH, ids=repr)
def test_a_large_array_is_decoded_bit_by_bit(codec):
    """What waits of it takes about its own size, and each of its operations stands alone."""
    count = 60_000
    data = codec.encode_any([{"op": "ping", "id": n + 1} for n in range(count)] + [{"op": "x"}])
    tracemalloc.start()
    try:
        messages = iter(codec.decode_client(data))
        first = [next(messages) for _ in range(100)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 1.5 * len(data)
    *rest, last = messages
    assert [message.id for message in first + rest] == list(range(1, count + 1))
    assert isinstance(last, Malformed)


@pytest.mark.parametrize("codec", BOTH, ids=repr)
def test_a_large_array_is_whole_or_nothing(codec):
    """One that is cut off is no document: none of its operations is handled."""
    data = codec.encode_any([{"op": "ping", "id": n + 1} for n in range(10_000)])
    [only] = codec.decode_client(data[:-1])
    assert isinstance(only, Malformed)
    [only] = codec.decode_client(codec.encode(Publish("a", Raw(codec.encode_any("x" * 100_000)))))
    assert isinstance(only, Publish)


@pytest.mark.parametrize("codec", BOTH, ids=repr)
def test_unset_fields_are_left_out(codec):
    """What is not there has no field: never a null."""
    assert codec.decode_any(codec.encode(Error("c", "m", False))) == {
        "op": "error", "code": "c", "message": "m", "retryable": False,
    }  # fmt: skip
    event = EventMessage("a", 5, Raw(codec.encode_any(1)))
    assert codec.decode_any(codec.encode(event)) == {
        "op": "event", "topic": "a", "time": 5, "body": 1,
    }  # fmt: skip


def test_a_long_name_is_not_repeated_for_each_item():
    """Checking a body takes memory by its size, not by its names times its items."""
    body = {"k" * 50_000: [1] * 50_000}
    tracemalloc.start()
    try:
        check_json(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20
    with pytest.raises(Rejected) as error:
        check_json({"k" * 50_000: [1, b""]})
    assert len(error.value.detail["path"]) < 100
