"""Things that are due a while after they were added: each once, in order, none too early."""

from hypothesis import given
from hypothesis import strategies as st

from broker.deadlines import Timeouts

from .fakes import Timers

AFTER = 1000


@given(st.lists(st.tuples(st.sampled_from(["add", "discard", "pass"]), st.integers(0, 5))))
def test_whatever_is_added_and_discarded(steps):
    """Against a dict of times: due to the moment, and no timer is left when nothing waits."""
    timers, due, times = Timers(), [], {}
    timeouts = Timeouts(timers.clock, timers, AFTER, due.append)
    for what, n in steps:
        if what == "add":
            timeouts.add(n)
            times.pop(n, None)
            times[n] = timers.clock.unix_ms() + AFTER
        elif what == "discard":
            timeouts.discard(n)
            times.pop(n, None)
        else:
            timers.pass_(n / 4)
            now = timers.clock.unix_ms()
            assert due == [thing for thing, at in times.items() if at <= now]
            times = {thing: at for thing, at in times.items() if at > now}
            due.clear()
        assert list(timeouts) == list(times)
    timers.pass_(2)
    assert len(timeouts) == 0
    assert not timers.waiting


def test_one_that_fails_does_not_hold_up_the_others():
    """They are due all the same, a moment later."""
    timers, due = Timers(), []

    def take(thing):
        due.append(thing)
        if thing == 1:
            raise ZeroDivisionError

    timeouts = Timeouts(timers.clock, timers, AFTER, take)
    for thing in range(3):
        timeouts.add(thing)
    try:
        timers.pass_(1)
    except ZeroDivisionError:
        timers.pass_(0)
    assert due == [0, 1, 2]
