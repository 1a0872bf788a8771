"""The memory engine against a plain model of what is retained."""

from itertools import groupby

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.config import History
from broker.engines.base import Batch
from broker.engines.log import OVERHEAD
from broker.engines.memory import SEGMENTS, MemoryEngine
from broker.errors import Conflict
from broker.lane import Gone

from .fakes import event

KEYS = ["a", "b", ""]
LIMIT = 5
BYTES = 10 * (OVERHEAD + 4)
AGE = 60


class Model(RuleBasedStateMachine):
    """Every event that was ever stored, and the rules by which they go.

    A body is the numbers that it says. A stream's state is all numbers since it was closed,
    which is when somebody said none.
    """

    def __init__(self):
        super().__init__()
        self.engine = self.make(History(events=LIMIT, bytes=BYTES, age=AGE))
        self.delivered = []
        self.failed = []
        self.open(self.engine)
        self.kept = []  # in the order of their coming
        self.parts = {}  # by its position, what an event was made of; None: perhaps of some
        self.said = 0
        self.states = {key: [] for key in KEYS}
        self.now = 1000
        self.largest = 0
        self.last = dict.fromkeys(KEYS, 0)

    def make(self, history):
        """The engine."""
        return MemoryEngine(history)

    def open(self, engine):
        engine.open(self.delivered.append, lambda batch, why: self.failed.append(why), self.essence)

    def essence(self, key):
        """The state of a stream as an event."""
        return [event(key=key, body=self.states[key])] if self.states[key] else []

    def settle(self):
        """Let the engine commit."""

    def batch(self, events):
        expected = {e.key: self.last[e.key] for e in events}
        runs = [list(run) for _, run in groupby(events, key=lambda e: e.key)]
        return Batch(runs, [0] * len(events), expected, [])

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=7),
          size=st.sampled_from([0, 0, 0, 100, 3000]),
          names=st.lists(st.none() | st.sampled_from("xyz"), min_size=7, max_size=7),
          closing=st.sampled_from([False, False, True]))  # fmt: skip
    def append(self, keys, size, names, closing):
        """A batch is stored whole, with growing positions, and then cut to the bounds."""
        self.now += 1
        events = []
        taken = {(e.key, e.dedupe) for e in self.kept}
        for key, name in zip(keys, names, strict=False):
            free = name is not None and (key, name) not in taken
            taken.add((key, name))
            self.said += 1
            said = [] if closing else [self.said]
            body = [*said, "x" * size]
            events.append(
                event(key=key, body=body, time=self.now * 1000, dedupe=name if free else None)
            )
            fold(self.states[key], said)
        before = len(self.delivered)
        self.engine.append(self.batch(events))
        self.settle()
        assert len(self.delivered) == before + 1
        previous = max(self.last.values())
        for stored in events:
            assert stored.position > previous
            previous = self.last[stored.key] = stored.position
        self.kept += events
        self.largest = max(self.largest, sum(len(e.raw) + OVERHEAD for e in events))
        self.cut()

    def cut(self):
        """Take out of the model what the engine let go, if there was a reason to."""
        kept = []
        for index, e in enumerate(self.kept):
            if e.position > self.engine.floor(e.key):
                kept.append(e)
                continue
            behind = self.kept[index:]
            of_stream = sum(later.key == e.key for later in behind)
            size = sum(len(later.raw) + OVERHEAD for later in behind)
            crowded = of_stream > LIMIT - LIMIT // 8 - 1
            assert crowded or size > BYTES - BYTES // SEGMENTS - self.largest or self.old(e)
        self.kept = kept
        assert sum(len(e.raw) + OVERHEAD for e in kept) <= BYTES
        assert all(sum(e.key == key for e in kept) <= LIMIT for key in KEYS)

    def old(self, e):
        return e.time < (self.now - AGE) * 1000

    def of(self, key):
        return [e for e in self.kept if e.key == key]

    @rule(key=st.sampled_from(KEYS), at=st.integers(0, 3), count=st.integers(2, 4))
    def compact(self, key, at, count):
        """Neighbours become one that stands for them, or leave it to the one that closes.

        Nobody can go on from between them.
        """
        old = self.of(key)[at : at + count]
        if len(old) < 2 or any(e.dedupe for e in old):
            return
        end = old[-1]
        if all(numbers(e) for e in old):
            end = event(key=key, body=[n for e in old for n in numbers(e)], time=end.time)
            end.position = old[-1].position
        elif numbers(end) or not all(numbers(e) for e in old[:-1]):
            return
        read = self.engine.read(key, self.engine.floor(key), 100)
        assert list(read[at : at + count]) == old
        self.engine.replace(key, old, [end])
        parts = [self.parts.pop(e.position, [e]) for e in old]
        self.parts[end.position] = None if None in parts else [p for some in parts for p in some]
        self.kept = [end if e is old[-1] else e for e in self.kept if e not in old[:-1]]

    @rule(key=st.sampled_from(KEYS))
    def conflict(self, key):
        """An append at another position than the last fails, and stores nothing."""
        self.engine.append(Batch([[event(key=key)]], [0], {key: self.last[key] + 1}, []))
        assert isinstance(self.failed.pop(), Conflict)

    @rule(key=st.sampled_from(KEYS))
    def forget(self, key):
        """A forgotten stream has nothing; it never repeats a position."""
        if self.states[key]:
            return
        self.engine.forget(key)
        self.kept = [e for e in self.kept if e.key != key]
        self.last[key] = 0

    @rule(seconds=st.sampled_from([1, 10, 25, 25, 40]))
    def trim(self, seconds):
        """What is older than the age goes."""
        self.now += seconds
        while self.engine.trim(self.now * 1000):
            pass
        self.cut()
        slack = 1 + AGE / SEGMENTS
        assert all(e.time >= (self.now - AGE - slack) * 1000 for e in self.kept)

    @invariant()
    def holds_what_the_model_holds(self):
        """Every position from the floor on is readable, every one before it is gone."""
        for key in KEYS:
            mine = self.of(key)
            floor = self.engine.floor(key)
            assert all(e.position > floor for e in mine)
            assert list(self.engine.read(key, floor, 100)) == mine
            assert list(self.engine.read(key, floor, 2)) == mine[:2]
            for e in mine:
                assert list(self.engine.read(key, e.position, 100)) == [
                    later for later in mine if later.position > e.position
                ]
            if floor:
                assert not self.engine.whole(key, floor - 1)
                with pytest.raises(Gone):
                    self.engine.read(key, floor - 1, 1)
            assert self.engine.last(key) == self.last[key]
            for name in "xyz":
                assert self.engine.has_name(key, name) == any(e.dedupe == name for e in mine)

    @invariant()
    def nobody_goes_on_from_within_an_event(self):
        """From everywhere else, everybody does."""
        for e in self.kept:
            parts = self.parts.get(e.position, [e])
            if parts is None:
                continue
            begin = parts[0].position
            end = e.position if numbers(e) else parts[-min(2, len(parts))].position
            for position in range(max(begin - 1, self.engine.floor(e.key)), e.position + 1):
                within = begin <= position < end
                assert self.engine.whole(e.key, position) == (not within)


def numbers(e):
    return [n for n in msgspec.json.decode(e.raw) if isinstance(n, int)]


def fold(state, said):
    """What a stream has come to when somebody says numbers, or closes it by saying none."""
    if not said:
        state.clear()
    state.extend(n for n in said if n not in state)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestMemoryEngine = Model.TestCase


@given(st.integers(1, 400))
@settings(deadline=None, max_examples=20)
def test_a_stream_over_its_bound_keeps_the_newest(count):
    """Also over many times the bound, beside another stream that is never cut."""
    engine = MemoryEngine(History(events=3))
    engine.open(lambda batch: None, lambda batch, why: pytest.fail(str(why)), None)
    engine.append(Batch([[event(key="quiet", body="first")]], [0], {}, []))
    for n in range(count):
        engine.append(Batch([[event(key="loud", body=n)]], [0], {}, []))
    floor = engine.floor("loud")
    assert [e.body for e in engine.read("loud", floor, 9)] == list(range(count))[
        -len(engine.read("loud", floor, 9)) :
    ]
    assert min(count, 2) <= len(engine.read("loud", floor, 9)) <= 3
    assert [e.body for e in engine.read("quiet", 0, 9)] == ["first"]


def test_a_quiet_stream_outlives_a_flood():
    """An empty log is not an unknown stream: its position stands after its events are gone."""
    failed = []
    engine = MemoryEngine(History(bytes=20 * OVERHEAD))
    engine.open(lambda batch: None, lambda batch, why: failed.append(why), None)
    engine.append(Batch([[event(key="quiet")]], [0], {"quiet": 0}, []))
    last = engine.last("quiet")
    for n in range(100):
        engine.append(Batch([[event(key="loud", body=n)]], [0], {}, []))
    assert engine.floor("quiet") == engine.last("quiet") == last
    engine.append(Batch([[event(key="quiet")]], [0], {"quiet": last}, []))
    assert not failed
    assert len(engine.read("quiet", last, 9)) == 1
