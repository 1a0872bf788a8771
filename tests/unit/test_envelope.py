"""Events as bytes: what is put together here is what the wire's own types say."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from broker import envelope
from broker.codec import JSON, MSGPACK
from broker.envelope import encode
from broker.event import Event, Sender
from broker.messages import EventMessage

WHO = Sender("anna", None, "c1")
EPOCH = "5f0c"
words = st.text(max_size=8) | st.sampled_from(['"', "\\", "a\u2028b", "é", "𝄞", "\x7f"])


@st.composite
def events(draw):
    body = {"text": draw(words)}
    codec = draw(st.sampled_from([JSON, MSGPACK]))
    topic = draw(st.sampled_from(["agent.chat.token", "workflow.a-b_c"]))
    raw, time = Raw(codec.encode_any(body)), draw(st.integers(0, 2**50))
    event = Event(topic, draw(words), None, raw, time, WHO, codec)
    event.position = draw(st.integers(1, 2**50))
    return event


@given(st.lists(events(), min_size=1, max_size=5))
def test_events_are_the_messages_that_the_protocol_describes(run):
    expected = [
        EventMessage(
            event.topic,
            event.time,
            Raw(JSON.encode_any(event.codec.decode_any(event.raw))),
            event.key or UNSET,
            f"{EPOCH}.{event.position}",
        )
        for event in run
    ]
    assert encode(run, JSON, EPOCH) == JSON.encode_all(expected)


def test_only_so_many_keys_are_remembered():
    for number in range(envelope.REMEMBERED + 9):
        event = Event("workflow.a", f"k{number}", None, Raw(b"1"), 5, WHO)
        event.position = number + 1
        assert encode([event], JSON, EPOCH).startswith(b'{"op":"event","topic":"workflow.a"')
    assert 0 < len(envelope._QUOTED) <= envelope.REMEMBERED


def test_long_keys_are_not_remembered():
    event = Event("workflow.a", "\x01" * 255, None, Raw(b"1"), 5, WHO)
    event.position = 1
    assert JSON.decode_any(encode([event], JSON, EPOCH))["key"] == event.key
    assert event.key not in envelope._QUOTED
