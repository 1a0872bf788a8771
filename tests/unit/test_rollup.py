"""Windows of merging: what waits, for how long, and nothing left behind."""

import msgspec

from broker import rollup
from broker.codec import JSON, MSGPACK
from broker.envelope import Piece
from broker.rollup import Rollups

from .fakes import Timers, event, namespace

MS = 0.001


class Gatherer:
    """A reader's queue: what it gathered, and what it was offered."""

    def __init__(self, ms=40, codec=JSON):
        self.codec = codec
        self.ms = ms
        self.kept = {}
        self.offered = []

    def window(self, event):
        return self.ms

    def gather(self, events):
        self.kept.setdefault(events[0].key, []).extend(events)

    def gathers(self, key):
        return key in self.kept

    def gathered(self, key):
        return self.kept.pop(key, ())

    def offer(self, piece: Piece):
        self.offered.append(piece)

    @property
    def positions(self):
        return [[e.position for e in piece.events] for piece in self.offered]


class Windows:
    """`Rollups` of a namespace without a schema, and its time."""

    def __init__(self):
        self.timers = Timers()
        self.source = namespace(timers=self.timers)
        self.rollups = Rollups(self.source.retained, self.timers.clock, self.timers)
        self.position = 0

    def say(self, *queues, key="k", count=1):
        run = []
        for _ in range(count):
            self.position += 1
            run.append(event(key=key, body=self.position))
            run[-1].position = self.position
        for queue in queues:
            self.rollups.take(queue, run)

    def wait(self, ms):
        self.timers.pass_(ms * MS)


def test_the_first_after_a_pause_goes_at_once_and_the_others_together():
    """One event opens a window; what comes in it goes out as one when it closes; and again."""
    windows, reader = Windows(), Gatherer()
    windows.say(reader)
    assert reader.positions == [[1]]
    windows.wait(10)
    windows.say(reader, count=2)
    windows.wait(10)
    windows.say(reader)
    assert reader.positions == [[1]]
    windows.wait(40)
    assert reader.positions == [[1], [2, 3, 4]]
    windows.say(reader)  # the next window is open
    windows.wait(50)
    assert reader.positions == [[1], [2, 3, 4], [5]]


def test_nothing_waits_longer_than_it_was_asked_to():
    """The window and an eighth of it, however the events of many streams fall."""
    windows, reader = Windows(), Gatherer(ms=40)
    came, waited = {}, []
    for key in range(120):
        if key < 60:
            windows.say(reader, key=f"{key}")
            windows.say(reader, key=f"{key}")
            came[windows.position] = windows.timers.clock.now
        windows.wait(1)
        for [position] in reader.positions:
            if position in came:
                waited.append(windows.timers.clock.now - came.pop(position))
    assert len(waited) == 60
    assert max(waited) < 46.5 * MS


def test_a_run_that_opens_a_window_is_cut():
    """Of neighbours that come together the first goes at once, for each of the readers."""
    windows, first, second = Windows(), Gatherer(), Gatherer()
    windows.say(first, second, count=3)
    assert first.positions == second.positions == [[1]]
    windows.wait(50)
    assert first.positions == second.positions == [[1], [2, 3]]


def test_windows_that_stay_empty_close():
    """When all is quiet, no window is open and no timer runs, whoever came and went."""
    windows = Windows()
    readers = [Gatherer(ms) for ms in (1, 20, 20, 40, 10_000)]
    for key in "abcdef":
        windows.say(*readers, key=key, count=2)
        windows.wait(7)
    assert len(windows.rollups) == 6 * 4 - 6  # those of 1 ms have had their time
    windows.wait(40_000)
    assert len(windows.rollups) == 0
    assert len(windows.timers) == 0
    assert all(not reader.kept for reader in readers)
    windows.say(*readers)
    assert [reader.positions[-1] for reader in readers] == [[13]] * 5, "the first again"


def test_few_timers_for_many_streams():
    """One timer for each length of window, not for each stream."""
    windows, readers = Windows(), [Gatherer(20), Gatherer(40)]
    for key in range(100):
        windows.say(*readers, key=f"{key}", count=2)
    assert len(windows.rollups) == 200
    assert len(windows.timers) == 2


def test_readers_share_the_bytes():
    """What is the same for some readers is merged and encoded once for each encoding."""
    windows = Windows()
    readers = [Gatherer(), Gatherer(), Gatherer(codec=MSGPACK), Gatherer(codec=MSGPACK)]
    late = Gatherer()
    windows.say(*readers)
    windows.say(*readers, count=3)
    windows.say(*readers, late)
    windows.wait(50)
    one, two, three, four = (reader.offered[-1] for reader in readers)
    assert one.data is two.data
    assert three.data is four.data
    assert msgspec.json.decode(b"[" + one.data + b"]")[0]["body"] == 2
    assert late.positions == [[5]]
    assert one.count == 4


def test_one_reader_that_fails_takes_no_other_stream_with_it(monkeypatch):
    """A failure is logged; the other streams' windows close as they should."""
    windows, broken, reader = Windows(), Gatherer(), Gatherer()
    logged = []
    monkeypatch.setattr(rollup.log, "exception", lambda event, **_: logged.append(event))
    windows.say(broken, key="bad", count=2)
    windows.say(reader, key="good", count=2)
    broken.offer = None
    windows.wait(50)
    assert reader.positions == [[3], [4]]
    assert logged == ["merging failed"]
    windows.wait(500)
    assert len(windows.rollups) == 0
