"""The engine that stores in a file: the memory engine's model, restarts, failures."""

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from queue import SimpleQueue

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from broker.codec import JSON, MSGPACK
from broker.config import History, Storage
from broker.engines import file as files
from broker.engines import journal
from broker.engines.base import Batch
from broker.engines.file import Broken
from broker.engines.sqlite import SqliteEngine
from broker.lane import Gone
from broker.plugin import BROKER, Event, Sender

from .fakes import Timers, event
from .test_memory import KEYS, LIMIT, Model, fold, numbers

PATIENCE = 20


class Engine:
    """An engine on a file, whose loop is turned by hand."""

    def __init__(self, file, history=None, sync="normal", commit_ms=0):
        self.calls = SimpleQueue()
        self.delivered = []
        self.failed = []
        storage = Storage(str(file), sync, commit_ms)
        history = history or History()
        self.timers = Timers()
        self.engine = SqliteEngine(storage, history, self._post, self.timers, retry=0.01)
        self.engine.open(self.delivered.append, lambda *lost: self.failed.append(lost))
        self.engine.restore(lambda run: None)

    def _post(self, call, *args):
        self.calls.put((call, args))

    def hear(self):
        """Wait for the writer to say something, and hear it."""
        call, args = self.calls.get(timeout=PATIENCE)
        call(*args)

    def turn(self):
        """The same, and what is due soon after it."""
        self.hear()
        self.timers.pass_(1)

    def settle(self):
        self.timers.pass_(1)
        while self.engine.pending:
            self.turn()

    def append(self, *events):
        runs = [[each] for each in events]
        last = {each.key: 0 for each in events}
        for waiting in self.engine._waiting:
            last.update({e.key: e.position for e in waiting.batch.events if e.key in last})
        expected = {key: at or self.engine.last(key) for key, at in last.items()}
        self.engine.append(Batch(runs, [0] * len(events), expected, []))

    def store(self, *events):
        self.append(*events)
        self.settle()

    def trim(self, now):
        while self.engine.trim(now):
            pass

    def bodies(self, key="k"):
        floor = self.engine.floor(key)
        return [msgspec.json.decode(e.raw) for e in self.engine.read(key, floor, 10_000)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "events.db"


@pytest.fixture
def start(file):
    """Opens the file; each time the one before is closed."""
    with contextlib.ExitStack() as stack:

        def begin(*args, **more):
            stack.close()
            made = Engine(file, *args, **more)
            stack.callback(made.engine.close)
            return made

        yield begin


def essence(event):
    return event.position, event.key, bytes(event.raw), event.time, event.dedupe


def whole(event):
    rest = event.topic, event.sender, event.codec, event.extended
    return *essence(event), *rest


def interrupt(patch, steps, how, names):
    """Let only so many steps of tidying up succeed."""

    def upto(done):
        def step(*args):
            nonlocal steps
            steps -= 1
            return done(*args) if steps >= 0 else how()

        return step

    for name in names:
        patch.setattr(journal.Journal, name, upto(getattr(journal.Journal, name)))


def no_space():
    raise Broken("database or disk is full")


class Durable(Model):
    """The memory engine's model, on a file; and a new start on it goes on from there."""

    def make(self, history):
        self.folder = tempfile.TemporaryDirectory()
        self.history = history
        self.calls = SimpleQueue()
        return self.begin(lambda events: None)

    def begin(self, fold):
        storage = Storage(self.folder.name + "/events.db", commit_ms=10)
        self.timers = Timers()
        post = lambda *call: self.calls.put(call)  # noqa: E731
        engine = SqliteEngine(storage, self.history, post, self.timers, cold=20_000, retry=0.001)
        engine.restore(fold)
        return engine

    def settle(self):
        self.timers.pass_(1)
        while self.engine.pending:
            self.turn()

    @rule(killed=st.booleans())
    def restart(self, killed):
        """Everything that was retained is there, and perhaps what had to go for its stream.

        What was compacted is so still, or is as it was before. States are what they were.
        """
        epoch, position = self.engine.epoch, self.engine.position
        with pytest.MonkeyPatch.context() as patch:
            if killed:
                patch.setattr(files.File, "close", files.File.release)
            self.engine.close()
        states = {key: [] for key in KEYS}
        self.engine = self.begin(lambda run: [fold(states[e.key], numbers(e)) for e in run])
        self.open(self.engine)
        assert (self.engine.epoch, self.engine.position) == (epoch, position)
        assert states == self.states
        back = []
        for key in KEYS:
            back += self.restored(key)
            self.last[key] = self.engine.last(key)
        self.kept = sorted(back, key=lambda e: e.position)

    @rule(seconds=st.sampled_from([25, 70]), steps=st.integers(0, 3))
    def killed_while_tidying(self, seconds, steps):
        """Whatever was done last, nothing is lost, or there twice."""
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, steps, lambda: False, ["keep", "trim"])
            self.trim(seconds)
            self.restart(killed=True)

    @rule(seconds=st.sampled_from([25, 70]), steps=st.integers(0, 3))
    def failing_while_tidying(self, seconds, steps):
        """It is done again when the file can be used again."""
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, steps, no_space, ["keep"])
            self.trim(seconds)
            while self.engine._keeping.pending:
                self.turn()
        while self.engine.failure is not None:
            self.turn()

    def turn(self):
        call, *args = self.calls.get(timeout=PATIENCE)
        call(*args)
        self.timers.pass_(1)

    def restored(self, key):
        """What a stream has after a restart, compared with what it had."""
        floor = self.engine.floor(key)
        read = list(self.engine.read(key, floor, 100))
        there = {e.position: essence(e) for e in read}
        known = {e.position for e in self.of(key)}
        for position in self.parts.keys() & there.keys() - known:
            self.parts[position] = None  # it had gone, and is back as it was at some time
        expected = []
        for e in self.of(key):
            parts = self.parts.get(e.position, [e]) or [e]
            whole = there.get(e.position) == essence(e)
            if not whole or any(p.position in there for p in parts[:-1]):  # it is as it was
                self.parts.pop(e.position, None)
            else:
                parts = [e]
            expected += [p for p in parts if p.position > floor]
        assert len(read) <= LIMIT
        assert list(map(essence, read[len(read) - len(expected) :])) == list(map(essence, expected))
        return read

    def teardown(self):
        self.engine.close()
        self.folder.cleanup()


Durable.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSqliteEngine = Durable.TestCase


def test_every_field_comes_back(start):
    """Encodings, names, senders, times; the broker itself is known again as such."""
    engine = start()
    who = Sender("anna", "digest", "c7")
    events = [
        event(body={"a": 1}, sender=who, time=5, dedupe="n"),
        Event("workflow.b", "ключ", None, msgspec.Raw(b"\x81\xa1a\x01"), 6, who, MSGPACK, True),
        event(key="", sender=BROKER),
    ]
    engine.store(*events)
    again = start()
    keys = again.engine.keys()
    stored = [e for key in keys for e in again.engine.read(key, 0, 9)]
    assert list(map(whole, events)) == list(map(whole, stored))
    assert [bytes(e.raw) for e in stored] == [bytes(e.raw) for e in events]
    assert stored[0].codec is JSON
    assert stored[0].sender is stored[1].sender
    assert stored[2].sender is BROKER
    assert again.engine.has_name("k", "n")


def test_nothing_is_delivered_before_it_is_stored(start, file):
    """Neither read nor told; and what is told is in the file."""
    engine = start()
    engine.append(event(body=1))
    engine.append(event(body=2))
    assert engine.delivered == []
    assert engine.bodies() == []
    assert engine.engine.pending == 2
    engine.settle()
    assert engine.bodies() == [1, 2]
    assert [e.position for batch in engine.delivered for e in batch.events] == [1, 2]


def test_what_comes_soon_after_a_commit_waits_for_the_next(start, monkeypatch):
    """The first is written at once; what follows is gathered, and written as one."""
    written = []
    add = journal.Journal.add
    monkeypatch.setattr(
        journal.Journal, "add", lambda *a: (written.append((a[1], len(a[2]))), add(*a))
    )
    engine = start(commit_ms=10)
    engine.append(event(body=1))
    engine.hear()
    assert engine.bodies() == [1]
    engine.append(event(body=2))
    engine.append(event(body=3))
    engine.timers.pass_(0.01)
    engine.hear()
    engine.timers.pass_(0.01)
    assert engine.timers.waiting == 0
    engine.append(event(body=4))
    engine.hear()
    assert engine.bodies() == [1, 2, 3, 4]
    assert written == [(1, 1), (3, 1), (4, 1)]
    assert engine.engine.figures().file.batches == 4


def test_what_is_gathered_is_stored_at_the_end(start):
    """Whoever closes the file does not wait for the pause to be over."""
    engine = start(commit_ms=1000)
    engine.append(event(body=1))
    engine.append(event(body=2))
    assert start().bodies() == [1, 2]


def gated(monkeypatch):
    """Let nothing be stored before something is put there."""
    gate = SimpleQueue()
    add = journal.Journal.add
    monkeypatch.setattr(journal.Journal, "add", lambda *a: (gate.get(timeout=PATIENCE), add(*a)))
    return gate


def test_what_is_stored_is_delivered_a_little_at_a_time(start, monkeypatch):
    """The loop is not held for all of it; a failure behind it does not concern the rest."""
    count = 5_000
    engine = start()
    gate = gated(monkeypatch)
    for n in range(count):
        engine.engine.append(Batch([[event(key=f"k{n}")]], [0], {}, []))
    gate.put(None)
    engine.hear()
    gate.put(None)
    engine.hear()
    assert 1 < len(engine.delivered) < count
    break_it(monkeypatch, engine)
    engine.append(event(body="lost"))
    engine.hear()
    assert engine.engine.failure is not None
    positions = [e.position for batch in engine.delivered for e in batch.events]
    assert positions == list(range(1, count + 1))
    assert [[e.key for e in batch.events] for batch, _ in engine.failed] == [["k"]]


def test_an_empty_batch_keeps_its_place(start):
    """What only has to be acknowledged waits for what is before it, and for nothing else."""
    engine = start()
    nothing = Batch([], [], {}, [])
    engine.engine.append(nothing)
    assert engine.delivered == [nothing]
    engine.append(event())
    engine.engine.append(nothing)
    assert len(engine.delivered) == 1
    engine.settle()
    assert [len(batch.events) for batch in engine.delivered] == [0, 1, 0]


def test_the_numbering_goes_on(start):
    """The same epoch, the next position; also when nothing is retained any more."""
    engine = start(History(age=60))
    engine.store(event(time=1000), event(time=1000))
    epoch = engine.engine.epoch
    again = start(History(age=60))
    again.trim(100_000)
    assert again.bodies() == []
    assert again.engine.floor("k") == 2
    again.store(event(time=100_000, body="new"))
    last = start()
    assert last.engine.epoch == epoch
    assert [e.position for e in last.engine.read("k", 2, 9)][-1] == 3


def test_what_the_file_has_no_more_is_gone(start):
    """After a restart, a position before its first row is too old, whatever the stream."""
    history = History(bytes=2000)
    engine = start(history)
    for n in range(20):
        engine.store(event(body=n))
    engine.trim(0)
    again = start(history)
    assert again.bodies() == list(range(20))[-len(again.bodies()) :]
    assert 0 < again.engine.floor("k") < 20
    with pytest.raises(Gone):
        again.engine.read("other", 1, 9)


def test_the_file_does_not_grow_for_ever(start, file):
    """What is over the history's bytes goes from the file, and its room is used again."""
    history = History(bytes=200_000)
    engine = start(history)
    for _ in range(50):
        for _ in range(10):
            engine.store(event(body="x" * 4000))
        engine.trim(0)
    engine.engine.close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        [size] = connection.execute("SELECT sum(length(events)) FROM commits").fetchone()
    assert 150_000 <= size < 250_000
    assert file.stat().st_size < 600_000


def break_it(monkeypatch, engine, error=None):
    """Let nothing be stored any more. Returns what mends it."""
    broken = []

    def refuse(self, *args):
        broken.append(args)
        raise error or Broken("database or disk is full")

    monkeypatch.setattr(journal.Journal, "add", refuse)
    monkeypatch.setattr(journal.Journal, "reopen", refuse)
    return monkeypatch.undo


@pytest.mark.parametrize("error", [None, ZeroDivisionError("of our own making")])
def test_a_failure_fails_all_that_waits(start, monkeypatch, error):
    """In order; then everything is refused at once, until the file can be used again."""
    engine = start()
    engine.store(event(body="before"))
    mend = break_it(monkeypatch, engine, error)
    engine.append(event(body=1))
    engine.append(event(body=2), event(key="other"))
    while engine.engine.failure is None:
        engine.turn()
    assert [[e.key for e in batch.events] for batch, _ in engine.failed] == [["k"], ["k", "other"]]
    assert not engine.engine.pending
    engine.append(event(body=3))
    assert len(engine.failed) == 3
    assert engine.failed[-1][0].events[0].position == 0
    assert str(error or "disk is full") in engine.engine.failure
    mend()
    while engine.engine.failure is not None:
        engine.turn()
    engine.store(event(body="after"))
    assert [e.position for e in engine.engine.read("k", 0, 9)] == [1, 2]
    assert engine.bodies() == start().bodies() == ["before", "after"]


def test_a_full_file(start):
    """SQLite's own error: what does not fit is refused, and all else is still there."""
    engine = start()
    engine.store(event(body="before"))
    engine.engine._journal.file.connection.execute(
        "PRAGMA max_page_count = 20"
    )  # until it is reopened
    engine.append(event(body="x" * 1_000_000))
    while engine.engine.failure is None:
        engine.turn()
    assert "full" in engine.engine.failure
    assert len(engine.failed) == 1
    while engine.engine.failure is not None:
        engine.turn()
    engine.store(event(body="after"))
    assert engine.bodies() == start().bodies() == ["before", "after"]


def test_what_was_stored_all_the_same_is_taken_back(start, monkeypatch):
    """A commit that failed for its sender is not there after the recovery."""
    engine = start()
    engine.store(event(body="before"))
    add = journal.Journal.add

    def stored_but(self, *args):
        add(self, *args)
        raise Broken("who knows")

    monkeypatch.setattr(journal.Journal, "add", stored_but)
    engine.append(event(body="lost"))
    while engine.engine.failure is None:
        engine.turn()
    monkeypatch.undo()
    while engine.engine.failure is not None:
        engine.turn()
    engine.store(event(body="after"))
    assert engine.bodies() == start().bodies() == ["before", "after"]


def test_so_much_waits_and_no_more(start, monkeypatch):
    """A slow disk is told by `full`, until some of it is stored."""
    engine = start()
    gate = gated(monkeypatch)
    count = 0
    while not engine.engine.full:
        engine.append(event(body="x" * 100_000))
        count += 1
    assert 35 < count < 45
    gate.put(None)
    gate.put(None)
    engine.settle()
    assert not engine.engine.full
    assert len(engine.bodies()) == count


def test_the_end_stores_what_waits(start):
    """Closing is no loss."""
    engine = start()
    for n in range(50):
        engine.append(event(body=n))
    assert start().bodies() == list(range(50))


def test_only_one_may_have_the_file(start, file):
    """A second one is told so, and changes nothing."""
    engine = start()
    with pytest.raises(Broken, match=r"another process has it open"):
        Engine(file)
    engine.store(event(body=1))
    assert engine.bodies() == [1]


def damage(file, statement):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE commits SET events = zeroblob(length(events)) WHERE last = 2", "damaged"),
        ("DELETE FROM commits WHERE last = 2", "damaged: no events after 1"),
        ("PRAGMA user_version = 99", "another version"),
        ("PRAGMA application_id = 99", "another program"),
        ("DROP TABLE about", None),
    ],
)
def test_a_damaged_file(start, file, statement, why):
    """The file is named, and what is wrong with it."""
    engine = start()
    for n in range(3):
        engine.store(event(body=n))
    engine.engine.close()
    damage(file, statement)
    if why is None:  # only the epoch is lost
        assert start().bodies() == [0, 1, 2]
        return
    with pytest.raises(Broken, match=why) as error:
        start()
    assert str(file) in str(error.value)


def test_a_torn_file(start, file):
    """Bytes that were never SQLite's are found at the start."""
    engine = start()
    for n in range(200):
        engine.store(event(body="x" * 1000 + str(n)))
    engine.engine.close()
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(size // 2)
        raw.write(os.urandom(8192))
    with pytest.raises(Broken, match=str(file)):
        start()


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_after_a_loss_of_power_cursors_are_of_another_epoch(file, sync, monkeypatch):
    """Where the end may be lost, positions may be given twice; with "full" it cannot be."""
    engine = Engine(file, sync=sync)
    engine.store(event(body=1))
    epoch = engine.engine.epoch
    monkeypatch.setattr(files.File, "close", files.File.release)  # as if it was killed
    engine.engine.close()
    again = Engine(file, sync=sync)
    assert again.engine.epoch == epoch
    again.engine.close()
    monkeypatch.setattr(files, "_boot", lambda: "another")
    last = Engine(file, sync=sync)
    assert (last.engine.epoch == epoch) == (sync == "full")
    assert last.bodies() == [1]
    last.engine.close()


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"something else", None])
def test_a_file_is_checked_before_it_is_opened(tmp_path, content):
    """What is no database is told without making one."""
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)
    if content == b"something else":
        with pytest.raises(Broken, match="no SQLite database"):
            files.check(Storage(str(path)))
    else:
        files.check(Storage(str(path)))
    for wrong in (tmp_path, tmp_path / "none" / "x.db"):
        with pytest.raises(Broken, match=str(tmp_path)):
            files.check(Storage(str(wrong)))
    assert Path(path).exists() == (content is not None)
