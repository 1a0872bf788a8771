"""The file of a durable namespace: an SQLite database, a row for each commit.

A row is what waited when the writer came round: batches, encoded on the loop, put
together as one blob. A statement for each event would cost a change of the GIL's owner
for each, beside a busy loop; this way there is one for each commit.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from broker.config import Storage
from broker.engines.rows import Reader, join
from broker.errors import EdgestreamError
from broker.plugin import Event

APPLICATION = 0x65646765
VERSION = 1

VACUUM_PAGES = 1024
"""How many pages of a file that has shrunk are given back in one go."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    last INTEGER PRIMARY KEY,  -- the position of its last event
    newest INTEGER NOT NULL,   -- the time of its last event, in Unix ms
    bytes INTEGER NOT NULL,    -- what its events count in the history
    sum INTEGER NOT NULL,      -- of `events`
    events BLOB NOT NULL
);
"""


class Broken(EdgestreamError):
    """The file cannot be used: why."""


class Row(NamedTuple):
    """What a commit adds: see the schema."""

    last: int
    newest: int
    size: int
    batches: list[bytes]


class Journal:
    """The file, opened. Used by one thread at a time; errors are `Broken`.

    Attributes:
        epoch: names the numbering of its positions.
        last: the position of the last event that was ever stored.
    """

    def __init__(self, storage: Storage, limit: int) -> None:
        self.epoch = ""
        self.last = 0
        self._storage = storage
        self._limit = limit
        self._bytes = 0
        self._connection: sqlite3.Connection | None = None

    # ------------------------------------------------------------- opening and closing

    def open(self) -> None:
        """Open the file, or make it; nobody else can open it until it is closed.

        Raises:
            Broken: it cannot be used.
        """
        with _named(self._storage.file):
            connection = sqlite3.connect(
                self._storage.file, isolation_level=None, check_same_thread=False, timeout=1
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        def ask(statement: str) -> int | str:
            answer: int | str = connection.execute(statement).fetchone()[0]
            return answer

        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        tables = ask("SELECT count(*) FROM sqlite_schema")
        if tables and ask("PRAGMA application_id") != APPLICATION:
            raise Broken(f"{self._storage.file} is another program's database")
        if tables and ask("PRAGMA user_version") != VERSION:
            raise Broken(f"{self._storage.file} was made by another version of edgestream")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if ask("PRAGMA journal_mode = WAL") != "wal":
            raise Broken(f"{self._storage.file}: there is no write-ahead log on this file system")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
            f"{_SCHEMA} COMMIT;"
        )
        about = dict(connection.execute("SELECT name, value FROM about").fetchall())
        boot = _boot()
        self.epoch = self.epoch or _epoch(about, boot)
        self._tell(connection, epoch=self.epoch, boot=boot, sync=self._storage.sync, state="open")
        if self._storage.sync == "normal":
            connection.execute("PRAGMA synchronous = NORMAL")
        self.last, self._bytes = connection.execute(
            "SELECT coalesce(max(last), 0), coalesce(sum(bytes), 0) FROM commits"
        ).fetchone()

    def reopen(self, last: int, room: int) -> None:
        """Open the file again after a failure, without what did not count as stored.

        Args:
            last: the position up to which everything was.
            room: how many bytes it has to have room for.

        Raises:
            Broken: it cannot be used yet.
        """
        self._release()
        self.open()
        with _named(self._storage.file):
            if self.last < last:
                raise Broken(f"{self._storage.file} has lost events: it is another file now")
            execute = self._open.execute
            execute("DELETE FROM commits WHERE last > ?", (last,))
            execute("INSERT OR REPLACE INTO about VALUES ('room', zeroblob(?))", (room,))
            execute("DELETE FROM about WHERE name = 'room'")
            self.last = last

    def close(self) -> None:
        """Close the file in good order, if it is open."""
        if self._connection is not None:
            try:
                with _named(self._storage.file):
                    self._connection.execute("PRAGMA synchronous = FULL")
                    self._tell(self._connection, state="closed")
            finally:
                self._release()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with _named(self._storage.file):
                connection.close()

    @property
    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Broken(f"{self._storage.file} is closed")
        return self._connection

    @staticmethod
    def _tell(connection: sqlite3.Connection, **about: str) -> None:
        values = ", ".join(["(?, ?)"] * len(about))
        parameters = [word for pair in about.items() for word in pair]
        connection.execute(f"INSERT OR REPLACE INTO about VALUES {values}", parameters)

    # ------------------------------------------------------------- events

    def load(self) -> Iterator[tuple[int, list[list[Event]]]]:
        """Every row: the position of its last event, and its events, without theirs.

        Raises:
            Broken: one of them is not as it was written.
        """
        reader = Reader()
        expected = 0
        with _named(self._storage.file):
            rows = self._open.execute("SELECT last, sum, events FROM commits ORDER BY last")
            for last, sum, blob in rows:
                if crc32(blob) != sum:
                    raise Broken(f"{self._storage.file} is damaged: the events up to {last}")
                runs = list(reader.runs(blob))
                first = last - len([event for run in runs for event in run])
                if expected and first != expected:
                    raise Broken(f"{self._storage.file} is damaged: no events after {expected}")
                expected = last
                yield last, runs

    def add(self, row: Row) -> None:
        """Commit a row."""
        blob = join(row.batches)
        with _named(self._storage.file):
            self._open.execute(
                "INSERT INTO commits VALUES (?, ?, ?, ?, ?)",
                (row.last, row.newest, row.size, crc32(blob), blob),
            )
        self.last = row.last
        self._bytes += row.size

    def trim(self, oldest: int) -> None:
        """Let some rows go whose events are all older, or more than are to be kept.

        The last one always stays: it knows the position.
        """
        with _named(self._storage.file):
            rows = self._open.execute(
                "SELECT last, newest, bytes FROM commits WHERE last < ? ORDER BY last LIMIT 256",
                (self.last,),
            ).fetchall()
            until, kept = 0, self._bytes
            for last, newest, size in rows:
                if newest >= oldest and kept - size < self._limit:
                    break
                until, kept = last, kept - size
            if not until:
                return
            self._open.execute("DELETE FROM commits WHERE last <= ?", (until,))
            self._bytes = kept
            [free] = self._open.execute("PRAGMA freelist_count").fetchone()
            [pages] = self._open.execute("PRAGMA page_count").fetchone()
            if free > pages // 4:
                self._open.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()


def check(storage: Storage) -> None:
    """Find out whether a file may be used, as far as that can be told without opening it.

    Raises:
        Broken: it may not.
    """
    path = Path(storage.file)
    try:
        if not path.parent.is_dir():
            raise Broken(f"{path}: there is no folder {path.parent}")
        if path.exists():
            with path.open("r+b") as file:
                head = file.read(16)
            if head and head != b"SQLite format 3\0":
                raise Broken(f"{path} is no SQLite database")
    except OSError as error:
        raise Broken(f"{path} cannot be used: {error.strerror}") from None


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Make what SQLite raises `Broken`, with the file's name."""
    try:
        yield
    except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
        busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        why = "another process has it open" if busy else str(error)
        raise Broken(f"{file} cannot be used: {why}") from error


def _boot() -> str:
    """Names the time since this machine was started; "" where it has no name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _epoch(about: dict[str, str], boot: str) -> str:
    """The epoch of a file: its own, unless the machine may have lost the end of it.

    Then positions that readers know may be given again, and must not be taken for them.
    """
    epoch = about.get("epoch", "")
    whole = about.get("state") == "closed" or about.get("sync") == "full"
    same_boot = boot != "" and about.get("boot") == boot
    return epoch if epoch and (whole or same_boot) else secrets.token_hex(4)
