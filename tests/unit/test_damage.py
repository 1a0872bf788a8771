"""Files of a durable namespace that are not as they were left: nothing of it goes unnoticed."""

import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from broker.engines import file as files
from broker.engines import wal
from broker.engines.file import Broken

from .fakes import event
from .test_sqlite import Engine

EVENTS = 60


class Killed:
    """The files of a process that was killed after so many events, each in a commit."""

    def __init__(self, folder, sync="normal"):
        folder.mkdir()
        self.file = folder / "events.db"
        self.wal = folder / "events.db-wal"
        alive = folder.parent / "alive.db"
        engine = Engine(alive, sync=sync)
        for n in range(EVENTS):
            engine.store(event(body=n))
        self.epoch = engine.engine.epoch
        for suffix in ("", "-wal", "-last"):
            shutil.copy(f"{alive}{suffix}", f"{self.file}{suffix}")
        engine.engine.close()

    def restart(self, **more):
        """What is there then: bodies, whether cursors go on, what is logged."""
        with capture_logs() as logs:
            engine = Engine(self.file, **more)
        try:
            same = engine.engine.epoch == self.epoch
            return engine.bodies(), same, [line["event"] for line in logs]
        finally:
            engine.engine.close()

    def flip(self, at):
        content = bytearray(self.wal.read_bytes())
        content[at] ^= 0x10
        self.wal.write_bytes(content)


@pytest.fixture
def killed(tmp_path):
    return Killed(tmp_path / "killed")


def test_killed_and_nothing_else(killed):
    """Everything is there, and cursors go on."""
    for _ in range(2):
        assert killed.restart() == (list(range(EVENTS)), True, [])


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.9])
def test_a_damaged_log_stops_the_start(killed, part):
    """Again and again, until somebody decides; then cursors are of another epoch."""
    size = killed.wal.stat().st_size
    killed.flip(int(size * part))
    broken = killed.wal.read_bytes()
    for _ in range(2):
        with pytest.raises(Broken, match=r"events\.db is damaged: its log") as error:
            killed.restart()
        assert killed.wal.read_bytes() == broken
    at = int(str(error.value).split("truncate -s ")[1].split()[0])
    assert at <= size * part
    os.truncate(killed.wal, at)
    bodies, same, logs = killed.restart()
    assert bodies == list(range(len(bodies)))
    assert len(bodies) < EVENTS
    assert (same, logs) == (False, ["events lost"])
    assert killed.restart()[2] == []  # once


@pytest.mark.parametrize("part", [0.0, 0.5, None])
def test_a_lost_end_is_told(killed, part):
    """A log that is cut or gone: what is left is served, and no cursor from before is known."""
    if part is None:
        killed.wal.unlink()
    else:
        os.truncate(killed.wal, int(killed.wal.stat().st_size * part))
    bodies, same, logs = killed.restart()
    assert bodies == list(range(len(bodies)))
    assert len(bodies) < EVENTS
    assert (same, logs) == (False, ["events lost"])


def test_the_last_frame_is_damaged(killed):
    """It looks as if it was never finished; but it was acknowledged."""
    killed.flip(killed.wal.stat().st_size - 1)
    bodies, same, logs = killed.restart()
    assert bodies == list(range(EVENTS - 1))
    assert (same, logs) == (False, ["events lost"])


def test_a_transaction_that_was_never_finished(killed):
    """A process is killed between writes: nothing that counts is missing."""
    with closing(sqlite3.connect(killed.file, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 5")  # so that it writes before the end
        connection.execute("BEGIN")
        connection.execute("INSERT INTO states VALUES ('k', 0, zeroblob(100000))")
        begun = killed.file.with_name("begun")
        begun.mkdir()
        for suffix in ("", "-wal", "-last"):
            shutil.copy(f"{killed.file}{suffix}", begun / f"events.db{suffix}")
        size = killed.wal.stat().st_size
        connection.execute("ROLLBACK")
    killed.file, killed.wal = begun / "events.db", begun / "events.db-wal"
    os.truncate(killed.wal, size - 1000)  # in the middle of a write
    assert killed.restart() == (list(range(EVENTS)), True, [])


def test_a_log_that_began_anew(killed):
    """What is left in it from before is no part of it."""
    with closing(sqlite3.connect(killed.file, isolation_level=None)) as connection:
        size = killed.wal.stat().st_size
        connection.execute("PRAGMA wal_checkpoint")
        connection.execute("INSERT INTO about VALUES ('more', '')")
        assert killed.wal.stat().st_size == size
        assert wal.damaged(killed.wal) is None
        killed.flip(100)  # the only transaction, and behind it there is but the old ones
        assert wal.damaged(killed.wal) is None


def test_an_older_copy_is_told(killed, tmp_path):
    """A file from a backup does not go as far as was told to readers."""
    copy = tmp_path / "copy.db"
    killed.restart()
    shutil.copy(killed.file, copy)
    engine = Engine(killed.file)
    engine.store(event(body="new"))
    engine.engine.close()
    shutil.copy(copy, killed.file)
    assert killed.restart() == (list(range(EVENTS)), False, ["events lost"])


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_a_loss_of_power_may_leave_a_log_with_holes(tmp_path, monkeypatch, sync):
    """Pages are written in any order then: the start goes on with what is whole."""
    killed = Killed(tmp_path / "killed", sync)
    killed.flip(killed.wal.stat().st_size // 2)
    monkeypatch.setattr(files, "_boot", lambda: "another")
    bodies, same, logs = killed.restart(sync=sync)
    assert 0 < len(bodies) < EVENTS
    assert (same, logs) == (False, ["events lost"])
