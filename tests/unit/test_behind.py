"""Readers that are behind, and what they may cost the others: memory, and turns of the loop."""

from broker.contents import History
from broker.queue import STRICT_BYTES

from .fakes import CountingEngine, FakePublisher, Reader, namespace, publish, say


def test_nothing_is_kept_for_who_is_closed():
    """After 4108 the socket may take seconds to end: what comes meanwhile is not held for it."""
    reader = Reader()
    reader.subscribe("workflow.a", None, coalesce=False)
    reader.wire.writable = False
    for _ in range(100):
        say(reader.source, FakePublisher(), publish("workflow.a", "x" * 20_000))
    assert set(reader.wire.closed) == {4108}
    assert reader.queue._size < STRICT_BYTES + 40_000


def test_what_others_said_is_not_read_through_in_one_turn():
    """A reader of little that is behind does not hold the loop while it looks for it."""
    counting = CountingEngine()
    source = namespace(engine=counting, queue={"messages": 200_000})
    reader = Reader(source)
    reader.subscribe("workflow.rare", None)
    reader.wire.writable = False
    for _ in range(10):
        say(source, FakePublisher(), publish("workflow.rare", "x" * 9000, key="k"))
    publisher = FakePublisher()
    for _ in range(100):
        say(source, publisher, *[publish("workflow.often", n, key="k") for n in range(1000)])
    say(source, publisher, publish("workflow.rare", "last", key="k"))
    reader.wire.writable = True
    reader.outbox.touch()
    turns = []
    while reader.touched:
        before = counting.read_again
        reader.flush()
        turns.append(counting.read_again - before)
    assert reader.wire.messages[-1]["body"] == "last"
    assert max(turns) <= 10_000


def test_a_history_that_is_let_go_while_it_is_told_closes():
    """Going on with what is left would be a gap that nobody is told of: it is 4108, to resume."""
    source = namespace(history={"events": 2000})
    publisher = FakePublisher()
    numbers = iter(range(10_000))

    def publish_some(count):
        say(source, publisher, *[publish("workflow.a", next(numbers), key="k")
                                 for _ in range(count)])  # fmt: skip

    publish_some(1900)
    reader = Reader(source)
    wish = reader.subscribe("workflow.a", "k")
    reader.replay(wish, History(wish))
    publish_some(300)  # what is let go before the first of it is told, is no part of it
    reader.flush()
    told = [message["body"] for message in reader.wire.messages]
    assert told == list(range(told[0], told[0] + len(told)))
    assert 0 < told[0] < told[-1] < 1000
    publish_some(3000)
    reader.flush()
    assert reader.wire.closed == [4108]
