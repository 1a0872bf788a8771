"""A namespace on an engine that commits later: its head, what is committed, what fails."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.agent.chat import ChatPlugin
from plugins.agent.options import ChatOptions

from .fakes import FakeClock, FakePublisher, LateEngine, Timers, namespace, publish, say

TURN = {"sessionId": "s", "turnId": "t", "agentId": "a"}
START = publish("agent.chat.turnStarted", TURN)


def token(index, id=0):
    body = {**TURN, "token": f"{index} ", "tokenIndex": index, "isLast": False}
    return publish("agent.chat.token", body, id)


def chat(engine=None):
    plugin = ChatPlugin("agent.chat", ChatOptions())
    return namespace(plugin, engine or LateEngine())


def told(target):
    """The snapshot of the session, in words."""
    return [
        (e.topic.rpartition(".")[2], getattr(e.body, "token", ""))
        for e in target.retained.snapshot("s", None)
    ]


def test_pipelined_tokens_are_checked_before_anything_is_committed():
    """Token 1 may follow token 0 that is not stored yet; acks wait for the commit."""
    target, publisher = chat(), FakePublisher()
    say(target, publisher, START)
    say(target, publisher, token(0, 1), token(1, 2))
    say(target, publisher, token(2, 3))
    assert publisher.errors == []
    assert publisher.acked == 0
    target.engine.commit(2)
    assert publisher.acked == 2
    target.engine.commit()
    assert publisher.acked == 3


def test_a_snapshot_shows_what_is_committed_alone():
    """Readers never see what an engine may still lose."""
    target, publisher = chat(), FakePublisher()
    say(target, publisher, START)
    say(target, publisher, token(0, 1))
    assert told(target) == []
    target.engine.commit()
    assert told(target) == [("turnStarted", "")]
    target.engine.commit()
    assert told(target) == [("turnStarted", ""), ("token", "0 ")]


def test_a_failed_append_discards_the_head():
    """It and all behind it are refused by their ids; the publisher goes on from before."""
    target, publisher = chat(), FakePublisher()
    say(target, publisher, START)
    say(target, publisher, token(0, 1))
    target.engine.commit(2)
    say(target, publisher, token(1, 2), token(2, 3))
    say(target, publisher, token(3, 4))
    target.engine.fail()
    assert publisher.errors == [(2, "internal"), (3, "internal"), (4, "internal")]
    assert told(target) == [("turnStarted", ""), ("token", "0 ")]
    say(target, publisher, token(4, 5))
    assert publisher.errors[-1] == (5, "token_gap")
    say(target, publisher, token(1, 6))
    target.engine.commit(9)
    assert publisher.acked == 6
    assert len(publisher.errors) == 4
    assert told(target) == [("turnStarted", ""), ("token", "0 1 ")]


def test_a_failed_first_append_leaves_no_turn():
    """What began with a failed batch was never there."""
    target, publisher = chat(), FakePublisher()
    say(target, publisher, START)
    target.engine.fail()
    say(target, publisher, token(0, 1))
    assert publisher.errors[-1] == (1, "turn_not_started")


def test_a_repeat_of_what_is_not_committed_waits_for_it():
    """A duplicate is acknowledged no sooner than its first is stored, and fails with it."""
    target, publisher, other = chat(), FakePublisher(), FakePublisher("c2")
    say(target, publisher, START)
    target.engine.commit()
    say(target, publisher, token(0, 1))
    say(target, other, token(0, 1))
    assert other.acked == 0
    target.engine.commit(9)
    assert (publisher.acked, other.acked) == (1, 1)
    assert other.errors == []
    say(target, publisher, token(1, 2))
    say(target, other, token(1, 2))
    target.engine.fail()
    assert (publisher.errors, other.errors) == ([(2, "internal")], [(2, "internal")])


def test_a_dedupe_name_on_its_way_is_taken():
    """The same name again is dropped also while the first is not committed."""
    target, publisher = namespace(engine=LateEngine()), FakePublisher()
    say(target, publisher, publish("workflow.a", 1, 1, dedupe="n"))
    say(target, publisher, publish("workflow.a", 2, 2, dedupe="n"))
    target.engine.commit(9)
    assert [msgspec.json.decode(e.raw) for e in target.engine.read("", 0, 9)] == [1]
    assert publisher.acked == 2


def test_a_dedupe_name_is_free_after_a_failure():
    """What was not stored has no name."""
    target, publisher = namespace(engine=LateEngine()), FakePublisher()
    say(target, publisher, publish("workflow.a", 1, 1, dedupe="n"))
    target.engine.fail()
    say(target, publisher, publish("workflow.a", 2, 2, dedupe="n"))
    target.engine.commit(9)
    assert [msgspec.json.decode(e.raw) for e in target.engine.read("", 0, 9)] == [2]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(["say", "say", "commit", "fail"]), max_size=40))
def test_whatever_fails_the_text_has_no_gap(steps):
    """A publisher that rewinds to `detail.expected` gets its whole text in, once."""
    target, publisher = chat(), FakePublisher()
    say(target, publisher, START)
    target.engine.commit()
    following, id = 0, 0
    for step in steps:
        if step == "say":
            id += 1
            say(target, publisher, token(following, id))
            following += 1
        elif step == "commit":
            target.engine.commit()
        else:
            lost = sum(len(batch.events) for batch in target.engine.waiting)
            target.engine.fail()
            following -= lost
    target.engine.commit(99)
    assert {code for _, code in publisher.errors} <= {"internal"}
    text = "".join(f"{n} " for n in range(following))
    assert "".join(word for _, word in told(target)) == text


def test_streams_over_the_bound_are_forgotten_one_by_one():
    """Ever new keys, in one batch or many: each is accepted, and the oldest go."""
    target, publisher = namespace(history={"streams": 2}), FakePublisher()
    say(target, publisher, *[publish("workflow.a", n, n, key=f"k{n}") for n in range(1, 9)])
    assert publisher.acked == 8
    assert publisher.errors == []
    assert len(target.streams) <= 2


def test_a_plugin_that_fails_fails_one_message():
    """Any other exception than Rejected is answered as `internal`, and the rest goes on."""

    class Broken(ChatPlugin):
        def accept(self, head, event):
            if event.body.turnId == "bad":
                raise ZeroDivisionError
            super().accept(head, event)

    target, publisher = namespace(Broken("agent.chat", ChatOptions())), FakePublisher()
    bad = publish("agent.chat.turnStarted", {**TURN, "turnId": "bad"}, 1)
    say(target, publisher, bad, publish("agent.chat.turnStarted", TURN, 2))
    assert publisher.errors == [(1, "internal")]
    assert publisher.acked == 2


def test_a_full_engine_makes_publishers_wait():
    """What came waits in its queue, is no work for the loop, and is handled in the end."""
    target, publisher = namespace(engine=LateEngine()), FakePublisher()
    target.engine.full = True
    say(target, publisher, publish("workflow.a", 1, 1))
    assert not target.busy
    assert not target.settled
    assert not target.engine.waiting
    target.engine.full = False
    assert target.busy
    target.run(float("inf"))
    assert not target.settled
    target.engine.commit()
    assert target.settled
    assert publisher.acked == 1


def test_what_the_broker_cannot_say_it_says_again():
    """A turn that is over while nothing can be stored ends once something can."""
    timers = Timers()
    plugin = ChatPlugin("agent.chat", ChatOptions(grace=5))
    target, publisher = namespace(plugin, LateEngine(), timers), FakePublisher()
    target.leases.join(publisher)
    say(target, publisher, START)
    target.engine.commit()
    target.leases.leave(publisher)
    target.engine.failure = "the disk is full"
    timers.pass_(60)
    assert timers.waiting <= 2  # and the loop is left alone meanwhile
    target.engine.failure = None
    timers.pass_(1)
    target.engine.commit()
    assert [topic for topic, _ in told(target)][-1] == "error"
    timers.pass_(1000)
    assert not target.engine.waiting
    assert not timers.waiting


def test_a_late_commit_forgets_nobody():
    """Between the commits of an owner's two turns, it is known that a turn waits for it."""
    timers = Timers()
    plugin = ChatPlugin("agent.chat", ChatOptions(grace=5))
    target, owner = namespace(plugin, LateEngine(), timers), FakePublisher()
    target.leases.join(owner)
    timers.pass_(100)
    end = {"sessionId": "s", "turnId": "t", "code": "x", "message": "", "retryable": False}
    say(target, owner, START)
    say(target, owner, publish("agent.chat.error", end))
    say(target, owner, publish("agent.chat.turnStarted", {**TURN, "turnId": "u"}))
    target.engine.commit(2)
    target.leases.leave(owner)
    target.engine.commit()
    timers.pass_(4.9)
    assert not target.engine.waiting
    timers.pass_(0.2)
    assert target.engine.waiting


def test_a_failure_ends_no_turn_that_is_longer_than_the_history():
    """What the head was folded from may be gone: it goes on from what is committed."""
    target, publisher = chat(), FakePublisher()
    say(target, publisher, START)
    for n in range(3):
        say(target, publisher, token(n))
    target.engine.commit(9)
    del target.engine.events["s"][:2]
    say(target, publisher, token(3, 1))
    target.engine.fail()
    assert publisher.errors == [(1, "internal")]
    say(target, publisher, token(3, 2))
    target.engine.commit(9)
    assert publisher.acked == 2
    assert told(target) == [("turnStarted", ""), ("token", "0 1 2 3 ")]


def test_a_turn_without_its_beginning_is_left_out():
    """Where nobody knows the turnStarted any more, the rest folds to nothing."""
    target, publisher = chat(), FakePublisher()
    say(target, publisher, START)
    say(target, publisher, token(0))
    target.engine.commit(2)
    [_, *rest] = target.engine.events["s"]
    again = chat()
    again.engine.restore = lambda fold: fold(rest)
    again.restore()
    assert told(again) == []


@pytest.mark.parametrize("more", [[], [publish("agent.chat.cancel", TURN)]])
def test_a_clock_that_was_ahead_makes_no_turn_longer(more):
    """Before the restart, the machine's clock was a day ahead: what is stored is from the
    future. Its turns end in time all the same, stalled or cancelled, while their owner is there."""
    engine, owner = LateEngine(), FakePublisher()
    target = chat(engine)
    say(target, owner, START, *more)
    engine.commit()
    timers = Timers(FakeClock(now=1000.0 - 86_400))
    target = namespace(ChatPlugin("agent.chat", ChatOptions()), engine, timers)
    target.restore()
    target.leases.join(owner)
    timers.pass_(121)
    engine.commit()
    assert told(target)[-1][0] == ("turnCompleted" if more else "error")
