"""How much a collection of garbage has to look at: it stops the loop for as long as that takes."""

import gc

import pytest

from broker import event
from broker.garbage import AGE, GONE, PAUSE, Garbage
from plugins.agent.chat import ChatPlugin
from plugins.agent.options import ChatOptions

from .fakes import FakeClock, FakePublisher, Timers, namespace, publish, say

SESSIONS = 50
ROW = 16


def tracked():
    """How many objects a full collection looks at."""
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.skipif(event.__file__.endswith(".py"), reason="a plain object is looked at")
def test_it_looks_at_sessions_and_not_at_tokens():
    """Open sessions are a few objects each, however much is retained of what they have said.

    10,000 of them with a hundred tokens each would be a million events, bodies and rows.
    """
    target = namespace(ChatPlugin("agent.chat", ChatOptions()), None, Timers())
    publisher = FakePublisher()

    def everyone_says(what, **body):
        for number in range(SESSIONS):
            turn = {"sessionId": f"s{number}", "turnId": f"t{number}", "agentId": "a"}
            say(target, publisher, publish("agent.chat." + what, {**turn, **body}))

    before = tracked()
    everyone_says("turnStarted")
    for index in range(ROW):
        everyone_says("token", token=" word", tokenIndex=index, isLast=False)
    begun = tracked()
    for index in range(ROW, 8 * ROW):
        everyone_says("token", token=" word", tokenIndex=index, isLast=False)
    said = tracked()
    assert target.engine.figures().events == SESSIONS * (1 + 8 * ROW)
    assert begun - before < 15 * SESSIONS
    assert said - begun < SESSIONS


def test_all_is_looked_at_after_connections_have_gone():
    """After many, after one and a long time; not because time has passed, or twice."""
    clock = FakeClock()
    timers = Timers(clock)
    gone = 0
    looks = []
    before = gc.get_threshold()
    garbage = Garbage(lambda: gone, clock.seconds, timers, lambda: looks.append(gone))
    garbage.start()
    try:
        assert looks == [0]
        assert gc.get_threshold()[2] > 1 << 20
        timers.pass_(2 * AGE)
        assert looks == [0]
        gone += GONE - 1
        timers.pass_(PAUSE)
        assert looks == [0, GONE - 1]  # it has been a while
        gone += GONE - 1
        timers.pass_(AGE / 2)
        assert len(looks) == 2
        gone += 1
        timers.pass_(PAUSE)
        assert len(looks) == 3
        gone += 1
        timers.pass_(AGE / 2)
        assert len(looks) == 3
        timers.pass_(AGE)
        assert len(looks) == 4
    finally:
        garbage.stop()
        gc.unfreeze()
    assert gc.get_threshold() == before
    gone += GONE
    timers.pass_(PAUSE)
    assert len(looks) == 4
