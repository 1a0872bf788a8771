"""The turn machine: its limits, and what is told of long and of many turns."""

import msgspec
import pytest

from broker.plugin import Duplicate, Event, Sender
from plugins.agent import sessions, turns
from plugins.agent.messages import CHAT, PREFIX

from .turns_world import SENDERS, fields


def test_ended_turns_are_forgotten_and_open_ones_are_not():
    """A session that goes on for ever keeps its open turns, and a bounded rest."""
    session = sessions.Session()

    def take(kind, turn, more=None):
        topic = PREFIX + kind
        body = msgspec.convert(fields(kind, turn, more), CHAT[topic])
        event = Event.of(topic, "s", body, 0, SENDERS[0])
        turns.validate(session, event, lambda sender: False)
        turns.apply(session, event)

    take("turnStarted", "open")
    for n in range(1000):
        take("turnStarted", f"t{n}")
        take("turnCompleted", f"t{n}", "")
        take("userMessage", None, f"m{n}")
    take("token", "open", (0, 1, False))
    assert len(session.turns) < 400
    assert len(session.messages) < 400


def test_every_error_code_has_a_meaning():
    """What the machine answers is what the plugin registers; only a gap is worth a retry."""
    assert {code for code, info in turns.ERRORS.items() if info.retryable} == {"token_gap"}
    assert set(turns.ERRORS) == {"turn_not_started", "turn_closed", "turn_owned", "token_gap"}


def say(session, kind, **fields):
    body = CHAT[PREFIX + kind](sessionId="s", turnId="t", **fields)
    turns.apply(session, Event.of(PREFIX + kind, "s", body, 0, Sender("p", None, "c")))


def test_a_long_text_is_shown_in_pieces():
    """Each of some 32,000 characters, so that it holds up nothing else; together they are the
    whole, token for token."""
    words = [f"{n} " for n in range(40_000)]
    session = sessions.Session()
    say(session, "turnStarted", agentId="a")
    for index, word in enumerate(words):
        say(session, "token", agentId="a", token=word, tokenIndex=index, isLast=False)
    shown = [told.body for told in sessions.snapshot(session) if told.topic == PREFIX + "token"]
    assert len(shown) > 5
    assert max(len(body.token) for body in shown) < 40_000
    following = 0
    for body in shown:
        assert body.tokenIndex == following
        following += body.count
        assert body.token == "".join(words[body.tokenIndex : following])
        assert not body.isLast
    assert following == len(words)
    assert next(iter(session.turns.values())).text == "".join(words)
    again = sessions.Session()
    for told in sessions.essence(session, 0):
        turns.apply(again, told)
    assert [told.body for told in sessions.snapshot(again)] == [
        told.body for told in sessions.snapshot(session)
    ]


def test_two_turns_may_answer_one_message():
    """A worker that was slow to begin, and the one that had the message next: the first takes
    it up, both can be told, each by its own name."""
    session = sessions.Session()
    body = {"sessionId": "s", "messageId": "m", "text": "hi"}
    question = CHAT[PREFIX + "userMessage"](**body)
    turns.apply(session, Event.of(PREFIX + "userMessage", "s", question, 0, SENDERS[0]))
    for turn, sender in (("t", SENDERS[3]), ("u", SENDERS[4])):
        started = CHAT[PREFIX + "turnStarted"]("s", turn, "a", "m")
        event = Event.of(PREFIX + "turnStarted", "s", started, 0, sender)
        turns.validate(session, event, lambda sender: False)
        turns.apply(session, event)
        assert session.untaken is None
    assert [told.body.turnId for told in sessions.snapshot(session)] == ["t", "u"]


@pytest.mark.parametrize("ending", ["turnCompleted", "error"])
def test_a_turn_that_has_ended_outlives_its_beginning(ending):
    """Where the history has let go of that, a state that is folded again knows the turn, what it
    said, and its repeats."""
    session = sessions.Session()
    taken = []

    def take(kind, **fields):
        body = CHAT[PREFIX + kind](sessionId="s", turnId="t", agentId="a", **fields)
        event = Event.of(PREFIX + kind, "s", body, 0, SENDERS[0])
        event.position = len(taken) + 1
        turns.apply(session, event)
        taken.append(event)

    take("turnStarted")
    for index in range(8):
        take("token", token=f"{index} ", tokenIndex=index, isLast=False)
    if ending == "error":
        take("error", code="c", message="m", retryable=False)
    else:
        text = "".join(f"{index} " for index in range(8))
        counts = {"inputTokens": 0, "outputTokens": 8, "durationMs": 1}
        take("turnCompleted", fullText=text, toolCallsUsed=[], **counts)
    for floor in range(len(taken)):
        again = sessions.Session()
        for event in [*sessions.essence(session, floor), *taken[floor:]]:
            turns.apply(again, event)
        assert not again.open_turns()
        for since in (None, 3):
            told = [event.body for event in sessions.snapshot(again, since)]
            assert told == [event.body for event in sessions.snapshot(session, since)]
        for event in taken:
            with pytest.raises(Duplicate):
                turns.validate(again, event, lambda sender: False)
    assert not list(sessions.essence(session, len(taken))), "nothing of it is retained"
