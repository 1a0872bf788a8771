"""What stands in the file of a durable namespace: a row for each commit, and for streams.

A commit is what waited when the writer came round: batches, encoded on the loop, put
together as one blob. A statement for each event would cost a change of the GIL's owner
for each, beside a busy loop; this way there is one for each commit. Later, what is retained
of each stream in it is written as a whole (`Keeping`), and the commit can go.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from broker.config import Storage
from broker.engines.file import Broken, File
from broker.engines.rows import Kept, Reader, join
from broker.event import Event

VACUUM_PAGES = 1024
"""How many pages of a file that has shrunk are given back in one go."""

TRIM_ROWS = 64
"""How many rows go at once."""


class StreamRow(NamedTuple):
    """What is said of one stream by itself: encoded, as it is written, with "" for nothing.

    Attributes:
        state: what it has come to, as events (`Engine.open`).
        position: what is up to there is in `kept`, and not looked for in the commits.
        kept: what is retained of it; None where that is not written now.
    """

    key: str
    state: bytes
    position: int = 0
    kept: bytes | None = None


class Stored(NamedTuple):
    """All that there is.

    Attributes:
        since, last: the positions before the first commit, and of the last event of all.
        states: what streams have come to at least, as events.
        kept: what is retained of some streams up to a position: that, and what.
        runs: what was committed, and is in no `kept`. All events have their positions.
    """

    since: int
    last: int
    states: list[list[Event]]
    kept: dict[str, tuple[int, Kept]]
    runs: list[list[Event]]


class Journal:
    """The file, opened. Used by one thread at a time; errors are `Broken`.

    Attributes:
        file: the file.
        rows: how many commits there are.
    """

    def __init__(self, storage: Storage) -> None:
        self.file = File(storage)
        self.rows = 0

    @property
    def epoch(self) -> str:
        return self.file.epoch

    @property
    def last(self) -> int:
        """The position of the last event that was ever stored."""
        return self.file.last

    def open(self) -> None:
        """Open the file. Raises as `File.open`."""
        self.file.open()
        with self.file.named:
            [self.rows] = self.file.connection.execute("SELECT count(*) FROM commits").fetchone()

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
        self.file.stored(last)
        with self.file.named:
            execute = self.file.connection.execute
            execute("DELETE FROM commits WHERE last > ?", (last,))
            execute("INSERT OR REPLACE INTO about VALUES ('room', zeroblob(?))", (room,))
            execute("DELETE FROM about WHERE name = 'room'")

    def close(self) -> None:
        """Close the file in good order, if it is open."""
        self.file.close()

    # ------------------------------------------------------------- what is read

    def load(self) -> Stored:
        """Everything.

        Raises:
            Broken: some of it is not as it was written.
        """
        reader = Reader()
        with self.file.named:
            rows = self._checked("SELECT key, sum, events FROM states")
            states = [reader.piece(blob) for _, blob in rows]
            kept = {
                key: (position, reader.kept(blob))
                for key, position, blob in self._checked(
                    "SELECT key, position, sum, events FROM streams"
                )
            }
            found = Stored(self.last, self.last, states, kept, [])
            expected = None
            for last, blob in self._checked("SELECT last, sum, events FROM commits ORDER BY last"):
                runs = list(reader.runs(blob))
                since = last - sum(map(len, runs))
                if expected is None:
                    found = found._replace(since=since)
                elif since != expected:
                    raise self._damaged(f"no events after {expected}")
                expected = last
                found.runs.extend(_behind(kept, runs, since))
            return found

    def _checked(self, query: str) -> Iterator[Any]:
        """Rows without their sums, which are right."""
        for *names, sum, blob in self.file.connection.execute(query):
            if crc32(blob) != sum:
                raise self._damaged(f"what is stored of {names[0]!r}")
            yield *names, blob

    def _damaged(self, what: str) -> Broken:
        return Broken(f"{self.file.name} is damaged: {what}")

    # ------------------------------------------------------------- what is written

    def add(self, last: int, batches: Sequence[bytes]) -> None:
        """Commit a row."""
        blob = join(batches)
        with self.file.named:
            self.file.connection.execute(
                "INSERT INTO commits VALUES (?, ?, ?)", (last, crc32(blob), blob)
            )
        self.file.stored(last)
        self.rows += 1

    def keep(self, streams: Sequence[StreamRow]) -> None:
        """Commit what is said of streams: in the place of what was said of them before."""
        with self.file.whole() as connection:
            for key, state, position, kept in streams:
                connection.execute("DELETE FROM states WHERE key = ?", (key,))
                if state:
                    row = key, crc32(state), state
                    connection.execute("INSERT INTO states VALUES (?, ?, ?)", row)
                if kept is not None:
                    connection.execute("DELETE FROM streams WHERE key = ?", (key,))
                if kept:
                    of_stream = key, position, crc32(kept), kept
                    connection.execute("INSERT INTO streams VALUES (?, ?, ?, ?)", of_stream)

    def trim(self, until: int) -> bool:
        """Let some rows go that have nothing behind a position. Returns whether there are more.

        The last one always stays: it knows the position.
        """
        with self.file.named:
            execute = self.file.connection.execute
            rows = execute(
                "SELECT last FROM commits WHERE last <= ? ORDER BY last LIMIT ?",
                (min(until, self.last - 1), TRIM_ROWS),
            ).fetchall()
            if rows:
                execute("DELETE FROM commits WHERE last <= ?", rows[-1])
                self.rows -= len(rows)
            if len(rows) == TRIM_ROWS:
                return True
            [free] = execute("PRAGMA freelist_count").fetchone()
            [pages] = execute("PRAGMA page_count").fetchone()
            if free > pages // 4:
                execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
            return False


def _behind(
    kept: Mapping[str, tuple[int, Kept]], runs: Iterable[list[Event]], position: int
) -> Iterator[list[Event]]:
    """Give events the positions that follow one; those that are in no `kept`."""
    for run in runs:
        for event in run:
            position += 1
            event.position = position
        until, _ = kept.get(run[0].key, (0, None))
        if until < position:
            yield run if until < run[0].position else [e for e in run if e.position > until]
