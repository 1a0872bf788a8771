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


ANNA, BORIS = Sender("p", "anna", "c1"), Sender("p", None, "c2")


def token(index, sender=ANNA, turn="t", **more):
    fields = {"token": f"{index} ", "tokenIndex": index, "isLast": index == 5, **more}
    body = CHAT[PREFIX + "token"](sessionId="s", turnId=turn, agentId="a", **fields)
    return Event.of(PREFIX + "token", "s", body, 100 + index, sender)


def begun():
    """A session with two turns, one of them with two tokens."""
    session = sessions.Session()
    for turn in ("t", "other"):
        started = CHAT[PREFIX + "turnStarted"](sessionId="s", turnId=turn, agentId="a")
        turns.apply(session, Event.of(PREFIX + "turnStarted", "s", started, 0, ANNA))
    for index in (0, 1):
        assert turns.add_next_token(session, token(index))
    return session


def come_to(session):
    turns = session.turns.values()
    return [(list(t.shown_text()), t.next_index, t.is_last, t.seen, t.owner) for t in turns]


def test_the_text_of_a_run_is_cut_where_that_of_single_tokens_is():
    """However much comes at once, what is told of it later is in pieces that are not long."""
    run = [token(index, token="x" * 150) for index in range(2, 4002)]
    one, all = begun(), begun()
    for at in range(0, len(run), 32):
        assert turns.follow_tokens(all, run[at : at + 32])
    for event in run:
        assert turns.add_next_token(one, event)
    assert come_to(all) == come_to(one)


@pytest.mark.parametrize("sender", [ANNA, Sender("p", "anna", "c9")])
@pytest.mark.parametrize("count", [1, 3, 4, 40])
def test_the_tokens_of_a_run_follow_at_once(count, sender):
    """As if they had come one by one; also after their publisher has come back."""
    run = [token(index, sender) for index in range(2, 2 + count)]
    one, all = begun(), begun()
    assert turns.follow_tokens(all, run)
    for event in run:
        assert turns.add_next_token(one, event)
    assert come_to(all) == come_to(one)


@pytest.mark.parametrize(
    "run",
    [
        [token(2, turn="new")],
        [token(3), token(4)],
        [token(2), token(0, turn="other")],
        [token(2), token(0, turn="other"), token(3), token(4)],
        [token(2), token(0, turn="other"), token(1, turn="other"), token(3)],
        [token(2), token(3, tokenCount=2)],
        [token(2, tokenCount=2), token(4)],
        [token(2), token(3, BORIS)],
        [token(2, BORIS), token(3, BORIS)],
    ],
)
def test_what_is_no_plain_run_is_left_to_the_rules(run):
    """And nothing has changed."""
    session = begun()
    before = come_to(session)
    assert not turns.follow_tokens(session, run)
    assert come_to(session) == before


def test_no_token_follows_at_once_where_a_turn_has_ended():
    """Nor is anything else a token."""
    session = begun()
    body = CHAT[PREFIX + "error"](sessionId="s", turnId="t", code="c", message="m", retryable=False)
    ended = Event.of(PREFIX + "error", "s", body, 0, ANNA)
    assert not turns.follow_tokens(session, [ended])
    turns.apply(session, ended)
    assert not turns.follow_tokens(session, [token(2)])


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
