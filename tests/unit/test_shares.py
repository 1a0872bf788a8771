"""Shares of the loop: who has how much of a turn, counted by a clock that the work moves."""

from .fakes import FakePublisher, Reader, publish
from .loops import Slow, scheduled

LARGE = "x" * 200_000


class Dear(Slow):
    """Takes time for each byte: 0.4 ms for one of `LARGE`."""

    def validate(self, head, event):
        self.clock.now += len(event.raw) * 2e-9


def test_large_bodies_do_not_share_a_quantum():
    """After each large body the clock is asked: a slice exceeds its share by one, not by many."""
    scheduler, loop = scheduled("loud", kind=Dear, queue={"messages": 100, "bytes": 100 << 20})
    target = scheduler.namespaces[0]
    publisher = FakePublisher()
    for n in range(40):
        target.enqueue(publisher.ingress, publish("loud.a", LARGE + str(n), n + 1))
    handled = []
    while loop.soon:
        before = target.accepted
        loop.turn()
        handled.append(target.accepted - before)
    assert max(handled) <= 4, "a share of 0.5 ms, two of them in a turn, and 0.4 ms each"
    assert publisher.acked == 40


def test_small_ones_among_large_ones_keep_their_order():
    """What a turn leaves behind is still in front of what came later."""
    scheduler, loop = scheduled("loud", kind=Dear, queue={"messages": 100, "bytes": 100 << 20})
    target = scheduler.namespaces[0]
    reader = Reader(target)
    reader.subscribe("loud.a", None)
    publisher = FakePublisher()
    for n in range(60):
        target.enqueue(publisher.ingress, publish("loud.a", [n, LARGE if n % 7 == 3 else ""]))
    loop.run()
    assert [event["body"][0] for event in reader.told()] == list(range(60))
    assert (target.intake.messages, target.intake.bytes) == (0, 0)
