"""What is stored together: at once after a pause, and a pause later what came meanwhile."""

import pytest

from broker.engines.gathering import MUCH, Gathering

from .fakes import Timers, event

PAUSE = 0.01


class Store:
    """Keeps what is handed over: the bodies of each time, and of how many batches they are."""

    def __init__(self, pause=PAUSE):
        self.timers = Timers()
        self.got = []
        self.gathering = Gathering(pause, self.timers, self._take)

    def _take(self, runs, batches):
        self.got.append(([bytes(e.raw).decode() for run in runs for e in run], batches))

    def add(self, *bodies, size=1):
        self.gathering.add([[event(body=body)] for body in bodies], size)


@pytest.fixture
def store():
    return Store()


def test_what_comes_after_a_pause_waits_for_nobody(store):
    """Each time; and then there is nothing to be done later."""
    for n in range(3):
        store.add(n)
        assert store.got == [([str(m)], 1) for m in range(n + 1)]
        store.timers.pass_(PAUSE)
        assert store.timers.waiting == 0


def test_what_comes_within_a_pause_is_handed_over_at_its_end(store):
    """Together, in order; and what comes then has to wait for the next one."""
    store.add(1)
    store.add(2, 3)
    store.timers.pass_(PAUSE / 2)
    store.add(4)
    assert store.got == [(["1"], 1)]
    store.timers.pass_(PAUSE / 2)
    assert store.got[1:] == [(["2", "3", "4"], 2)]
    store.add(5)
    assert len(store.got) == 2
    store.timers.pass_(PAUSE)
    assert store.got[2:] == [(["5"], 1)]


def test_much_does_not_wait(store):
    """And the pause goes on: there is one timer, however often."""
    store.add(0)
    for n in range(3):
        store.add(n, size=MUCH)
        store.add(n, size=1)
    assert store.got[1:] == [(["0", "0"], 2), (["1", "1"], 2), (["2", "2"], 2)]
    assert store.timers.waiting == 1
    store.add(3)
    assert len(store.got) == 4
    store.timers.pass_(PAUSE)
    assert store.got[4:] == [(["3"], 1)]


def test_without_a_pause_nothing_is_gathered():
    """Each batch by itself, and no timer."""
    store = Store(pause=0)
    store.add(1, 2)
    store.add(3)
    assert store.got == [(["1", "2"], 1), (["3"], 1)]
    assert store.timers.waiting == 0


def test_what_is_left_at_the_end(store):
    """It is handed over once."""
    store.add(1)
    store.add(2)
    store.gathering.finish()
    store.gathering.finish()
    assert store.got[1:] == [(["2"], 1)]
    store.timers.pass_(1)
    assert len(store.got) == 2


def test_what_is_forgotten_is_not_handed_over(store):
    """Nor does it hold up what comes next."""
    store.add(1)
    store.add(2, size=MUCH)
    store.gathering.forget()
    store.add(3)
    assert len(store.got) == 1
    store.timers.pass_(PAUSE)
    assert store.got[1:] == [(["3"], 1)]


def test_what_comes_while_it_is_handed_over(store):
    """It belongs to the next time: nothing is there twice."""
    take = store._take

    def again(runs, batches):
        take(runs, batches)
        if len(store.got) == 1:
            store.add("again")

    store.gathering = Gathering(PAUSE, store.timers, again)
    store.add(1)
    store.timers.pass_(PAUSE)
    assert store.got == [(["1"], 1), (['"again"'], 1)]


def test_what_could_not_be_handed_over_is_not_lost():
    """It comes before what follows it, whose positions are behind its own."""
    store = Store()
    take, store.gathering._hand_over = store.gathering._hand_over, fail
    with pytest.raises(MemoryError):
        store.add(1)
    store.gathering._hand_over = take
    store.add(2)
    store.gathering.finish()
    assert store.got == [(["1", "2"], 2)]


def fail(runs, batches):
    raise MemoryError
