"""How much a collection of garbage has to look at: it stops the loop for as long as that takes."""

import gc

from plugins.agent.chat import ChatPlugin
from plugins.agent.options import ChatOptions

from .fakes import FakePublisher, Timers, namespace, publish, say

SESSIONS = 50
ROW = 16


def tracked():
    """How many objects a full collection looks at."""
    gc.collect()
    return len(gc.get_objects())


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
