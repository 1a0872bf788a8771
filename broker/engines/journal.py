"""What stands in the file of a durable namespace: a row for each commit, and states.

A row is what waited when the writer came round: batches, encoded on the loop, put
together as one blob. A statement for each event would cost a change of the GIL's owner
for each, beside a busy loop; this way there is one for each commit. Later, rows that have
cooled down are written anew as one, with what is still retained of them.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple
from zlib import crc32

from broker.config import Storage
from broker.engines.file import Broken, File
from broker.engines.rows import Kept, Reader, encode_kept, join
from broker.plugin import Event

VACUUM_PAGES = 1024
"""How many pages of a file that has shrunk are given back in one go."""

TRIM_ROWS = 64
"""How many rows go at once."""


class State(NamedTuple):
    """A stream's state, as events; with none, it is not needed any more.

    Attributes:
        position: it is of what was committed up to there.
    """

    key: str
    position: int
    events: Sequence[Event] = ()


class Row(NamedTuple):
    """A row, as it is read.

    Attributes:
        since, last: the position before its first event and of its last.
        runs: its events; they have their positions.
        kept: what it says of itself, where it was written anew.
    """

    since: int
    last: int
    runs: Sequence[Sequence[Event]]
    kept: Sequence[Kept] | None


class Journal:
    """The file, opened. Used by one thread at a time; errors are `Broken`.

    Attributes:
        file: the file.
        last: the position of the last event that was ever stored.
        rows: how many there are.
    """

    def __init__(self, storage: Storage) -> None:
        self.file = File(storage)
        self.last = 0
        self.rows = 0

    @property
    def epoch(self) -> str:
        return self.file.epoch

    def open(self) -> None:
        """Open the file. Raises as `File.open`."""
        self.file.open()
        with self.file.named():
            self.last, self.rows = self.file.connection.execute(
                "SELECT coalesce(max(last), 0), count(*) FROM commits"
            ).fetchone()

    def reopen(self, last: int, room: int) -> None:
        """Open the file again after a failure, without what did not count as stored.

        Args:
            last: the position up to which everything was.
            room: how many bytes it has to have room for.

        Raises:
            Broken: it cannot be used yet.
        """
        self.file.release()
        self.open()
        if self.last < last:
            raise Broken(f"{self.file.name} has lost events: it is another file now")
        with self.file.named():
            execute = self.file.connection.execute
            execute("DELETE FROM commits WHERE last > ?", (last,))
            execute("INSERT OR REPLACE INTO about VALUES ('room', zeroblob(?))", (room,))
            execute("DELETE FROM about WHERE name = 'room'")
        self.last = last

    def close(self) -> None:
        """Close the file in good order, if it is open."""
        self.file.close()

    # ------------------------------------------------------------- what is read

    def load(self) -> Iterator[Row]:
        """Every row, in order.

        Raises:
            Broken: one of them is not as it was written.
        """
        reader = Reader()
        expected = None
        with self.file.named():
            rows = self.file.connection.execute(
                "SELECT last, since, kept, sum, events FROM commits ORDER BY last"
            )
            for last, since, kept, sum, blob in rows:
                if crc32(blob) != sum:
                    raise self._damaged(f"the events up to {last}")
                if expected not in (None, since):
                    raise self._damaged(f"no events after {expected}")
                expected = last
                yield (
                    self._kept(reader, since, last, blob)
                    if kept
                    else self._commit(reader, since, last, blob)
                )

    def _commit(self, reader: Reader, since: int, last: int, blob: bytes) -> Row:
        runs = list(reader.runs(blob))
        position = since
        for event in chain.from_iterable(runs):
            position += 1
            event.position = position
        if position != last:
            raise self._damaged(f"the events up to {last}")
        return Row(since, last, runs, None)

    def _kept(self, reader: Reader, since: int, last: int, blob: bytes) -> Row:
        kept = list(reader.kept(blob))
        return Row(since, last, [run for part in kept for run in part.runs], kept)

    def states(self) -> Iterator[State]:
        """Every state. Raises as `load`."""
        reader = Reader()
        with self.file.named():
            rows = self.file.connection.execute("SELECT key, position, sum, events FROM states")
            for key, position, sum, blob in rows:
                if crc32(blob) != sum:
                    raise self._damaged(f"the state of {key!r}")
                [kept] = reader.kept(blob)
                yield State(key, position, [event for run in kept.runs for event in run])

    def _damaged(self, what: str) -> Broken:
        return Broken(f"{self.file.name} is damaged: {what}")

    # ------------------------------------------------------------- what is written

    def add(self, last: int, batches: Sequence[bytes]) -> None:
        """Commit a row."""
        blob = join(batches)
        with self.file.named():
            self.file.connection.execute(
                "INSERT INTO commits VALUES (?, ?, 0, ?, ?)", (last, self.last, crc32(blob), blob)
            )
        self.last = last
        self.rows += 1

    def keep(self, states: Sequence[State], *, alone: bool) -> None:
        """Commit states; `alone`, there are no others any more."""
        with self.file.whole() as connection:
            if alone:
                connection.execute("DELETE FROM states")
            for state in states:
                if state.events:
                    blob = join([encode_kept(Kept([state.events]))])
                    connection.execute(
                        "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?)",
                        (state.key, state.position, crc32(blob), blob),
                    )
                else:
                    connection.execute("DELETE FROM states WHERE key = ?", (state.key,))

    def rewrite(self, since: int, last: int, parts: Sequence[bytes]) -> None:
        """Put what is still retained of some rows in their place."""
        blob = join(parts)
        with self.file.whole() as connection:
            gone = connection.execute(
                "DELETE FROM commits WHERE last > ? AND last <= ?", (since, last)
            ).rowcount
            connection.execute(
                "INSERT INTO commits VALUES (?, ?, 1, ?, ?)", (last, since, crc32(blob), blob)
            )
        self.rows += 1 - gone

    def trim(self, until: int) -> bool:
        """Let some rows go that have nothing behind a position. Returns whether there are more.

        The last one always stays: it knows the position.
        """
        with self.file.named():
            execute = self.file.connection.execute
            rows = execute(
                "SELECT last FROM commits WHERE last <= ? ORDER BY last LIMIT ?",
                (min(until, self.last - 1), TRIM_ROWS),
            ).fetchall()
            if not rows:
                return False
            execute("DELETE FROM commits WHERE last <= ?", rows[-1])
            self.rows -= len(rows)
            if len(rows) == TRIM_ROWS:
                return True
            [free] = execute("PRAGMA freelist_count").fetchone()
            [pages] = execute("PRAGMA page_count").fetchone()
            if free > pages // 4:
                execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
            return False
